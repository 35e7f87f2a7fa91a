//! As much of Markdown as our documents use: fenced blocks, code spans, headings, links.

use std::path::{Path, PathBuf};

pub const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A page and its place in the repository.
pub struct Document {
    /// From the root of the repository: `docs/log.md`.
    pub name: String,
    pub blocks: Vec<Block>,
    /// Code spans, each with its line.
    pub spans: Vec<(usize, String)>,
    /// What headings can be linked to as.
    pub anchors: Vec<String>,
    /// Targets of links and images, each with its line.
    pub links: Vec<(usize, String)>,
    pub text: String,
}

/// A fenced block.
pub struct Block {
    pub line: usize,
    pub language: String,
    pub text: String,
}

impl Document {
    /// The README and every page of `docs/`.
    pub fn all() -> Vec<Self> {
        let mut names: Vec<String> = std::fs::read_dir(Path::new(ROOT).join("docs"))
            .unwrap()
            .map(|entry| format!("docs/{}", entry.unwrap().file_name().to_str().unwrap()))
            .filter(|name| name.ends_with(".md"))
            .collect();
        names.push("README.md".to_owned());
        names.sort();
        names.iter().map(|name| Self::read(name)).collect()
    }

    pub fn read(name: &str) -> Self {
        Self::of(name, &std::fs::read_to_string(Path::new(ROOT).join(name)).unwrap())
    }

    pub fn of(name: &str, text: &str) -> Self {
        let mut document = Self {
            name: name.to_owned(),
            blocks: Vec::new(),
            spans: Vec::new(),
            anchors: Vec::new(),
            links: Vec::new(),
            text: text.to_owned(),
        };
        let mut block: Option<Block> = None;
        let mut paragraph = (0, String::new());
        for (line, text) in (1..).zip(text.lines()) {
            match (&mut block, text.strip_prefix("```")) {
                (Some(_), Some(_)) => document.blocks.extend(block.take()),
                (Some(block), None) => block.text.push_str(&format!("{text}\n")),
                (None, Some(language)) => {
                    document.take_paragraph(&mut paragraph);
                    block = Some(Block { line, language: language.to_owned(), text: String::new() });
                }
                (None, None) if text.is_empty() => document.take_paragraph(&mut paragraph),
                (None, None) => {
                    if text.starts_with('#') {
                        document.anchors.push(anchor(text.trim_start_matches('#').trim()));
                    }
                    if paragraph.1.is_empty() {
                        paragraph.0 = line;
                    }
                    paragraph.1.push_str(&format!("{text}\n"));
                }
            }
        }
        document.take_paragraph(&mut paragraph);
        assert!(block.is_none(), "{name}: the last block has no end");
        document
    }

    /// Code spans and links of a paragraph; both may go over the end of a line.
    fn take_paragraph(&mut self, (first, text): &mut (usize, String)) {
        let (mut line, mut prose) = (*first, String::new());
        for (place, part) in text.split('`').enumerate() {
            if place % 2 == 1 {
                self.spans.push((line, part.replace('\n', " ")));
            }
            line += part.matches('\n').count();
            prose.extend(part.chars().filter(|char| place % 2 == 0 || *char == '\n'));
        }
        let mut line = *first;
        for (place, part) in prose.split("](").enumerate() {
            if place > 0 {
                self.links.push((line, part.split(')').next().unwrap().to_owned()));
            }
            line += part.matches('\n').count();
        }
        text.clear();
    }

    /// The file that a relative link leads to.
    pub fn resolve(&self, path: &str) -> PathBuf {
        let own = Path::new(ROOT).join(&self.name);
        if path.is_empty() { own } else { own.parent().unwrap().join(path) }
    }
}

/// The anchor that GitHub gives a heading.
pub fn anchor(heading: &str) -> String {
    let kept = |char: &char| char.is_alphanumeric() || [' ', '-', '_'].contains(char);
    heading.to_lowercase().chars().filter(kept).map(|char| if char == ' ' { '-' } else { char }).collect()
}

/// One simple command of a shell block, with its words.
#[derive(Debug, PartialEq, Eq)]
pub struct ShellCommand {
    pub line: usize,
    pub words: Vec<String>,
}

/// The commands of a shell block: quotes, comments and pipes, and no more of the shell than that.
pub fn shell_commands(block: &Block) -> Vec<ShellCommand> {
    let mut commands = Vec::new();
    for (line, text) in (block.line + 1..).zip(block.text.lines()) {
        let mut words: Vec<String> = Vec::new();
        let (mut word, mut quote) = (None::<String>, None);
        for char in text.chars() {
            match (quote, char) {
                (Some(end), _) if char == end => quote = None,
                (Some(_), _) => word.get_or_insert_default().push(char),
                (None, '\'' | '"') => {
                    word.get_or_insert_default();
                    quote = Some(char);
                }
                (None, '#') if word.is_none() => break,
                (None, ' ') => words.extend(word.take()),
                (None, '|' | '&' | ';') => {
                    words.extend(word.take());
                    commands.push(ShellCommand { line, words: std::mem::take(&mut words) });
                }
                (None, _) => word.get_or_insert_default().push(char),
            }
        }
        assert!(quote.is_none(), "line {line}: a quote has no end: {text}");
        words.extend(word);
        commands.push(ShellCommand { line, words });
    }
    commands.retain(|command| !command.words.is_empty());
    commands
}

#[test]
fn a_document_is_taken_apart() {
    let text =
        "# Run `it` now\n\nSee [the\npage](a.md#b) and `one\ntwo`.\n\n```sh\nA=1 x 'a b' | y - # z\n```\n";
    let document = Document::of("README.md", text);
    assert_eq!(document.anchors, ["run-it-now"]);
    assert_eq!(document.links, [(4, "a.md#b".to_owned())]);
    assert_eq!(document.spans, [(1, "it".to_owned()), (4, "one two".to_owned())]);
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let expected = [
        ShellCommand { line: 8, words: words(&["A=1", "x", "a b"]) },
        ShellCommand { line: 8, words: words(&["y", "-"]) },
    ];
    assert_eq!(shell_commands(&document.blocks[0]), expected);
}
