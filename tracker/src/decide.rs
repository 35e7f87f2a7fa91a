//! The decision: does this program exist, is it still valid, is this a valid
//! combination of parameters?
//!
//! One function serves the hit and the explanation. It is pure: the time and what the
//! catalog says are arguments. A [`Trace`] looks on; the one of a hit is `()` and costs
//! nothing.
//!
//! The order is fixed, and the first rule that is broken is the reason: size, id, does
//! it exist, is it active, its window, the parameters (required, their rules, unexpected,
//! conflicting), the checksum. Parameters beyond a limit were left out before: the rules judge
//! what is left.

use programs::{Invalid, Program};

use crate::{
    catalog::Verdict,
    config::{Config, Unverified},
    hit::Hit,
    query::Parameters,
    refusal::{Refusal, Refused},
    routes::HitRoute,
};

/// The parameter that must equal the program's checksum.
const CHECKSUM: &str = "sum";

/// A hit that is taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Accepted<'v> {
    /// It obeys this program's rules.
    Known(&'v Program),
    /// The program could not be checked, and the configuration takes such hits.
    Unverified,
}

/// Looks on while a decision is made.
pub trait Trace {
    /// One check and what came of it; returns `outcome` as it is. `describe` says in
    /// words what was found good.
    fn step<V>(
        &mut self,
        check: &'static str,
        outcome: Result<V, Refused>,
        describe: impl FnOnce(&V) -> String,
    ) -> Result<V, Refused>;
}

/// Looks at nothing.
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

/// What of the configuration a decision needs.
#[derive(Clone, Debug)]
pub struct Rules {
    always_allowed: Vec<String>,
    allowed_prefixes: Vec<String>,
    unverified: Unverified,
}

impl Rules {
    /// The rules of `config`.
    pub fn new(config: &Config) -> Self {
        let mut rules = Self {
            always_allowed: config.reserved_parameters.clone(),
            allowed_prefixes: Vec::new(),
            unverified: config.unverified,
        };
        for name in &config.allowed_parameters {
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

/// Decides over `hit`, whose program the catalog judges as `verdict`, at `now_ms`
/// milliseconds since 1970.
///
/// `verdict` is not looked at if the hit is too large or has no program id.
///
/// # Errors
/// The first rule that is broken.
pub fn decide<'v, T: Trace>(
    hit: &Hit,
    verdict: &'v Verdict,
    now_ms: u64,
    rules: &Rules,
    trace: &mut T,
) -> Result<Accepted<'v>, Refused> {
    trace.step("size", within_limits(hit), |()| {
        let (bytes, left_out) = (hit.request_line_bytes, hit.parameters.left_out());
        let count = hit.parameters.len();
        format!("{bytes} bytes of request line; {count} parameters, {left_out} more left out")
    })?;
    trace.step("program_id", has_program_id(hit), |id| format!("{id:?}"))?;
    let known = trace.step("exists", exists(hit, verdict, rules), |known| match known {
        Some(program) => format!("{:?}, revision {:?}", program.name, program.revision.unwrap_or(0)),
        None => "cannot be checked at the moment; taken because unverified = \"accept\"".into(),
    })?;
    let Some(program) = known else {
        return Ok(Accepted::Unverified);
    };
    trace.step("valid_now", is_valid(program, now_ms), |()| window(program))?;
    let parameters = &hit.parameters;
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

fn within_limits(hit: &Hit) -> Result<(), Refused> {
    if hit.is_oversize {
        let detail = format!("the request line has {} bytes", hit.request_line_bytes);
        return Err(Refused::new(Refusal::TooLarge, detail));
    }
    Ok(())
}

fn has_program_id<'h>(hit: &'h Hit) -> Result<&'h str, Refused> {
    let malformed = || {
        let expected = "a program id is 1 to 64 ASCII letters, digits, '-' or '_'";
        Refused::new(Refusal::MalformedProgramId, expected)
    };
    hit.program.as_deref().ok_or_else(malformed)
}

fn exists<'v>(hit: &Hit, verdict: &'v Verdict, rules: &Rules) -> Result<Option<&'v Program>, Refused> {
    match verdict {
        Verdict::Known(program) => Ok(Some(program)),
        Verdict::Unknown => Err(Refused::new(Refusal::UnknownProgram, "there is no such program")),
        Verdict::Unverified if hit.route == HitRoute::Event => {
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
    let moment = |at: Option<u64>| at.map_or("open".into(), programs::rfc3339::format_ms);
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
    if !program.require_checksum || parameters.get(CHECKSUM) == Some(&*program.checksum) {
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
