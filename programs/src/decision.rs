//! The decision: does this program exist, is it still valid, is this a valid
//! combination of parameters?
//!
//! One function serves the hit and the explanation. It is pure: the time and the catalog's verdict
//! are arguments. A [`Trace`] observes the steps; for a hit it is `()` and costs nothing.
//!
//! The order is fixed, and the first broken rule is the reason: size, id,
//! existence, active, window, the parameters (required, their rules, unexpected,
//! conflicting), the checksum. Parameters beyond a limit were left out before: the rules see
//! only the rest.

use crate::catalog::Verdict;
use crate::{Invalid, Program};

mod explain;
mod parameters;
mod refusal;

pub use explain::{Decision, Step, explain};
pub use parameters::{Parameter, ParameterLimits, Parameters};
pub use refusal::{Refusal, Refused};

/// The parameter that must equal the program's checksum.
const CHECKSUM: &str = "sum";

/// The subject of a decision: a hit, an entry of a beacon, or a broker message.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'c> {
    /// The program id, decoded and checked; `None` if it cannot be one.
    pub program: Option<&'c str>,
    /// Its parameters within the limits.
    pub parameters: &'c Parameters<'c>,
    /// Bytes of the request line.
    pub request_line_bytes: usize,
    /// Whether the request line exceeds its limit.
    pub is_oversize: bool,
    /// Whether it is answered with the program's own data, so that an unverified program is of no use.
    pub needs_program: bool,
}

/// An accepted candidate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Accepted<'v> {
    /// It satisfies this program's rules.
    Known(&'v Program),
    /// The program could not be checked, and the configuration accepts such hits.
    Unverified,
}

/// The treatment of a hit whose program cannot be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unverified {
    /// It is accepted, and its event says `unverified`. `/event` refuses it all the same, as its
    /// answer would be the program's data, which we do not have.
    Accept,
    /// It is refused with reason `unverified_program`.
    Refuse,
}

/// Observes a decision.
pub trait Trace {
    /// One check and its outcome, which is returned unchanged. `describe` puts a success into words.
    fn step<V>(
        &mut self,
        check: &'static str,
        outcome: Result<V, Refused>,
        describe: impl FnOnce(&V) -> String,
    ) -> Result<V, Refused>;
}

/// Records nothing.
impl Trace for () {
    #[inline]
    fn step<V>(
        &mut self,
        _: &'static str,
        outcome: Result<V, Refused>,
        _: impl FnOnce(&V) -> String,
    ) -> Result<V, Refused> {
        outcome
    }
}

/// The configuration of decisions.
#[derive(Clone, Debug)]
pub struct Rules {
    always_allowed: Vec<String>,
    allowed_prefixes: Vec<String>,
    unverified: Unverified,
}

impl Rules {
    /// `reserved` names are ours, `allowed` ones are what campaigns and platforms append; a `*` at the
    /// end of an allowed name means a prefix. A strict program refuses neither.
    pub fn new(reserved: &[String], allowed: &[String], unverified: Unverified) -> Self {
        let mut rules = Self { always_allowed: reserved.to_vec(), allowed_prefixes: Vec::new(), unverified };
        for name in allowed {
            match name.strip_suffix('*') {
                Some(prefix) => rules.allowed_prefixes.push(prefix.to_owned()),
                None => rules.always_allowed.push(name.clone()),
            }
        }
        rules
    }

    fn allow(&self, name: &str) -> bool {
        self.always_allowed.iter().any(|allowed| allowed == name)
            || self.allowed_prefixes.iter().any(|prefix| name.starts_with(prefix.as_str()))
    }
}

/// Decides on `candidate`, given the catalog's `verdict` on its program, at `now_ms` milliseconds
/// since 1970.
///
/// `verdict` is ignored if the candidate is too large or has no program id.
///
/// # Errors
/// The first rule that is broken.
pub fn decide<'v, T: Trace>(
    candidate: &Candidate<'_>,
    verdict: &'v Verdict,
    now_ms: u64,
    rules: &Rules,
    trace: &mut T,
) -> Result<Accepted<'v>, Refused> {
    trace.step("size", within_limits(candidate), |()| {
        let bytes = candidate.request_line_bytes;
        let left_out = candidate.parameters.left_out();
        let count = candidate.parameters.len();
        format!("{bytes} bytes of request line; {count} parameters, {left_out} more left out")
    })?;
    trace.step("program_id", has_program_id(candidate), |id| format!("{id:?}"))?;
    let known = trace.step("exists", exists(candidate, verdict, rules), |known| match known {
        Some(program) => format!("{:?}, revision {:?}", program.name(), program.revision.unwrap_or(0)),
        None => "cannot be checked at the moment; taken because unverified = \"accept\"".into(),
    })?;
    let Some(program) = known else {
        return Ok(Accepted::Unverified);
    };
    trace.step("valid_now", is_valid(program, now_ms), |()| window(program))?;
    let parameters = candidate.parameters;
    let rules_count = program.terms.parameters.len();
    trace.step("required", has_required(program, parameters), |()| format!("{rules_count} rules"))?;
    trace.step("values", values_fit(program, parameters), |()| format!("{rules_count} rules"))?;
    let strictness = if program.strict { "the program is strict" } else { "the program is not strict" };
    trace.step("unexpected", only_expected(program, parameters, rules), |()| strictness.into())?;
    trace.step("conflicts", no_conflict(program, parameters), |()| {
        format!("{} groups", program.terms.conflicts.len())
    })?;
    trace.step("checksum", checksum_fits(program, parameters), |()| {
        if program.require_checksum { "equal" } else { "not required" }.into()
    })?;
    Ok(Accepted::Known(program))
}

