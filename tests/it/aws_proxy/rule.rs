//! Which fault happens to which requests.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::put_records::FailEntries;

/// Changes the JSON of a request or of an answer.
pub type Edit = Arc<dyn Fn(&mut Value) + Send + Sync>;

/// What happens to a request, or to its answer.
#[derive(Clone)]
pub enum Fault {
    /// It waits so long before anything else happens to it.
    Delay(Duration),
    /// The connection is reset; the server never sees the request.
    ResetBefore,
    /// Answered in the place of the server, which never sees the request.
    Answer { status: u16, body: Value },
    /// The server gets another request.
    EditRequest(Edit),
    /// Of PutRecords: refused as a whole, if an entry (data and keys) has more bytes than that.
    RefuseLarge { entry_bytes_max: usize, status: u16, error_type: String },
    /// Of PutRecords: some of its entries fail; the server never sees those.
    FailEntries(FailEntries),
    /// Of PutRecords: the answer has so many entries more or less than the request.
    MoreEntries(isize),
    /// The server has done it; then the connection is reset in the place of an answer.
    HideAnswer,
    /// The client gets another answer.
    EditAnswer(Edit),
    /// The answer has another header.
    AnswerHeader { name: String, value: String },
    /// The answer is a page for people, with status 200.
    NotJson,
    /// The answer ends in its middle.
    CutAnswer,
    /// The answer comes in pieces of so many bytes, with such a pause before each.
    SlowAnswer { bytes: usize, pause: Duration },
}

/// A fault, to which operation it happens, and when.
#[derive(Clone, Debug)]
pub struct Rule {
    fault: Fault,
    operation: Option<String>,
    when: When,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum When {
    Always,
    /// With this probability.
    Share(f64),
    /// So often yet.
    Next(u64),
    /// From then on, when it has not happened so often.
    After(u64),
}

/// Names a rule that was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuleId(usize);

impl Fault {
    /// Refused, with an error of AWS: `("ExpiredTokenException", 400)`.
    pub fn refuse(status: u16, error_type: &str) -> Self {
        Self::Answer { status, body: error(error_type) }
    }

    pub fn edit_answer(edit: impl Fn(&mut Value) + Send + Sync + 'static) -> Self {
        Self::EditAnswer(Arc::new(edit))
    }

    pub fn edit_request(edit: impl Fn(&mut Value) + Send + Sync + 'static) -> Self {
        Self::EditRequest(Arc::new(edit))
    }

    /// In the counts and in the trace.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Delay(_) => "delay",
            Self::ResetBefore => "reset before",
            Self::Answer { .. } => "answer",
            Self::EditRequest(_) => "edit request",
            Self::RefuseLarge { .. } => "refuse large",
            Self::FailEntries(_) => "fail entries",
            Self::MoreEntries(_) => "more entries",
            Self::HideAnswer => "hide answer",
            Self::EditAnswer(_) => "edit answer",
            Self::AnswerHeader { .. } => "answer header",
            Self::NotJson => "not json",
            Self::CutAnswer => "cut answer",
            Self::SlowAnswer { .. } => "slow answer",
        }
    }
}

/// The body of an error.
pub fn error(error_type: &str) -> Value {
    json!({ "__type": error_type, "message": format!("{error_type} by the proxy") })
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Rule {
    /// This, to every request.
    pub fn always(fault: Fault) -> Self {
        Self { fault, operation: None, when: When::Always }
    }

    /// This, with a probability from 0 to 1: of each request, or of each entry.
    pub fn share(share: f64, fault: Fault) -> Self {
        Self { fault, operation: None, when: When::Share(share) }
    }

    /// This, to the next requests, or entries, so many of them.
    pub fn next(count: u64, fault: Fault) -> Self {
        Self { fault, operation: None, when: When::Next(count) }
    }

    /// This, to every request but the next so many.
    pub fn after(count: u64, fault: Fault) -> Self {
        Self { fault, operation: None, when: When::After(count) }
    }

    /// To this operation alone: `PutRecords`.
    pub fn on(mut self, operation: &str) -> Self {
        self.operation = Some(operation.to_owned());
        self
    }
}

/// All rules, and how often each has happened.
pub struct Rules {
    seed: u64,
    added: Mutex<Vec<Added>>,
    /// Requests so far, by operation.
    requests: Mutex<BTreeMap<String, u64>>,
}

struct Added {
    rule: Rule,
    is_removed: bool,
    happened: u64,
}

/// The chances of one request.
pub struct Chances<'a> {
    rules: &'a Rules,
    operation: String,
    random: fastrand::Rng,
    /// What has happened to it, each once.
    pub happened: Vec<&'static str>,
}

