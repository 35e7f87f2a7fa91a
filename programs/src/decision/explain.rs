//! A decision, step by step.
//!
//! The steps come from the function that decides; there is no second set of rules that could
//! disagree.

use serde::Serialize;

use super::{Candidate, Refused, Rules, Trace, decide};
use crate::catalog::Verdict;

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Its name.
    pub check: &'static str,
    /// Whether it was passed.
    pub passed: bool,
    /// What was found.
    pub detail: String,
}

/// The result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "decision", rename_all = "snake_case")]
pub enum Decision {
    /// The hit is accepted.
    Accepted,
    /// It is refused.
    Refused {
        /// The reason's name.
        reason: &'static str,
        /// What exactly was wrong.
        detail: String,
    },
}

/// Decides as [`decide`] does, and returns the steps.
pub fn explain(
    candidate: &Candidate<'_>,
    verdict: &Verdict,
    now_ms: u64,
    rules: &Rules,
) -> (Vec<Step>, Decision) {
    let mut recorder = Recorder::default();
    let decision = match decide(candidate, verdict, now_ms, rules, &mut recorder) {
        Ok(_) => Decision::Accepted,
        Err(refused) => {
            Decision::Refused { reason: refused.reason.name(), detail: refused.detail.into_owned() }
        }
    };
    (recorder.into_steps(), decision)
}

/// Records the steps.
#[derive(Default)]
pub(super) struct Recorder(Vec<Step>);

impl Recorder {
    pub(super) fn into_steps(self) -> Vec<Step> {
        self.0
    }
}

impl Trace for Recorder {
    fn step<V>(
        &mut self,
        check: &'static str,
        outcome: Result<V, Refused>,
        describe: impl FnOnce(&V) -> String,
    ) -> Result<V, Refused> {
        let detail = match &outcome {
            Ok(found) => describe(found),
            Err(refused) => refused.detail.to_string(),
        };
        self.0.push(Step { check, passed: outcome.is_ok(), detail });
        outcome
    }
}
