//! Answers as people read them.

use serde_json::Value as Json;

use crate::output::{Table, cell};

fn items<'j>(json: &'j Json, name: &str) -> impl Iterator<Item = &'j Json> {
    json[name].as_array().into_iter().flatten()
}

/// A line of an event: when, what, of whom, with which parameters. A custom one is called by the
/// name that its sender gave it.
pub fn event(event: &Json) -> String {
    let kind = match event["customName"].as_str() {
        Some(_) => format!("{}:{}", cell(&event["type"]), cell(&event["customName"])),
        None => cell(&event["type"]),
    };
    let mut line = format!(
        "{}  {kind:10}  {}  {}",
        cell(&event["receivedAt"]),
        cell(&event["programId"]),
        cell(&event["messageId"]),
    );
    for pair in items(event, "parameters") {
        line.push_str(&format!("  {}={}", cell(&pair[0]), cell(&pair[1])));
    }
    line
}

/// A line of a refused hit.
pub fn rejected(rejected: &Json) -> String {
    let [at, reason, request, detail] =
        ["receivedAt", "reason", "request", "detail"].map(|name| cell(&rejected[name]));
    format!("{at}  {reason:20}  {request}  ({detail})")
}

/// The fields of one thing, a line each.
pub fn fields(json: &Json) -> String {
    let fields = json.as_object();
    let width = fields.into_iter().flatten().map(|(name, _)| name.len()).max().unwrap_or(0);
    let line = |(name, value): (&String, &Json)| format!("{name:width$}  {}\n", cell(value));
    fields.into_iter().flatten().map(line).collect()
}

/// The last line is the number.
pub fn count(count: &Json) -> String {
    let [items, expired, scanned] = ["items", "expired", "scanned"].map(|name| &count[name]);
    if items.is_null() {
        format!("found by reading the whole table\n{scanned}")
    } else if scanned.is_null() {
        format!("stored and kept; {expired} more have expired\n{items}")
    } else {
        format!("found by reading all; the table's own count is {items}\n{scanned}")
    }
}

/// A table of programs.
pub fn programs(programs: &Json) -> String {
    let mut table = Table::new(&["id", "name", "customer", "valid", "from", "to", "landing url"]);
    for program in programs.as_array().into_iter().flatten() {
        let names = ["programId", "programName", "customerName", "valid", "startsAt", "endsAt", "landingUrl"];
        table.row(names.map(|name| cell(&program[name])));
    }
    if table.is_empty() {
        return "there are no programs; import some with `clickgate programs import FILE`".to_owned();
    }
    table.to_string()
}

/// What became of a put or a removal.
pub fn put(id: &str, done: &str, put: &Json) -> String {
    match put["result"].as_str() {
        Some("unchanged") => format!("program {id}: nothing to do, it was {done} already"),
        _ => format!("program {id}: {done}, version {}", put["version"]),
    }
}

/// What became of an import.
pub fn import(report: &Json) -> String {
    let mut text = format!(
        "{} stored, {} unchanged, version {}\n",
        report["stored"], report["unchanged"], report["version"]
    );
    for refused in items(report, "refused") {
        let why = match refused["result"].as_str() {
            Some("older_revision") => {
                format!("revision {} is older than the stored {}", refused["given"], refused["stored"])
            }
            _ => format!("something else is stored under the same revision {}", refused["revision"]),
        };
        text.push_str(&format!("program {}: refused, {why}\n", cell(&refused["id"])));
    }
    text
}

/// What became of a stream of core data.
pub fn streamed(answer: &Json) -> String {
    let waits = "; it waits in the log until `clickgate up` or `clickgate bridge programs` runs here";
    let waits = if answer["bridge"] == true || answer["accepted"] == 0 { "" } else { waits };
    format!("{} accepted, {} refused{waits}", answer["accepted"], answer["refused"])
}

const PLACES: [&str; 10] = [
    "issued",
    "stored",
    "duplicates",
    "in_log",
    "dead_letters",
    "dropped",
    "rejected",
    "reports",
    "abandoned",
    "missing",
];

