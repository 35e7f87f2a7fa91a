//! Links, anchors and paths of the repository lead to something that is there.

use std::path::Path;

use super::markdown::{Document, ROOT, shell_commands};

/// What paths of the repository begin with.
const FOLDERS: &str =
    "src proto supervise programs stream tracker bridges consumers benches config tests fuzz docs";
const LANGUAGES: [&str; 5] = ["sh", "toml", "json", "html", "text"];

/// Links of `document` that lead nowhere.
fn broken_links(document: &Document) -> Vec<String> {
    let is_broken = |link: &str| {
        let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
        let file = document.resolve(path);
        if !file.starts_with(ROOT) || !file.exists() {
            return true;
        }
        let is_anchor = |page: &Document| page.anchors.iter().any(|known| known == anchor);
        let is_there = match path {
            _ if anchor.is_empty() => true,
            "" => is_anchor(document),
            _ => is_anchor(&Document::of(path, &std::fs::read_to_string(&file).unwrap())),
        };
        !is_there
    };
    let links = document.links.iter().filter(|(_, link)| !link.starts_with("https://"));
    let broken = links.filter(|(_, link)| is_broken(link));
    broken.map(|(line, link)| format!("{}:{line}: {link} leads nowhere", document.name)).collect()
}

/// Paths of the repository that `document` names and that are not there.
fn missing_paths(document: &Document) -> Vec<String> {
    let mut words = document.spans.clone();
    for block in document.blocks.iter().filter(|block| block.language == "sh") {
        for command in shell_commands(block) {
            words.extend(command.words.into_iter().map(|word| (command.line, word)));
        }
    }
    let is_missing = |path: &str| {
        let folder = path.split_once('/').map(|(folder, _)| folder);
        let is_ours =
            folder.is_some_and(|folder| FOLDERS.split(' ').any(|ours| ours == folder)) && !path.contains('*');
        is_ours && !Path::new(ROOT).join(path).exists()
    };
    let missing = words.iter().filter(|(_, word)| is_missing(word));
    missing.map(|(line, path)| format!("{}:{line}: there is no {path}", document.name)).collect()
}

#[test]
fn every_link_and_every_path_leads_to_something() {
    let documents = Document::all();
    let wrong: Vec<String> =
        documents.iter().flat_map(|page| [broken_links(page), missing_paths(page)].concat()).collect();
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn every_page_is_linked_from_the_readme() {
    let readme = Document::read("README.md");
    for page in Document::all().iter().filter(|page| page.name != readme.name) {
        assert!(readme.links.iter().any(|(_, link)| *link == page.name), "{} is not linked", page.name);
    }
}

/// What is in a block of no language, or of an unknown one, is checked by nobody.
#[test]
fn every_block_says_its_language() {
    for document in Document::all() {
        for block in &document.blocks {
            let language = &block.language;
            assert!(LANGUAGES.contains(&language.as_str()), "{}:{}: {language:?}", document.name, block.line);
        }
    }
}

#[test]
fn the_readme_is_short_and_begins_with_how_to_run_and_test_it() {
    let readme = Document::read("README.md");
    assert!(readme.text.lines().count() <= 150, "{} lines", readme.text.lines().count());
    for command in ["cargo run --release\n", "./test\n"] {
        let block = readme.blocks.iter().find(|block| block.language == "sh" && block.text == command);
        let line = block.unwrap_or_else(|| panic!("no block is only {command}")).line;
        assert!(line <= 80, "{command} stands in line {line}");
    }
}

#[test]
fn what_leads_nowhere_is_found() {
    let wrong = |text: &str| {
        let document = Document::of("docs/log.md", text);
        broken_links(&document).len() + missing_paths(&document).len()
    };
    assert_eq!(wrong("# A b\n[a](#a-b), [b](../README.md#run-it), [c](page.png), `src/main.rs`"), 0);
    for text in ["[a](README.md)", "[a](#a)", "[a](../README.md#a)", "[a](/etc/hosts)", "`src/none.rs`"] {
        assert_eq!(wrong(text), 1, "{text}");
    }
    assert_eq!(wrong("```sh\nclickgate programs import programs/none.json\n```"), 1);
}
