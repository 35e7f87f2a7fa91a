//! What one worker does with a request: translate, ask for the decision, wait for its
//! own write, answer.
//!
//! What an answer acknowledges is said at [`crate::Levels`].

use std::{
    cell::RefCell,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use http::StatusCode;
use programs::catalog::Verdict;
use programs::decision::{Accepted, Refusal, Refused, decide};
use programs::{Program, Registry};
use proto::{
    Message as _, Rejected, Uuid,
    ids::{self, MessageIds},
};
use serde::Serialize;
use stream::{Class, Lane, Level, Log, Number, RecordKind};

use crate::{
    config::Config,
    edge::answer::{Answer, Reply},
    edge::decider::Decider,
    edge::event::Event,
    edge::reject::{RejectLimit, rejected},
    edge::tag::Tag,
    metrics::counters::{Counters, Outcome},
    request::head::Head,
    request::hit::{Hit, wants_image},
    request::routes::{HitRoute, Target},
};

pub mod answer;
mod beacon;
pub mod decider;
mod etag;
mod event;
pub mod explain;
pub mod reject;
mod tag;

pub use beacon::data_of;

/// What all workers share.
pub struct Site {
    /// What decides over hits.
    pub decider: Decider,
    /// What is counted.
    pub counters: Counters,
    /// The browser tag.
    pub tag: Tag,
    /// Where events go.
    pub log: Log,
    /// Set once we are told to stop.
    pub draining: AtomicBool,
}

/// What `/health/check` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Health {
    /// Whether hits are welcome.
    pub ready: bool,
    /// Whether the programs were loaded at least once.
    pub catalog_loaded: bool,
    /// Whether their changes are being followed; not needed to be ready.
    pub catalog_fresh: bool,
    /// Whether a lane of this process failed to write or to sync.
    pub lane_poisoned: bool,
    /// Whether we were told to stop.
    pub draining: bool,
}

impl Site {
    /// With an empty catalog that asks `registry`. Metrics go to the recorder of the
    /// calling thread.
    pub fn new<R: Registry>(config: Config, log: Log, registry: Arc<R>) -> Self {
        let tag = Tag::new(&config.prefixes);
        let decider = Decider::new(config, registry);
        Self { decider, counters: Counters::new(), tag, log, draining: AtomicBool::new(false) }
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.decider.config
    }

    /// Whether hits are welcome, and why not.
    pub fn health(&self) -> Health {
        let catalog_loaded = self.decider.catalog.is_loaded();
        let lane_poisoned = self.log.poisoned();
        let draining = self.draining.load(Ordering::Acquire);
        Health {
            ready: catalog_loaded && !lane_poisoned && !draining,
            catalog_loaded,
            catalog_fresh: self.decider.catalog.is_fresh(),
            lane_poisoned,
            draining,
        }
    }
}

/// One worker's side of the tracker. Stays on its thread.
pub struct Edge {
    site: Arc<Site>,
    lane: Lane,
    ids: MessageIds,
    rejects: RefCell<RejectLimit>,
}

impl Edge {
    /// A worker that appends to `lane`, one of `workers`.
    pub fn new(site: Arc<Site>, lane: Lane, workers: usize) -> Self {
        let rejects = RefCell::new(RejectLimit::new(site.config().rejected_per_second_max, workers));
        Self { site, lane, ids: MessageIds::new(), rejects }
    }

    /// Answers a request whose body nobody needs; it is counted once.
    pub async fn answer(&self, target: Target<'_>, head: &Head<'_>, received_at_ms: u64) -> Reply {
        match target {
            Target::Hit(route, _) if !head.method.is_read() => {
                self.site.counters.hit(route, Outcome::WrongMethod);
                answer::wrong_method(READ).into()
            }
            Target::Hit(route, program) => self.hit(route, program, head, received_at_ms).await,
            Target::Beacon => self.beacon_pixel(head, received_at_ms).await.into(),
            page => self.page(page, head).into(),
        }
    }