/// The table of lanes and places, and what to do about missing ones.
pub fn reconciliation(answer: &Json) -> String {
    let mut table = Table::new(&[
        "boot",
        "lane",
        "state",
        "issued",
        "stored",
        "duplicates",
        "in log",
        "dead",
        "dropped",
        "rejected",
        "reports",
        "abandoned",
        "missing",
    ]);
    let row = |names: [String; 3], places: &Json| -> [String; 13] {
        let mut cells = names.into_iter().chain(PLACES.iter().map(|place| cell(&places[*place])));
        std::array::from_fn(|_| cells.next().unwrap_or_default())
    };
    for lane in items(answer, "lanes") {
        table.row(row([cell(&lane["boot"]), cell(&lane["lane"]), cell(&lane["state"])], lane));
    }
    table.row(row(["all".into(), String::new(), String::new()], &answer["totals"]));
    let mut text = table.to_string();
    for lane in items(answer, "lanes") {
        for range in items(lane, "missing_ranges") {
            let (first, end) = (range[0].as_u64().unwrap_or(0), range[1].as_u64().unwrap_or(1));
            let boot = cell(&lane["boot"]);
            let lane = cell(&lane["lane"]);
            text.push_str(&format!("missing: numbers {first} to {} of lane {lane}, boot {boot}\n", end - 1));
        }
    }
    for (title, counts) in [("refused", &answer["refused"]), ("shed", &answer["shed"])] {
        for (name, count) in counts.as_object().into_iter().flatten() {
            text.push_str(&format!("{title} {name}: {count}\n"));
        }
    }
    let missing = cell(&answer["totals"]["missing"]);
    text + &format!("{missing} missing\n")
}

/// A table of dead letters.
pub fn dead_letters(answer: &Json) -> String {
    let mut table = Table::new(&["id", "failed at", "stage", "kind", "bytes", "reason"]);
    for letter in items(answer, "items") {
        let names = ["id", "failedAt", "stage", "recordKind", "payloadBytes", "reason"];
        table.row(names.map(|name| cell(&letter[name])));
    }
    if table.is_empty() {
        return "there are no dead letters".to_owned();
    }
    let held = &answer["held"];
    let mut text = format!(
        "{table}{} dead letters; {} of the consumer, which stalls at {}\n",
        held["letters"], held["of_consumer"], held["of_consumer_max"]
    );
    if held["of_consumer"].as_u64() >= held["of_consumer_max"].as_u64() {
        text.push_str("The consumer is STALLED until some are replayed or dropped\n");
    }
    text
}

/// What became of one dead letter.
pub fn dead_letter_result(answer: &Json) -> String {
    format!("dead letter {}: {}", cell(&answer["id"]), cell(&answer["result"]))
}

/// A table of segment files.
pub fn segments(segments: &Json) -> String {
    let mut table =
        Table::new(&["segment", "bytes", "version", "batches", "records", "first", "end", "damaged at"]);
    for segment in segments.as_array().into_iter().flatten() {
        let names = ["file", "file_bytes", "version", "batches", "records", "first", "end", "damaged_at"];
        table.row(names.map(|name| cell(&segment[name])));
    }
    if table.is_empty() { "there are no segments".to_owned() } else { table.to_string() }
}

/// The fill of the log, and how far each reader is.
pub fn log_status(status: &Json) -> String {
    let mut table = Table::new(&["cursor", "boot", "lane", "next number", "behind"]);
    let mut undeclared = String::new();
    for cursor in items(status, "cursors") {
        let name = cell(&cursor["name"]);
        if cursor["declared"] == false {
            undeclared.push_str(&format!(
                "\nnobody reads with the cursor {name}, and the log keeps everything behind it; \
                 `clickgate log cursor rm {name}` removes it"
            ));
        }
        table.row([name.clone(), "all".into(), String::new(), String::new(), cell(&cursor["lag"])]);
        for lane in items(cursor, "lanes") {
            let [boot, number, next, lag] = ["boot", "lane", "next", "lag"].map(|name| cell(&lane[name]));
            table.row([name.clone(), boot, number, next, lag]);
        }
    }
    let poisoned = if status["poisoned"] == true { ", a lane FAILED to write" } else { "" };
    format!(
        "the log holds {} of {} bytes ({} %){poisoned}\n{table}{undeclared}",
        status["bytes"], status["bytes_max"], status["fill_percent"]
    )
}

