//! A hundred thousand programs, as a region has them.

use std::sync::Arc;

use programs::{Epoch, Program, Snapshot, State, read_programs};

/// The number of programs that the promised figures assume.
pub const PROGRAMS: usize = 100_000;

/// The id of the `nth` program.
pub fn id(nth: usize) -> String {
    format!("bench-{nth:06}")
}

/// All of them as a file for `clickgate programs import`.
pub fn json() -> String {
    let programs: Vec<String> = (0..PROGRAMS).map(program_json).collect();
    format!("[\n{}\n]\n", programs.join(",\n"))
}

/// All of them as a registry's snapshot, each with a version of its own.
pub fn snapshot() -> Snapshot {
    let programs = read_programs(&json()).expect("what we write is what the importer reads");
    let versioned = |(at, program): (usize, Program)| (at as u64 + 1, Arc::new(program));
    let programs: Vec<_> = programs.into_iter().enumerate().map(versioned).collect();
    let state = State { epoch: Epoch::random(), version: programs.len() as u64, ready: true };
    Snapshot { state, programs }
}

fn program_json(nth: usize) -> String {
    let id = id(nth);
    let customer = nth % 1_000 + 1;
    format!(
        r#"{{"programId":"{id}","programName":"Program {nth}","checksum":"{}","customerId":{customer},"customerName":"Customer {customer}","valid":true,"landingUrl":"https://shop.example/p/{nth}?click={{click_id}}&src={{p.utm_source}}","revision":1}}"#,
        nth % 10
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_is_read_back_and_has_its_own_id() {
        let snapshot = snapshot();
        assert_eq!(snapshot.programs.len(), PROGRAMS);
        let at = 54_321;
        assert_eq!(snapshot.programs[at].1.id.as_str(), id(at));
        assert!(snapshot.programs[at].1.validity(0).is_ok());
    }
}
