//! An operation as a call of the admin API, and back.

use std::path::PathBuf;
use std::str::FromStr;

use consumers::{Cursor, PAGE_MAX, Query, Start};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use programs::{ImportError, Program, ProgramId, REVISION_MAX, read_programs, rfc3339};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use tracker::ExplainRequest;
use url::form_urlencoded;

use super::{Op, OpError, Part};

const ITEMS_UNLESS_SAID: usize = 100;

/// A call of the admin API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub method: &'static str,
    /// Path and query.
    pub target: String,
    /// JSON.
    pub body: Option<String>,
}

impl Call {
    fn get(path: &str, query: &[(&str, Option<String>)]) -> Self {
        Self { method: "GET", target: target(path, query), body: None }
    }

    fn post(path: &str, body: &Json) -> Self {
        Self { method: "POST", target: path.to_owned(), body: Some(body.to_string()) }
    }
}

fn target(path: &str, query: &[(&str, Option<String>)]) -> String {
    let mut pairs = form_urlencoded::Serializer::new(String::new());
    for (name, value) in query {
        if let Some(value) = value {
            pairs.append_pair(name, value);
        }
    }
    let query = pairs.finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

impl Op {
    /// The call that means this.
    pub fn to_call(&self) -> Call {
        let part_of = |part: &Part| {
            let limit = ("limit", Some(part.limit.to_string()));
            match &part.start {
                Start::Newest => vec![limit],
                Start::Oldest => vec![("oldest", Some(true.to_string())), limit],
                Start::At(cursor) => vec![("after", Some(cursor.to_string())), limit],
            }
        };
        match self {
            Self::ProgramsList => Call::get("/programs", &[]),
            Self::ProgramsGet(id) => Call::get(&format!("/programs/{id}"), &[]),
            Self::ProgramsPut(program) => Call {
                method: "PUT",
                target: format!("/programs/{}", program.id),
                body: Some(json!(program).to_string()),
            },
            Self::ProgramsRemove(id, revision) => Call {
                method: "DELETE",
                target: target(
                    &format!("/programs/{id}"),
                    &[("revision", revision.map(|it| it.to_string()))],
                ),
                body: None,
            },
            Self::ProgramsImport(programs) => Call::post("/programs/import", &json!(programs)),
            Self::ProgramsStream { text, lines } => Call {
                method: "POST",
                target: target("/programs", &[("lines", lines.then(|| true.to_string()))]),
                body: Some(text.clone()),
            },
            Self::EventsTail(part, program) => {
                let mut query = part_of(part);
                query.push(("program", program.as_ref().map(ToString::to_string)));
                Call::get("/events/tail", &query)
            }
            Self::EventsGet(program, id) => Call::get(&format!("/events/{program}/{id}"), &[]),
            Self::EventsQuery(query) => {
                let bounds = [
                    ("program", Some(query.program.clone())),
                    ("from", Some(moment_text(query.from_ms))),
                    ("to", Some(moment_text(query.to_ms))),
                    ("limit", Some(query.limit.to_string())),
                    ("after", query.after.as_ref().map(ToString::to_string)),
                ];
                Call::get("/events", &bounds)
            }
            Self::EventsCount { program, scan } => {
                let program = program.as_ref().map(ToString::to_string);
                Call::get("/events/count", &[("program", program), ("scan", scan.then(|| true.to_string()))])
            }
            Self::EventsRejected(part, reason) => {
                let mut query = part_of(part);
                query.push(("reason", reason.clone()));
                Call::get("/events/rejected", &query)
            }
            Self::Reconcile => Call::get("/reconcile", &[]),
            Self::LogStatus => Call::get("/log", &[]),
            Self::LogCursorRemove { name, force } => Call {
                method: "DELETE",
                target: target(
                    &format!("/log/cursors/{}", utf8_percent_encode(name, NON_ALPHANUMERIC)),
                    &[("force", force.then(|| true.to_string()))],
                ),
                body: None,
            },
            Self::LogShip(dir) => Call::post("/log/ship", &json!({ "dir": dir })),
            Self::DeadLettersList(part) => Call::get("/dead-letters", &part_of(part)),
            Self::DeadLettersShow(id) => Call::get(&letter_path(id, ""), &[]),
            Self::DeadLettersReplay(id) => Call::post(&letter_path(id, "/replay"), &json!({})),
            Self::DeadLettersDrop(id) => Call::post(&letter_path(id, "/drop"), &json!({})),
            Self::Explain(request) => Call::post(
                "/explain",
                &json!({
                    "method": request.method, "url": request.url,
                    "headers": request.headers, "at_ms": request.at_ms,
                }),
            ),
            Self::CacheFill => Call::post("/cache/fill", &json!({})),
            Self::CachePurge(id) => Call::post("/cache/purge", &json!({ "program": id })),
        }
    }

    /// Whether the call has a body that matters; any other body need not be read.
    pub fn takes_body(method: &str, path: &str) -> bool {
        let path_parts: Vec<&str> = path.strip_prefix('/').unwrap_or(path).split('/').collect();
        matches!(
            (method, path_parts.as_slice()),
            (
                "POST",
                ["programs"] | ["programs", "import"] | ["log", "ship"] | ["explain"] | ["cache", "purge"]
            ) | ("PUT", ["programs", _])
        )
    }

    /// What the call means.
    ///
    /// # Errors
    /// It means nothing, or one of its parts is wrong.
    pub fn of_call(method: &str, path: &str, query: &str, body: &[u8]) -> Result<Self, OpError> {
        let mut query = Params::of(query);
        let path_parts = decoded(path)?;
        let path_parts: Vec<&str> = path_parts.iter().map(String::as_str).collect();
        let op = match (method, path_parts.as_slice()) {
            ("GET", ["programs"]) => Self::ProgramsList,
            ("POST", ["programs"]) => Self::ProgramsStream {
                text: text_of(body)?.to_owned(),
                lines: query.take("lines")?.unwrap_or(false),
            },
            ("POST", ["programs", "import"]) => Self::ProgramsImport(programs_of(body)?),
            ("GET", ["programs", id]) => Self::ProgramsGet(parse("program id", id)?),
            ("PUT", ["programs", id]) => {
                Self::ProgramsPut(Box::new(program_of(parse("program id", id)?, body)?))
            }
            ("DELETE", ["programs", id]) => Self::ProgramsRemove(parse("program id", id)?, query.revision()?),
            ("GET", ["events"]) => Self::EventsQuery(query.events_query()?),
            ("GET", ["events", "tail"]) => Self::EventsTail(query.part()?, query.take("program")?),
            ("GET", ["events", "count"]) => Self::EventsCount {
                program: query.take("program")?,
                scan: query.take("scan")?.unwrap_or(false),
            },
            ("GET", ["events", "rejected"]) => Self::EventsRejected(query.part()?, query.take("reason")?),
            ("GET", ["events", program, id]) => {
                Self::EventsGet(parse("program id", program)?, parse("message id", id)?)
            }
            ("GET", ["reconcile"]) => Self::Reconcile,
            ("GET", ["log"]) => Self::LogStatus,
            ("DELETE", ["log", "cursors", name]) => Self::LogCursorRemove {
                name: (*name).to_owned(),
                force: query.take("force")?.unwrap_or(false),
            },
            ("POST", ["log", "ship"]) => Self::LogShip(shipped(body)?),
            ("GET", ["dead-letters"]) => Self::DeadLettersList(query.part()?),
            ("GET", ["dead-letters", id]) => Self::DeadLettersShow(Cursor::new(*id)),
            ("POST", ["dead-letters", id, "replay"]) => Self::DeadLettersReplay(Cursor::new(*id)),
            ("POST", ["dead-letters", id, "drop"]) => Self::DeadLettersDrop(Cursor::new(*id)),
            ("POST", ["explain"]) => {
                let request: Result<ExplainRequest, _> = serde_json::from_slice(body);
                Self::Explain(request.map_err(|error| OpError::invalid(format!("the body: {error}")))?)
            }
            ("POST", ["cache", "fill"]) => Self::CacheFill,
            ("POST", ["cache", "purge"]) => Self::CachePurge(purged(body)?),
            _ => return Err(OpError::NotFound(format!("there is no {method} {path}"))),
        };
        query.finish()?;
        Ok(op)
    }
}

/// The path of a dead letter, whose id may hold anything.
fn letter_path(id: &Cursor, rest: &str) -> String {
    let id = utf8_percent_encode(id.as_str(), NON_ALPHANUMERIC);
    format!("/dead-letters/{id}{rest}")
}

/// The segments of a path, decoded.
fn decoded(path: &str) -> Result<Vec<String>, OpError> {
    let segment = |segment: &str| {
        let text = percent_decode_str(segment).decode_utf8();
        text.map(|text| text.into_owned()).map_err(|_| OpError::invalid("the path is not UTF-8"))
    };
    path.strip_prefix('/').unwrap_or(path).split('/').map(segment).collect()
}

fn parse<T: FromStr>(what: &str, text: &str) -> Result<T, OpError>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error| OpError::invalid(format!("{what} {text:?}: {error}")))
}