impl Rules {
    pub fn new(seed: u64) -> Self {
        Self { seed, added: Mutex::default(), requests: Mutex::default() }
    }

    pub fn add(&self, rule: Rule) -> RuleId {
        let mut added = self.added.lock().unwrap();
        added.push(Added { rule, is_removed: false, happened: 0 });
        RuleId(added.len() - 1)
    }

    pub fn remove(&self, rule: RuleId) {
        self.added.lock().unwrap()[rule.0].is_removed = true;
    }

    pub fn remove_all(&self) {
        self.added.lock().unwrap().iter_mut().for_each(|added| added.is_removed = true);
    }

    pub fn count(&self, rule: RuleId) -> u64 {
        self.added.lock().unwrap()[rule.0].happened
    }

    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        let mut counts = BTreeMap::new();
        for added in self.added.lock().unwrap().iter() {
            *counts.entry(added.rule.fault.name()).or_default() += added.happened;
        }
        counts
    }

    /// The chances of the next request of an operation. They follow from the seed and from how
    /// many of that operation came before, not from what else goes on at that time.
    pub fn request(&self, operation: &str) -> Chances<'_> {
        let mut requests = self.requests.lock().unwrap();
        let nth = requests.entry(operation.to_owned()).or_default();
        *nth += 1;
        let of_operation =
            operation.bytes().fold(self.seed, |hash, byte| hash.rotate_left(9) ^ u64::from(byte));
        let mut seeds = fastrand::Rng::with_seed(of_operation);
        let random = fastrand::Rng::with_seed(seeds.u64(..) ^ nth.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Chances { rules: self, operation: operation.to_owned(), random, happened: Vec::new() }
    }
}

impl Chances<'_> {
    /// What `choose` makes of the first fault that it wants and that happens now.
    pub fn first<T>(&mut self, choose: impl Fn(&Fault) -> Option<T>) -> Option<T> {
        self.all(&choose, 1).pop()
    }

    /// What `choose` makes of every such fault.
    pub fn every<T>(&mut self, choose: impl Fn(&Fault) -> Option<T>) -> Vec<T> {
        self.all(&choose, usize::MAX)
    }

    fn all<T>(&mut self, choose: &dyn Fn(&Fault) -> Option<T>, max: usize) -> Vec<T> {
        let mut chosen = Vec::new();
        let mut added = self.rules.added.lock().unwrap();
        for added in added.iter_mut().filter(|added| !added.is_removed) {
            if chosen.len() == max || added.rule.operation.as_ref().is_some_and(|it| *it != self.operation) {
                continue;
            }
            let Some(choice) = choose(&added.rule.fault) else { continue };
            let happens = match &mut added.rule.when {
                When::Always => true,
                When::Share(share) => self.random.f64() < *share,
                When::Next(left) => left.checked_sub(1).map(|less| *left = less).is_some(),
                When::After(left) => left.checked_sub(1).map(|less| *left = less).is_none(),
            };
            if happens {
                added.happened += 1;
                let name = added.rule.fault.name();
                if !self.happened.contains(&name) {
                    self.happened.push(name);
                }
                chosen.push(choice);
            }
        }
        chosen
    }
}