    /// Answers a GET or HEAD of a tracking route that arrived at `received_at_ms`; it is
    /// counted once.
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
        let dot = || match failed {
            true => Reply::from(answer::pixel(StatusCode::SERVICE_UNAVAILABLE)),
            false => Reply::Pixel,
        };
        match (hit.route, accepted) {
            (HitRoute::Impression, _) => dot(),
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
            (HitRoute::Conversion, _) if hit.wants_image() => dot(),
            (HitRoute::Conversion, _) if !failed => answer::converted(message_id).into(),
            (HitRoute::Event | HitRoute::Conversion | HitRoute::Beacon, _) => answer::overloaded().into(),
        }
    }

    /// The sender's id of it, if there is one, so that a retry has the same; else a new one.
    fn message_id(&self, hit: &Hit) -> Uuid {
        match hit.sender_id() {
            Some(id) => {
                let program = hit.program.as_deref().unwrap_or_default();
                ids::from_sender(&[program, hit.kind_name(), id])
            }
            None => self.ids.next(hit.received_at_ms),
        }
    }

    /// Puts the event into the log and waits until it is as safe as its route demands.
    async fn record(&self, hit: &Hit<'_>, accepted: Accepted<'_>, id: Uuid) -> Outcome {
        match self.append(hit, accepted, id, hit.route.class()) {
            Ok(number) => self.settle(hit.route.level(&self.site.config().levels), number).await,
            Err(outcome) => outcome,
        }
    }

    /// Puts the event into the log, or says what became of the hit instead.
    fn append(&self, hit: &Hit, accepted: Accepted, id: Uuid, class: Class) -> Result<Number, Outcome> {
        if !hit.client.counted {
            return Err(Outcome::NotCounted);
        }
        let (boot, lane) = (self.lane.boot(), self.lane.id());
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

    /// Waits until an event is as safe as `level` says.
    async fn settle(&self, level: Level, number: Number) -> Outcome {
        match level {
            Level::Memory => Outcome::Accepted,
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

    /// Counts and keeps a refused hit.
    fn note_refused(&self, hit: &Hit, refused: &Refused) -> Outcome {
        if !hit.client.counted {
            return Outcome::NotCounted;
        }
        let prefix = hit.route.prefix(&self.site.config().prefixes);
        self.keep(refused.reason, hit.received_at_ms, || rejected(hit, refused, prefix));
        Outcome::Refused
    }

    /// Counts a refusal and keeps its record, within its bounds; nobody waits for it.
    fn keep(&self, reason: Refusal, received_at_ms: u64, rejected: impl FnOnce() -> Rejected) {
        let counters = &self.site.counters;
        counters.refused(reason);
        self.lane.count_refused(reason.name());
        let kept = self.rejects.borrow_mut().takes(reason, received_at_ms) && {
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

    /// The program's own place for what is refused, else ours, else 404.
    fn fallback(&self, program: Option<&Program>, error: &'static str) -> Answer {
        let theirs = program.and_then(|program| program.terms.fallback_url.as_ref()).map(|url| url.as_str());
        let url = theirs.or(self.site.config().fallback_url.as_deref());
        url.and_then(|url| answer::redirect(url.to_owned()))
            .unwrap_or_else(|| answer::error(StatusCode::NOT_FOUND, error))
    }

    fn page(&self, page: Target, head: &Head) -> Answer {
        let site = &*self.site;
        if head.request_line_bytes > site.config().limits.request_line_bytes_max {
            site.counters.unknown_path.increment(1);
            return answer::error(StatusCode::URI_TOO_LONG, Refusal::TooLarge.name());
        }
        if page == Target::Unknown || (page == Target::Example && !site.config().example_page) {
            site.counters.unknown_path.increment(1);
            return answer::not_found();
        }
        if !head.method.is_read() {
            site.counters.wrong_method.increment(1);
            return answer::wrong_method(READ);
        }
        site.counters.other.increment(1);
        match page {
            Target::Live => answer::text(StatusCode::OK, "live\n"),
            Target::Ready if site.health().ready => answer::text(StatusCode::OK, "ready\n"),
            Target::Ready => answer::text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
            Target::Check => check(site.health()),
            Target::Robots => answer::robots(),
            Target::Gpc => answer::gpc(site.config().honour_gpc),
            Target::Tag => site.tag.script(head),
            Target::Example => site.tag.example(head),
            Target::Unknown | Target::Hit(..) | Target::Beacon => unreachable!("were answered above"),
        }
    }
}

/// The answer to a request that no person has made yet: see [`answer::speculative`]. An image
/// stays an image; whoever sees it later does not ask for it again.
fn speculative(route: HitRoute, head: &Head<'_>) -> Reply {
    match route {
        HitRoute::Impression => Reply::Pixel,
        HitRoute::Conversion if wants_image(head.path) => {
            answer::pixel(StatusCode::SERVICE_UNAVAILABLE).into()
        }
        _ => answer::speculative().into(),
    }
}

fn check(health: Health) -> Answer {
    let status = if health.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    answer::json(status, serde_json::to_vec(&health).expect("flags are always JSON"))
}

/// The methods of all paths but the beacon's.
const READ: &str = "GET, HEAD";

#[cfg(test)]
mod tests;