fn text_of(body: &[u8]) -> Result<&str, OpError> {
    std::str::from_utf8(body).map_err(|error| OpError::invalid(format!("the body is not UTF-8: {error}")))
}

fn programs_of(body: &[u8]) -> Result<Vec<Program>, OpError> {
    read_programs(text_of(body)?).map_err(|errors| import_errors(&errors, 0))
}

/// All that is wrong with core data, each with its place; and `more` that are only counted.
pub(super) fn import_errors(errors: &[ImportError], more: usize) -> OpError {
    let first = errors.first().map_or_else(String::new, |error| format!("; the first: {error}"));
    let unnamed = if more == 0 { String::new() } else { format!(", {more} of them not named") };
    let reason =
        format!("nothing was stored: {} errors in the programs{unnamed}{first}", errors.len() + more);
    OpError::Invalid(reason, errors.iter().map(import_error).collect())
}

/// One thing that is wrong with core data, with its place.
pub(super) fn import_error(error: &ImportError) -> Json {
    json!({
        "line": error.line, "column": error.column, "field": error.path, "reason": error.reason,
    })
}

fn program_of(id: ProgramId, body: &[u8]) -> Result<Program, OpError> {
    let mut programs = programs_of(body)?;
    match (programs.pop(), programs.is_empty()) {
        (Some(program), true) if program.id == id => Ok(program),
        (Some(program), true) => Err(OpError::invalid(format!(
            "programId: is {}, but the path says {id}; they must be the same",
            program.id
        ))),
        _ => Err(OpError::invalid("the body must be one program; POST /programs/import takes many")),
    }
}