/// A cursor that is gone.
pub fn removed_cursor(answer: &Json) -> String {
    let name = cell(&answer["removed"]);
    match answer["lag"].as_u64() {
        Some(0) => format!("the cursor {name} is removed; it had passed everything"),
        _ => format!("the cursor {name} is removed, and {} records that it had not passed", answer["lag"]),
    }
}

/// What a slice of shipping did.
pub fn shipped(answer: &Json) -> String {
    if answer["stream"].is_string() {
        return shipped_to_stream(answer);
    }
    let fates = &answer["fates"];
    let mut text = format!("{} events stored", fates["stored"]);
    for (name, count) in [
        ("duplicates", &fates["duplicates"]),
        ("rejected hits kept", &fates["rejected"]),
        ("dead letters", &fates["dead_letters"]),
        ("known from before", &answer["known"]),
    ] {
        if count.as_u64() != Some(0) {
            text.push_str(&format!(", {count} {name}"));
        }
    }
    let dir = cell(&answer["dir"]);
    match answer["done"] == true {
        true => text + &format!("; nothing of {dir} is left to store, it may be removed"),
        false => text + &format!("; {} records of {dir} are left", answer["left"]),
    }
}

fn shipped_to_stream(answer: &Json) -> String {
    let mut text = format!("{} records in the stream {}", answer["acknowledged"], cell(&answer["stream"]));
    if answer["dead_letters"].as_u64() != Some(0) {
        text.push_str(&format!(", {} dead letters", answer["dead_letters"]));
    }
    let dir = cell(&answer["dir"]);
    match answer["done"] == true {
        true => text + &format!("; nothing of {dir} is left to ship, it may be removed"),
        false => text + &format!("; {} records of {dir} are left", answer["left"]),
    }
}

/// The steps of a decision, and its result.
pub fn explanation(answer: &Json) -> String {
    let mut table = Table::new(&["check", "", "found"]);
    for step in items(answer, "steps") {
        let passed = if step["passed"] == true { "ok" } else { "NO" };
        table.row([cell(&step["check"]), passed.to_owned(), cell(&step["detail"])]);
    }
    let result = match answer["decision"].as_str() {
        Some("refused") => format!("refused: {} ({})", cell(&answer["reason"]), cell(&answer["detail"])),
        _ if answer["recorded"] == true => "accepted, and an event would be recorded".to_owned(),
        _ => "accepted, but not counted (HEAD or a prefetch)".to_owned(),
    };
    format!("{} at {}\n{table}{result}\n", cell(&answer["route"]), cell(&answer["at"]))
}

/// What bridges did.
pub fn bridges(answer: &Json) -> String {
    let mut table = Table::new(&["queue", "received", "acknowledged", "quarantined", "dead letters"]);
    for bridge in answer.as_array().into_iter().flatten() {
        let count = |name: &str| cell(&bridge["counts"][name]);
        table.row([
            cell(&bridge["queue"]),
            count("received"),
            count("acknowledged"),
            count("quarantined"),
            count("dead"),
        ]);
    }
    table.to_string()
}

/// What a message becomes.
pub fn checked_message(answer: &Json) -> String {
    let mut table = Table::new(&["check", "", "found"]);
    for step in items(answer, "steps") {
        let passed = if step["passed"] == true { "ok" } else { "NO" };
        table.row([cell(&step["check"]), passed.to_owned(), cell(&step["detail"])]);
    }
    let result = match answer["becomes"].as_str() {
        Some("event") => format!("it becomes an event\n{}", fields(&answer["event"])),
        Some("quarantined") => {
            format!(
                "it would be put aside into {}: {}\n",
                cell(&answer["quarantine"]),
                cell(&answer["reason"])
            )
        }
        _ => "it becomes core data\n".to_owned(),
    };
    format!("{table}{result}")
}
