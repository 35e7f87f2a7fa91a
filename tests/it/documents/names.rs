//! Settings and metrics that the documents name exist, and example files are taken.

use std::collections::{BTreeMap, BTreeSet};

use super::markdown::Document;
use crate::world::World;

/// Ends of file names that look like a key: `table.redb`.
const FILE_ENDS: [&str; 2] = ["redb", "rs"];

struct Settings {
    keys: BTreeSet<String>,
    variables: BTreeSet<String>,
}

impl Settings {
    fn of_the_command() -> Self {
        let list = World::new().json(&["config", "keys"]);
        let all = |field: &str| {
            list.as_array().unwrap().iter().map(|key| key[field].as_str().unwrap().to_owned()).collect()
        };
        Self { keys: all("key"), variables: all("variable") }
    }

    /// Whether a code span is a key of a table that we have, such as `log.level` or `log.json = true`.
    fn is_meant(&self, span: &str) -> bool {
        let is_name = |char: char| char.is_ascii_lowercase() || char == '_' || char == '*';
        let parts: Vec<&str> = span.split('.').collect();
        let is_file = FILE_ENDS.contains(parts.last().unwrap());
        let is_table = self.keys.iter().any(|key| key.split('.').next() == parts.first().copied());
        parts.len() > 1 && !is_file && is_table && parts.iter().all(|part| part.chars().all(is_name))
    }

    fn exists(&self, name: &str) -> bool {
        match name.strip_suffix('*') {
            Some(table) => self.keys.iter().any(|key| key.starts_with(table)),
            None => self.keys.contains(name),
        }
    }

    /// Whether it is the variable of a key; those of a broker or a queue have a name in them.
    fn is_variable(&self, word: &str) -> bool {
        let fits = |variable: &String| match variable.split_once('*') {
            Some((before, behind)) => word.strip_prefix(before).is_some_and(|rest| rest.ends_with(behind)),
            None => word == variable,
        };
        self.variables.iter().any(fits)
    }

    fn unknown_in(&self, document: &Document) -> Vec<String> {
        let names = document.spans.iter().map(|(_, span)| span.split(" = ").next().unwrap());
        let keys = names.filter(|name| self.is_meant(name) && !self.exists(name)).map(str::to_owned);
        let variables = words_from(&document.text, "CLICKGATE__").into_iter().map(|(word, _)| word);
        let variables = variables.filter(|word| word != "CLICKGATE__" && !self.is_variable(word));
        keys.chain(variables).map(|name| format!("{}: there is no setting {name}", document.name)).collect()
    }
}

/// Words of letters, digits and underscores that begin with `prefix`, each with what is behind it.
fn words_from<'t>(text: &'t str, prefix: &str) -> Vec<(String, &'t str)> {
    let is_word = |char: char| char.is_ascii_alphanumeric() || char == '_';
    let begins = text.match_indices(prefix).map(|(at, _)| at).filter(|at| !text[..*at].ends_with(is_word));
    begins
        .map(|at| text[at..].split_at(text[at..].find(|char| !is_word(char)).unwrap_or(text.len() - at)))
        .map(|(word, behind)| (word.to_owned(), behind))
        .collect()
}

/// The metrics of the generated table, with their labels.
fn metrics() -> BTreeMap<String, String> {
    let page = Document::read("docs/metrics.md").text;
    let table = page.lines().skip_while(|line| !line.starts_with("| metric |")).skip(2);
    let rows = table.filter_map(|row| {
        let mut cells = row.split('|').map(str::trim).skip(1);
        let name = cells.next()?.trim_matches('`').to_owned();
        Some((name, cells.next()?.to_owned()))
    });
    rows.collect()
}

/// Metrics and labels that `document` names and that are not in the table.
fn unknown_metrics(metrics: &BTreeMap<String, String>, document: &Document) -> Vec<String> {
    let is_known = |name: &str, behind: &str| {
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        let Some(labels) = metrics.get(name).or_else(|| metrics.get(base?)) else { return false };
        let label = behind.strip_prefix('{').and_then(|label| label.split('=').next());
        label.is_none_or(|label| labels.contains(&format!("`{label}`")))
    };
    let words = [words_from(&document.text, "clickgate_"), words_from(&document.text, "process_")].concat();
    let unknown = words.iter().filter(|(name, behind)| !is_known(name, behind));
    unknown
        .map(|(name, _)| format!("{}: no metric is {name}, or not with that label", document.name))
        .collect()
}

#[test]
fn every_setting_that_is_named_exists() {
    let settings = Settings::of_the_command();
    let unknown: Vec<String> =
        Document::all().iter().flat_map(|document| settings.unknown_in(document)).collect();
    assert_eq!(unknown, Vec::<String>::new());
}

#[test]
fn every_toml_block_is_a_configuration() {
    let world = World::new();
    for document in Document::all() {
        for block in document.blocks.iter().filter(|block| block.language == "toml") {
            let file = world.write("block.toml", &block.text);
            let output = world.run(&["config", "check", "--config", file.to_str().unwrap()]);
            let said = crate::world::text(&output);
            assert!(output.status.success(), "{}:{}: {said}", document.name, block.line);
        }
    }
}

#[test]
fn every_json_block_is_a_program() {
    let world = World::new();
    for block in Document::all().iter().flat_map(|document| &document.blocks) {
        if block.language == "json" {
            world.ok(&["programs", "put", &block.text]);
        }
    }
}

#[test]
fn every_metric_that_is_named_exists() {
    let metrics = metrics();
    let unknown: Vec<String> =
        Document::all().iter().flat_map(|document| unknown_metrics(&metrics, document)).collect();
    assert_eq!(unknown, Vec::<String>::new());
}

#[test]
fn names_that_do_not_exist_are_found() {
    let document = |text: &str| Document::of("docs/log.md", text);
    let settings = Settings::of_the_command();
    let unknown = |text: &str| settings.unknown_in(&document(text)).len();
    let fine = "`log.level`, `log.json = true`, `tracker.limits.*`, `table.redb`, CLICKGATE__LOG__LEVEL";
    assert_eq!(unknown(fine), 0);
    for text in ["`log.levels`", "`log.levels = 1`", "`tracker.limit.*`", "CLICKGATE__LOG__LEVELS"] {
        assert_eq!(unknown(text), 1, "{text}");
    }
    let unknown = |text: &str| unknown_metrics(&metrics(), &document(text)).len();
    assert_eq!(unknown("`clickgate_ready == 0`, `clickgate_request_seconds_count{route=\"click\"}`"), 0);
    for text in ["`clickgate_raedy == 0`", "`clickgate_registry_total{evnet=\"hole\"}`", "process_openfds"] {
        assert_eq!(unknown(text), 1, "{text}");
    }
}