fn within_limits(candidate: &Candidate<'_>) -> Result<(), Refused> {
    if candidate.is_oversize {
        let detail = format!("the request line has {} bytes", candidate.request_line_bytes);
        return Err(Refused::new(Refusal::TooLarge, detail));
    }
    Ok(())
}

fn has_program_id<'c>(candidate: &Candidate<'c>) -> Result<&'c str, Refused> {
    let malformed = || {
        let expected = "a program id is 1 to 64 ASCII letters, digits, '-' or '_'";
        Refused::new(Refusal::MalformedProgramId, expected)
    };
    candidate.program.ok_or_else(malformed)
}

fn exists<'v>(
    candidate: &Candidate<'_>,
    verdict: &'v Verdict,
    rules: &Rules,
) -> Result<Option<&'v Program>, Refused> {
    match verdict {
        Verdict::Known(program) => Ok(Some(program)),
        Verdict::Unknown => Err(Refused::new(Refusal::UnknownProgram, "there is no such program")),
        Verdict::Unverified if candidate.needs_program => {
            let needs = "cannot be checked at the moment, and this route answers with the program's data";
            Err(Refused::new(Refusal::UnverifiedProgram, needs))
        }
        Verdict::Unverified if rules.unverified == Unverified::Refuse => {
            let refused = "cannot be checked at the moment; refused because unverified = \"refuse\"";
            Err(Refused::new(Refusal::UnverifiedProgram, refused))
        }
        Verdict::Unverified => Ok(None),
    }
}

fn is_valid(program: &Program, now_ms: u64) -> Result<(), Refused> {
    program.validity(now_ms).map_err(|invalid| {
        let reason = match invalid {
            Invalid::Inactive => Refusal::InactiveProgram,
            Invalid::NotStarted { .. } => Refusal::NotStarted,
            Invalid::Expired { .. } => Refusal::Expired,
        };
        Refused::new(reason, invalid.to_string())
    })
}

fn window(program: &Program) -> String {
    let moment = |at: Option<u64>| at.map_or("open".into(), crate::rfc3339::format_ms);
    format!("active; from {} to {}", moment(program.terms.starts_at), moment(program.terms.ends_at))
}

fn has_required(program: &Program, parameters: &Parameters) -> Result<(), Refused> {
    let mut required = program.terms.parameters.iter().filter(|(_, rule)| rule.required);
    match required.find(|(name, _)| parameters.get(name).is_none()) {
        Some((name, _)) => Err(Refused::new(Refusal::MissingParameter, format!("{name:?} is required"))),
        None => Ok(()),
    }
}

/// A repeated parameter must obey its rule each time.
fn values_fit(program: &Program, parameters: &Parameters) -> Result<(), Refused> {
    if program.terms.parameters.is_empty() {
        return Ok(());
    }
    for parameter in parameters.iter() {
        if let Some(rule) = program.terms.parameters.get(parameter.name.as_ref()) {
            rule.check(&parameter.value).map_err(|breach| {
                Refused::new(Refusal::InvalidParameter, format!("{:?} {breach}", parameter.name))
            })?;
        }
    }
    Ok(())
}

fn only_expected(program: &Program, parameters: &Parameters, rules: &Rules) -> Result<(), Refused> {
    if !program.strict {
        return Ok(());
    }
    let expected = |name: &str| program.terms.parameters.contains_key(name) || rules.allow(name);
    match parameters.iter().find(|parameter| !expected(&parameter.name)) {
        Some(parameter) => {
            let detail = format!("the program is strict and has no parameter {:?}", parameter.name);
            Err(Refused::new(Refusal::UnexpectedParameter, detail))
        }
        None => Ok(()),
    }
}

fn no_conflict(program: &Program, parameters: &Parameters) -> Result<(), Refused> {
    for group in &program.terms.conflicts {
        let mut present = group.iter().filter(|name| parameters.get(name).is_some());
        if let (Some(one), Some(other)) = (present.next(), present.next()) {
            let detail = format!("{one:?} and {other:?} exclude each other");
            return Err(Refused::new(Refusal::ConflictingParameters, detail));
        }
    }
    Ok(())
}

fn checksum_fits(program: &Program, parameters: &Parameters) -> Result<(), Refused> {
    if !program.require_checksum || parameters.get(CHECKSUM) == Some(program.checksum()) {
        return Ok(());
    }
    let detail = match parameters.get(CHECKSUM) {
        Some(_) => "\"sum\" is not the program's checksum",
        None => "\"sum\" is required",
    };
    Err(Refused::new(Refusal::ChecksumMismatch, detail))
}

#[cfg(test)]
mod tests;
