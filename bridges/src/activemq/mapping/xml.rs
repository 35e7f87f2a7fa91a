//! XML bodies. A path is `/element/element`, or ends with `/@attribute`; of several elements of one
//! name it is the first, and a namespace makes no difference. A document type declaration is refused, so
//! that no entity can grow.

use roxmltree::{Document, Node, ParsingOptions};

/// Nodes of a document.
const NODES_MAX: u32 = 1_000_000;

/// Reads a document.
///
/// # Errors
/// What the parser says, with line and column.
pub fn parse(text: &str) -> Result<Document<'_>, String> {
    let options = ParsingOptions { allow_dtd: false, nodes_limit: NODES_MAX, ..ParsingOptions::default() };
    Document::parse_with_options(text.trim_start_matches('\u{feff}'), options)
        .map_err(|error| error.to_string())
}

/// The text of an element, with that of what is in it, or the value of an attribute.
pub fn find(document: &Document<'_>, path: &str) -> Option<String> {
    let mut names = path.strip_prefix('/')?.split('/');
    let mut at = document.root_element();
    if at.tag_name().name() != names.next()? {
        return None;
    }
    for name in names {
        if let Some(attribute) = name.strip_prefix('@') {
            let found = at.attributes().find(|known| known.name() == attribute);
            return found.map(|known| known.value().to_owned());
        }
        at = at.children().find(|child| child.is_element() && child.tag_name().name() == name)?;
    }
    let texts = at.descendants().filter(Node::is_text).filter_map(|node| node.text());
    Some(texts.collect::<String>().trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_attributes_and_what_is_not_there() {
        let text = "<?xml version=\"1.0\"?><o:order xmlns:o=\"urn:o\" nr=\"7\"><o:id> 42 </o:id><id>43</id>\
                    <sum cur=\"EUR\">1<b>2</b>&lt;</sum><empty/></o:order>";
        let document = parse(text).unwrap();
        let read = |path: &str| find(&document, path);
        assert_eq!(read("/order/id").as_deref(), Some("42"));
        assert_eq!(read("/order/@nr").as_deref(), Some("7"));
        assert_eq!(read("/order/sum/@cur").as_deref(), Some("EUR"));
        assert_eq!(read("/order/sum").as_deref(), Some("12<"));
        assert_eq!(read("/order/empty").as_deref(), Some(""));
        for path in ["/other", "/order/none", "/order/@none", "order/id", "/order/id/@x"] {
            assert_eq!(read(path), None, "{path}");
        }
    }

    #[test]
    fn what_is_no_document_or_declares_entities_is_refused_with_its_place() {
        assert!(parse("<a><b></a>").unwrap_err().contains("1:"), "{}", parse("<a><b></a>").unwrap_err());
        assert!(parse("<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>").is_err());
        let deep = "<a>".repeat(100_000);
        assert!(parse(&deep).is_err(), "and the stack holds");
    }
}
