//! Records of refused hits, which answer "why is my event missing?", and the limit that keeps a
//! flood of them from displacing accepted hits in the log.
//!
//! The limit here is per second and reason: the process's figure divided by the workers. The lane
//! adds a second one: rejected records take at most 5 % of the log.

use programs::decision::{Refusal, Refused};
use proto::Rejected;

use crate::request::hit::{Hit, cut};

/// Most bytes of the request, and of the detail, that a rejected record keeps.
const REQUEST_BYTES_MAX: usize = 1_024;
/// Most bytes of a program id that may be invalid.
const PROGRAM_BYTES_MAX: usize = 256;

/// Limits the records that one worker keeps per second and reason.
#[derive(Debug)]
pub struct RejectLimit {
    per_second_max: u32,
    second: u64,
    kept: [u32; Refusal::ALL.len()],
}

impl RejectLimit {
    /// This worker's share of `per_second_max`; at least one.
    pub fn new(per_second_max: u32, workers: usize) -> Self {
        let workers = u32::try_from(workers).unwrap_or(u32::MAX).max(1);
        let share = if per_second_max == 0 { 0 } else { (per_second_max / workers).max(1) };
        Self { per_second_max: share, second: 0, kept: [0; Refusal::ALL.len()] }
    }

    /// Whether to keep one more hit refused for `reason` at `now_ms`; counts it if so.
    pub fn admits(&mut self, reason: Refusal, now_ms: u64) -> bool {
        let second = now_ms / 1_000;
        if second != self.second {
            self.second = second;
            self.kept.fill(0);
        }
        let kept = &mut self.kept[reason as usize];
        let admits = *kept < self.per_second_max;
        *kept += u32::from(admits);
        admits
    }
}

/// The record of a refused hit, without boot, lane and number. It has no IP and, under GPC, neither
/// query nor beacon entry, as these may contain the visitor id.
pub fn rejected(hit: &Hit, refused: &Refused, prefix: &str) -> Rejected {
    let path_only = || hit.target.split('?').next().unwrap_or("");
    let request = if hit.client.gpc { path_only() } else { hit.target };
    let mut request = cut(request, REQUEST_BYTES_MAX).to_owned();
    if let Some(sent) = hit.sent.as_ref().filter(|_| !hit.client.gpc) {
        request.push(' ');
        request.push_str(cut(sent.json, REQUEST_BYTES_MAX.saturating_sub(request.len())));
    }
    let program = hit.program.as_deref().unwrap_or(&hit.program_text);
    Rejected {
        reason: refused.reason.name().into(),
        received_at_ms: hit.received_at_ms,
        route: prefix.into(),
        programid: cut(program, PROGRAM_BYTES_MAX).into(),
        request,
        detail: cut(&refused.detail, REQUEST_BYTES_MAX).into(),
        ..Rejected::default()
    }
}

/// The record of a beacon that could not be read. Nothing of its body is kept, as it may contain
/// anything.
pub fn rejected_body(refused: &Refused, prefix: &str, received_at_ms: u64) -> Rejected {
    Rejected {
        reason: refused.reason.name().into(),
        received_at_ms,
        route: prefix.into(),
        request: cut(prefix, REQUEST_BYTES_MAX).into(),
        detail: cut(&refused.detail, REQUEST_BYTES_MAX).into(),
        ..Rejected::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_has_its_share_of_each_second() {
        let mut limit = RejectLimit::new(100, 2);
        let taken =
            |limit: &mut RejectLimit, reason, at| (0..200).filter(|_| limit.admits(reason, at)).count();
        assert_eq!(taken(&mut limit, Refusal::Expired, 1_000), 50);
        assert_eq!(taken(&mut limit, Refusal::UnknownProgram, 1_999), 50);
        assert_eq!(taken(&mut limit, Refusal::Expired, 1_999), 0);
        assert_eq!(taken(&mut limit, Refusal::Expired, 2_000), 50);
    }

    #[test]
    fn more_workers_than_hits_leave_one_each_and_zero_means_none() {
        assert!(RejectLimit::new(1, 8).admits(Refusal::Expired, 0));
        assert!(!RejectLimit::new(0, 8).admits(Refusal::Expired, 0));
    }
}