fn purged(body: &[u8]) -> Result<Option<ProgramId>, OpError> {
    let wrong = |reason: String| OpError::invalid(format!("the body: {reason}"));
    let body: Json = serde_json::from_slice(body).map_err(|error| wrong(error.to_string()))?;
    match (&body, &body["program"]) {
        (Json::Object(fields), _) if fields.keys().any(|key| key != "program") => {
            Err(wrong("only the field \"program\" is known".to_owned()))
        }
        (Json::Object(_), Json::Null) => Ok(None),
        (Json::Object(_), Json::String(id)) => parse("program", id).map(Some),
        _ => Err(wrong("expected {\"program\": ID}, or {} for all programs".to_owned())),
    }
}

fn shipped(body: &[u8]) -> Result<PathBuf, OpError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Shipped {
        dir: PathBuf,
    }
    let shipped: Result<Shipped, _> = serde_json::from_slice(body);
    let dir = shipped.map_err(|error| OpError::invalid(format!("the body: {error}")))?.dir;
    if dir.is_absolute() {
        return Ok(dir);
    }
    Err(OpError::invalid(format!("dir {} is not absolute", dir.display())))
}

/// What [`moment_ms`] reads as this moment.
fn moment_text(ms: u64) -> String {
    if (1..rfc3339::SECONDS_BELOW).contains(&ms) { rfc3339::format_ms(ms) } else { ms.to_string() }
}

