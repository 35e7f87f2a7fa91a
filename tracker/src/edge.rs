//! Handles a hit on its worker: parse it, decide, append the event, wait for its write, answer.
//!
//! [`crate::Levels`] documents what each answer acknowledges.

use std::{cell::RefCell, sync::Arc, time::Duration};

use http::StatusCode;
use programs::Program;
use programs::catalog::Verdict;
use programs::decision::{Accepted, Refusal, Refused, decide};
use proto::{
    Message as _, Rejected, Uuid,
    ids::{self, MessageIds},
};
use stream::{Class, Lane, Level, Number, RecordKind};

use crate::{
    edge::answer::{Answer, Reply},
    edge::event::Event,
    edge::reject::{RejectLimit, rejected},
    edge::site::Site,
    metrics::counters::Outcome,
    request::head::Head,
    request::hit::{Hit, wants_image},
    request::routes::HitRoute,
};

pub mod answer;
mod beacon;
pub mod decider;
mod dispatch;
mod etag;
mod event;
pub mod explain;
pub mod reject;
pub mod site;
mod tag;

/// One worker's hit handler. Stays on the worker's thread.
pub struct Edge {
    site: Arc<Site>,
    lane: Lane,
    ids: MessageIds,
    rejects: RefCell<RejectLimit>,
}

impl Edge {
    /// The handler of one of `workers` workers; it appends to `lane`.
    pub fn new(site: Arc<Site>, lane: Lane, workers: usize) -> Self {
        let rejects = RefCell::new(RejectLimit::new(site.config().rejected_per_second_max, workers));
        Self { site, lane, ids: MessageIds::new(), rejects }
    }

    /// Answers a GET or HEAD of a tracking route, received at `received_at_ms`, and counts it once.
    pub async fn hit(&self, route: HitRoute, program: &str, head: &Head<'_>, received_at_ms: u64) -> Reply {
        let (outcome, reply) = match head.is_speculative() {
            true => (Outcome::NotCounted, speculative(route, head)),
            false => self.judge(route, program, head, received_at_ms).await,
        };
        self.site.counters.hit(route, outcome);
        reply
    }

    async fn judge(
        &self,
        route: HitRoute,
        program: &str,
        head: &Head<'_>,
        received_at_ms: u64,
    ) -> (Outcome, Reply) {
        let site = &*self.site;
        let hit = Hit::read(route, program, head, site.config(), received_at_ms);
        let verdict = site.decider.verdict(&hit, received_at_ms).await;
        match decide(&hit.candidate(), &verdict, received_at_ms, &site.decider.rules, &mut ()) {
            Ok(accepted) => self.accept(&hit, accepted).await,
            Err(refused) => self.refuse(&hit, &verdict, &refused),
        }
    }

    async fn accept(&self, hit: &Hit<'_>, accepted: Accepted<'_>) -> (Outcome, Reply) {
        let id = self.message_id(hit);
        let outcome = self.record(hit, accepted, id).await;
        let mut text = Uuid::encode_buffer();
        let message_id: &str = id.hyphenated().encode_lower(&mut text);
        (outcome, self.acknowledge(hit, accepted, message_id, outcome))
    }

    /// The answer to an accepted hit; see the table at [`crate::Levels`].
    fn acknowledge(&self, hit: &Hit, accepted: Accepted, message_id: &str, outcome: Outcome) -> Reply {
        let failed = matches!(outcome, Outcome::Shed | Outcome::NotDurable);
        let pixel = || match failed {
            true => Reply::from(answer::pixel(StatusCode::SERVICE_UNAVAILABLE)),
            false => Reply::Pixel,
        };
        match (hit.route, accepted) {
            (HitRoute::Impression, _) => pixel(),
            (HitRoute::Click, accepted) => {
                let answer = match accepted {
                    Accepted::Known(program) => self.landing(hit, program, message_id),
                    Accepted::Unverified => self.fallback(None, Refusal::UnverifiedProgram.name()),
                };
                if failed { answer::not_recorded(answer) } else { answer }.into()
            }
            (HitRoute::Event, Accepted::Known(program)) if !failed => {
                answer::enriched(hit, program, message_id).into()
            }
            (HitRoute::Conversion, _) if hit.wants_image() => pixel(),
            (HitRoute::Conversion, _) if !failed => answer::converted(message_id).into(),
            (HitRoute::Event | HitRoute::Conversion | HitRoute::Beacon, _) => answer::overloaded().into(),
        }
    }

    /// Derived from the sender's id, if there is one, so that a retry has the same; else a new one.
    fn message_id(&self, hit: &Hit) -> Uuid {
        match hit.sender_id() {
            Some(id) => {
                let program = hit.program.as_deref().unwrap_or_default();
                ids::from_sender(&[program, hit.kind_name(), id])
            }
            None => self.ids.next(hit.received_at_ms),
        }
    }

    /// Appends the event to the log and waits until it reaches the level of its route.
    async fn record(&self, hit: &Hit<'_>, accepted: Accepted<'_>, id: Uuid) -> Outcome {
        match self.append(hit, accepted, id, hit.route.class()) {
            Ok(number) => self.settle(hit.route.level(&self.site.config().levels), number).await,
            Err(outcome) => outcome,
        }
    }

