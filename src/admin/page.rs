//! The page at `/`: plain HTML, CSS and JavaScript, as they stand in `page/`.
//!
//! No build step and nothing from elsewhere, so that the policy can forbid everything but our
//! own files: even if event data ever became markup, nothing in it would run or be sent away.

use actix_web::HttpResponseBuilder;
use actix_web::http::StatusCode;

/// One file of the page.
struct File {
    path: &'static str,
    content_type: &'static str,
    text: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

macro_rules! file {
    ($path:literal, $content_type:expr, $file:literal) => {
        File { path: $path, content_type: $content_type, text: include_str!(concat!("page/", $file)) }
    };
}

const FILES: [File; 10] = [
    file!("/", HTML, "page.html"),
    file!("/page.css", CSS, "page.css"),
    file!("/page.js", JS, "page.js"),
    file!("/page/api.js", JS, "api.js"),
    file!("/page/chart.js", JS, "chart.js"),
    file!("/page/dom.js", JS, "dom.js"),
    file!("/page/events.js", JS, "events.js"),
    file!("/page/panels.js", JS, "panels.js"),
    file!("/page/programs.js", JS, "programs.js"),
    file!("/page/try.js", JS, "try.js"),
];

/// Of the page itself; an answer of the API needs nothing at all.
pub const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                          img-src 'self' data:; form-action 'none'; frame-ancestors 'none'; base-uri 'none'";

/// The answer for `path`, if it is one of the page's.
pub fn answer(path: &str) -> Option<actix_web::HttpResponse> {
    let file = FILES.iter().find(|file| file.path == path)?;
    let mut response: HttpResponseBuilder = super::respond(StatusCode::OK);
    if file.content_type == HTML {
        response.insert_header(("Content-Security-Policy", POLICY));
    }
    Some(response.content_type(file.content_type).body(file.text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_asks_for_nothing_that_is_not_served_or_comes_from_elsewhere() {
        let served = |path: &str| FILES.iter().any(|file| file.path == path);
        for file in &FILES {
            for (name, found) in [("src=\"", '"'), ("href=\"", '"'), ("from \"", '"')] {
                for rest in file.text.split(name).skip(1) {
                    let target = rest.split(found).next().unwrap();
                    let fine = served(target) || target.starts_with('#') || target.starts_with("data:");
                    assert!(fine, "{} asks for {target:?}", file.path);
                }
            }
        }
    }

    #[test]
    fn nothing_on_the_page_turns_text_into_markup_or_code() {
        for file in FILES.iter().filter(|file| file.content_type == JS) {
            for word in
                ["innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "new Function"]
            {
                assert!(!file.text.contains(word), "{} uses {word}", file.path);
            }
        }
        let html = FILES[0].text;
        for word in ["style=", "onclick", "onload", "<style", "javascript:"] {
            assert!(!html.contains(word), "the policy forbids {word}");
        }
    }

    #[test]
    fn the_policy_is_on_the_page_and_on_it_only_once() {
        let page = answer("/").unwrap();
        let policies: Vec<_> = page.headers().get_all("content-security-policy").collect();
        assert_eq!(policies, [POLICY]);
        assert_eq!(answer("/page.js").unwrap().headers().get_all("content-security-policy").count(), 1);
        assert!(answer("/page/../page.js").is_none());
    }
}
