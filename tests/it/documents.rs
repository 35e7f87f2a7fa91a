//! The README and the pages of `docs/` say what is true.
//!
//! Two tables are generated: the settings in `docs/configuration.md` and the metrics in
//! `docs/metrics.md`. When one of them is out of date,
//! `CLICKGATE_WRITE_DOCS=1 cargo test --test it documents` writes it anew. The modules hold the
//! rest: links, names of settings and metrics, commands.

mod commands;
mod links;
mod markdown;
mod names;

use std::collections::{BTreeMap, BTreeSet};

use crate::http::{self, Answer, Client};
use crate::world::{Process, World, eventually};
use markdown::{Document, ROOT};

/// The table of the page `name` with the headings of `table` must be `table`.
fn expect_in(name: &str, table: &str) {
    let page = Document::read(name).text;
    let headings = table.lines().next().unwrap();
    let begin = page.find(headings).unwrap_or_else(|| panic!("{name} has no table {headings}"));
    let is_row = |line: &&str| line.starts_with('|');
    let bytes: usize = page[begin..].split_inclusive('\n').take_while(is_row).map(str::len).sum();
    let found = &page[begin..begin + bytes];
    #[expect(clippy::disallowed_methods, reason = "the tests' own setting")]
    let write = std::env::var("CLICKGATE_WRITE_DOCS").is_ok();
    if write && found != table {
        let written = [&page[..begin], table, &page[begin + bytes..]].concat();
        return std::fs::write(format!("{ROOT}/{name}"), written).unwrap();
    }
    let (is, should): (BTreeSet<&str>, BTreeSet<&str>) = (found.lines().collect(), table.lines().collect());
    let (more, less): (Vec<_>, Vec<_>) = (is.difference(&should).collect(), should.difference(&is).collect());
    assert_eq!(found, table, "in {name} and not true: {more:#?}, true and not there: {less:#?}");
}

#[test]
fn the_configuration_page_lists_every_setting_as_config_keys_says_it() {
    expect_in("docs/configuration.md", &World::new().ok(&["config", "keys", "--markdown"]));
}

pub fn scrape(process: &Process) -> String {
    let get = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\n\r\n", process.admin);
    let answer: Answer = Client::open(process.admin).and_then(|mut client| client.send(&get)).unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    String::from_utf8(answer.body).unwrap()
}

/// The value of a series, written as Prometheus writes it.
pub fn value(scraped: &str, series: &str) -> f64 {
    let line = scraped.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {series} in\n{scraped}"))
}

/// A row for each metric: its name, its labels, its HELP line.
fn table_of(scraped: &str) -> String {
    let mut labels: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for series in scraped.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (name, rest) = series.split_once('{').unwrap_or((series.split(' ').next().unwrap(), ""));
        let name = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| name.strip_suffix(end).filter(|base| base.ends_with("_seconds")))
            .unwrap_or(name);
        let names = rest.split("\",").filter_map(|label| Some(label.split_once("=\"")?.0));
        labels.entry(name).or_default().extend(names.filter(|label| *label != "le"));
    }
    let help: BTreeMap<&str, &str> =
        scraped.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split_once(' ')).collect();
    let mut table = "| metric | labels | meaning |\n|---|---|---|\n".to_owned();
    for (name, labels) in labels {
        let labels = labels.into_iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(" ");
        let meaning = help.get(name).unwrap_or_else(|| panic!("{name} has no HELP line"));
        table.push_str(&format!("| `{name}` | {labels} | {meaning} |\n"));
    }
    table
}

#[test]
fn the_metrics_page_lists_every_metric_that_a_scrape_finds_and_no_other() {
    // With every part. Its shipper and its bridges find nobody, and count all the same.
    let nobody = "http://127.0.0.1:1";
    let world = crate::shipper::region::machine("nowhere", nobody)
        .with("table.kind", "local")
        .with("bridge.programs.stream", "nowhere")
        .with("aws.dynamodb_endpoint", nobody)
        .with("bridge.activemq.brokers.main.urls", "stomp://127.0.0.1:1")
        .with("bridge.activemq.queues.orders.broker", "main")
        .with("bridge.activemq.queues.orders.destination", "/queue/orders");
    let up = world.start("up");
    for target in ["/event/212312", "/i/212313.gif", "/c/212314", "/c/nosuch", "/nowhere"] {
        http::get(up.tracker, target);
    }
    eventually("the consumer has stored them", || {
        let scraped = scrape(&up);
        value(&scraped, "clickgate_records{place=\"stored\"}") >= 3.0
            && value(&scraped, "clickgate_cursor_lag_seconds{cursor=\"table\"}") == 0.0
    });
    let scraped = scrape(&up);
    assert_eq!(value(&scraped, "clickgate_request_seconds_count{route=\"click\"}"), 2.0);
    assert_eq!(value(&scraped, "clickgate_records{place=\"missing\"}"), 0.0);
    assert!(value(&scraped, "clickgate_catalog_age_seconds") < 20.0);
    expect_in("docs/metrics.md", &table_of(&scraped));
}