    /// Appends the event to the log.
    ///
    /// # Errors
    /// Why there is no event: the hit is not counted, or was shed.
    fn append(&self, hit: &Hit, accepted: Accepted, id: Uuid, class: Class) -> Result<Number, Outcome> {
        if !hit.client.counted {
            return Err(Outcome::NotCounted);
        }
        let boot = self.lane.boot();
        let lane = self.lane.id();
        let prefix = hit.route.prefix(&self.site.config().prefixes);
        let event = Event { hit, accepted, id, boot, lane, prefix };
        let appended = self.lane.append(class, RecordKind::Event, |number, out| event.encode(number, out));
        let counters = &self.site.counters;
        let number = appended.map_err(|_| {
            counters.shed(class);
            Outcome::Shed
        })?;
        if hit.parameters.left_out() > 0 {
            counters.parameters_left_out.increment(hit.parameters.left_out().into());
        }
        Ok(number)
    }

    /// Waits until an event reaches `level`.
    async fn settle(&self, level: Level, number: Number) -> Outcome {
        match level {
            Level::Memory => Outcome::Accepted,
            // A stream may be away for hours, and the client is told so before it gives up itself.
            Level::Stream => {
                let limit = Duration::from_millis(self.site.config().stream_timeout_ms);
                match actix_rt::time::timeout(limit, self.lane.reached(level, number)).await {
                    Ok(Ok(())) => Outcome::Accepted,
                    Ok(Err(_)) | Err(_) => Outcome::NotDurable,
                }
            }
            level => match self.lane.reached(level, number).await {
                Ok(()) => Outcome::Accepted,
                Err(_) => Outcome::NotDurable,
            },
        }
    }

    fn refuse(&self, hit: &Hit, verdict: &Verdict, refused: &Refused) -> (Outcome, Reply) {
        let outcome = self.note_refused(hit, refused);
        let answer = match hit.route {
            HitRoute::Impression => return (outcome, Reply::Pixel),
            HitRoute::Event => answer::refusal(refused.reason, answer::status_of(refused.reason)),
            HitRoute::Conversion if hit.wants_image() => answer::pixel(answer::status_of(refused.reason)),
            HitRoute::Conversion | HitRoute::Beacon => {
                answer::error(answer::status_of(refused.reason), refused.reason.name())
            }
            HitRoute::Click => {
                let program = if let Verdict::Known(program) = verdict { Some(&**program) } else { None };
                self.fallback(program, refused.reason.name())
            }
        };
        (outcome, answer.into())
    }

    /// Counts a refused hit and keeps its record, within limits.
    fn note_refused(&self, hit: &Hit, refused: &Refused) -> Outcome {
        if !hit.client.counted {
            return Outcome::NotCounted;
        }
        let prefix = hit.route.prefix(&self.site.config().prefixes);
        self.keep(refused.reason, hit.received_at_ms, || rejected(hit, refused, prefix));
        Outcome::Refused
    }

    /// Counts a refusal and keeps its record, within limits; the answer does not wait for it.
    fn keep(&self, reason: Refusal, received_at_ms: u64, rejected: impl FnOnce() -> Rejected) {
        let counters = &self.site.counters;
        counters.refused(reason);
        self.lane.count_refused(reason.name());
        let kept = self.rejects.borrow_mut().admits(reason, received_at_ms) && {
            let boot = self.lane.boot().as_bytes().to_vec();
            let rejected = Rejected { boot, lane: self.lane.id(), ..rejected() };
            let record = |number, out: &mut Vec<u8>| {
                Rejected { number, ..rejected }.encode(out).expect("a vector grows");
            };
            self.lane.append(Class::Impression, RecordKind::Rejected, record).is_ok()
        };
        if !kept {
            counters.rejected_not_kept.increment(1);
        }
    }

    fn landing(&self, hit: &Hit, program: &Program, message_id: &str) -> Answer {
        let landing = program.landing_url().and_then(|url| {
            let mut location = String::with_capacity(url.as_str().len() + 64);
            url.render(message_id, |name| hit.parameter(name), &mut location);
            answer::redirect(location)
        });
        landing.unwrap_or_else(|| self.fallback(Some(program), "no_landing_url"))
    }

    /// The program's fallback URL, else the configured one, else 404.
    fn fallback(&self, program: Option<&Program>, error: &'static str) -> Answer {
        let of_program =
            program.and_then(|program| program.terms.fallback_url.as_ref()).map(|url| url.as_str());
        let url = of_program.or(self.site.config().fallback_url.as_deref());
        url.and_then(|url| answer::redirect(url.to_owned()))
            .unwrap_or_else(|| answer::error(StatusCode::NOT_FOUND, error))
    }
}

/// The answer to a request that no user has made yet, see [`answer::speculative`]. An image
/// stays an image, as a page that is shown later does not request it again.
fn speculative(route: HitRoute, head: &Head<'_>) -> Reply {
    match route {
        HitRoute::Impression => Reply::Pixel,
        HitRoute::Conversion if wants_image(head.path) => {
            answer::pixel(StatusCode::SERVICE_UNAVAILABLE).into()
        }
        _ => answer::speculative().into(),
    }
}

#[cfg(test)]
mod tests;