/// A moment: RFC 3339, a day, or milliseconds since 1970. A small number is refused: it is a moment
/// in seconds, and as milliseconds would be one of 1970. 0 is the beginning in both.
///
/// # Errors
/// It is none of them.
pub fn moment_ms(text: &str) -> Result<u64, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let ms: u64 = text.parse().map_err(|_| format!("{text:?} is too large"))?;
        if (1..rfc3339::SECONDS_BELOW).contains(&ms) {
            return Err(format!("{text:?} looks like seconds; milliseconds since 1970 are expected"));
        }
        return Ok(ms);
    }
    let day = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
    rfc3339::parse_ms(&day).map_err(|reason| {
        format!("{text:?} {reason}, no day as in 2026-11-22, and no number of milliseconds since 1970")
    })
}

/// Whether there may be events from the one moment until before the other, which the caller knows
/// by these names.
///
/// # Errors
/// There cannot.
pub fn check_range(from_ms: u64, to_ms: u64, [from, to]: [&str; 2]) -> Result<(), String> {
    let [begin, end] = [from_ms, to_ms].map(rfc3339::format_ms);
    if from_ms > to_ms {
        return Err(format!("{from} {begin} is after {to} {end}"));
    }
    if from_ms == to_ms {
        return Err(format!(
            "{from} and {to} are both {begin}, and {to} is the moment before which events are shown; for a \
             whole day give the next one"
        ));
    }
    Ok(())
}

/// The parameters of a query; each may be taken once, and none may be left.
struct Params(Vec<(String, String)>);

impl Params {
    fn of(query: &str) -> Self {
        Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    fn text(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(given, _)| given == name)?;
        Some(self.0.remove(at).1)
    }

    fn take<T: FromStr>(&mut self, name: &str) -> Result<Option<T>, OpError>
    where
        T::Err: std::fmt::Display,
    {
        self.text(name).map(|text| parse(name, &text)).transpose()
    }

    fn moment(&mut self, name: &str) -> Result<Option<u64>, OpError> {
        let moment = self.text(name).map(|text| moment_ms(&text)).transpose();
        moment.map_err(|reason| OpError::invalid(format!("{name} {reason}")))
    }

    fn revision(&mut self) -> Result<Option<u64>, OpError> {
        let revision: Option<u64> = self.take("revision")?;
        match revision {
            Some(revision) if revision > REVISION_MAX => {
                Err(OpError::invalid(format!("revision {revision} is not between 0 and {REVISION_MAX}")))
            }
            revision => Ok(revision),
        }
    }

    fn limit(&mut self) -> Result<usize, OpError> {
        let limit = self.take("limit")?.unwrap_or(ITEMS_UNLESS_SAID);
        if (1..=PAGE_MAX).contains(&limit) {
            return Ok(limit);
        }
        Err(OpError::invalid(format!("limit {limit} is not between 1 and {PAGE_MAX}")))
    }

    fn part(&mut self) -> Result<Part, OpError> {
        let is_oldest = self.take("oldest")?.unwrap_or(false);
        let start = match self.text("after") {
            Some(_) if is_oldest => {
                return Err(OpError::invalid("after and oldest exclude each other"));
            }
            Some(cursor) => Start::At(Cursor::new(cursor)),
            None if is_oldest => Start::Oldest,
            None => Start::Newest,
        };
        Ok(Part { start, limit: self.limit()? })
    }

    fn events_query(&mut self) -> Result<Query, OpError> {
        let program: Option<ProgramId> = self.take("program")?;
        let program = program.ok_or_else(|| OpError::invalid("the parameter program is missing"))?;
        let from_ms = self.moment("from")?.unwrap_or(0);
        let to_ms = self.moment("to")?.unwrap_or(u64::MAX);
        check_range(from_ms, to_ms, ["from", "to"]).map_err(OpError::invalid)?;
        Ok(Query {
            program: program.to_string(),
            from_ms,
            to_ms,
            after: self.text("after").map(Cursor::new),
            limit: self.limit()?,
        })
    }

    fn finish(self) -> Result<(), OpError> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(OpError::invalid(format!("unknown parameter {name:?}"))),
        }
    }
}

#[cfg(test)]
mod tests;
