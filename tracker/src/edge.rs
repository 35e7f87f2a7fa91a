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

use actix_http::{Method, RequestHead, StatusCode};
use programs::{Program, Registry};
use proto::{Message as _, Uuid, ids::MessageIds};
use serde::Serialize;
use stream::{Class, Lane, Level, Log, RecordKind};

use crate::{
    answer::{self, Answer},
    catalog::{Catalog, Verdict},
    clock::now_ms,
    config::Config,
    counters::{CatalogCounters, Counters, Outcome},
    decide::{Accepted, Rules, decide},
    event::Event,
    hit::Hit,
    refusal::{Refusal, Refused},
    reject::{RejectLimit, rejected},
    routes::{HitRoute, Target},
};

/// What all workers share.
pub struct Site {
    /// The settings.
    pub config: Config,
    /// What of them a decision needs.
    pub rules: Rules,
    /// The programs.
    pub catalog: Catalog,
    /// What is counted.
    pub counters: Counters,
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
        let catalog = Catalog::new(config.catalog.clone(), registry, CatalogCounters::new());
        let (rules, counters) = (Rules::new(&config), Counters::new());
        Self { config, rules, catalog, counters, log, draining: AtomicBool::new(false) }
    }

    /// Whether hits are welcome, and why not.
    pub fn health(&self) -> Health {
        let (catalog_loaded, lane_poisoned) = (self.catalog.is_loaded(), self.log.poisoned());
        let draining = self.draining.load(Ordering::Acquire);
        Health {
            ready: catalog_loaded && !lane_poisoned && !draining,
            catalog_loaded,
            catalog_fresh: self.catalog.is_fresh(),
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
        let rejects = RefCell::new(RejectLimit::new(site.config.rejected_per_second_max, workers));
        Self { site, lane, ids: MessageIds::new(), rejects }
    }

    /// Answers any request; each is counted once.
    pub async fn answer(&self, head: &RequestHead) -> Answer {
        match Target::of(head.uri.path(), &self.site.config.prefixes) {
            Target::Hit(route, program) => {
                let (outcome, answer) = self.hit(route, program, head).await;
                self.site.counters.hit(route, outcome);
                answer
            }
            page => self.page(page, head),
        }
    }

    async fn hit(&self, route: HitRoute, program: &str, head: &RequestHead) -> (Outcome, Answer) {
        if !is_read(&head.method) {
            return (Outcome::WrongMethod, answer::wrong_method());
        }
        let site = &*self.site;
        let hit = Hit::read(route, program, head, &site.config, now_ms());
        let verdict = match &hit.program {
            Some(id) => site.catalog.find(id, hit.received_at_ms).await,
            None => Verdict::Unknown,
        };
        match decide(&hit, &verdict, hit.received_at_ms, &site.rules, &mut ()) {
            Ok(accepted) => self.accept(&hit, accepted).await,
            Err(refused) => self.refuse(&hit, &verdict, &refused),
        }
    }

    async fn accept(&self, hit: &Hit<'_>, accepted: Accepted<'_>) -> (Outcome, Answer) {
        let mut text = Uuid::encode_buffer();
        let message_id: &str = self.ids.next(hit.received_at_ms).hyphenated().encode_lower(&mut text);
        let outcome = self.record(hit, accepted, message_id).await;
        (outcome, self.acknowledge(hit, accepted, message_id, outcome))
    }

    /// The answer to an accepted hit; see the table at [`crate::Levels`].
    fn acknowledge(&self, hit: &Hit, accepted: Accepted, message_id: &str, outcome: Outcome) -> Answer {
        let failed = matches!(outcome, Outcome::Shed | Outcome::NotDurable);
        match (hit.route, accepted) {
            (HitRoute::Impression, _) if failed => answer::pixel(StatusCode::SERVICE_UNAVAILABLE),
            (HitRoute::Impression, _) => answer::pixel(StatusCode::OK),
            (HitRoute::Click, accepted) => {
                let answer = match accepted {
                    Accepted::Known(program) => self.landing(hit, program, message_id),
                    Accepted::Unverified => self.fallback(None, Refusal::UnverifiedProgram.name()),
                };
                if failed { answer::not_recorded(answer) } else { answer }
            }
            (HitRoute::Event, Accepted::Known(program)) if !failed => {
                answer::enriched(hit, program, message_id)
            }
            (HitRoute::Event, _) => answer::overloaded(),
        }
    }

    /// Puts the event into the log and waits until it is as safe as its route demands.
    async fn record(&self, hit: &Hit<'_>, accepted: Accepted<'_>, message_id: &str) -> Outcome {
        if !hit.counted {
            return Outcome::NotCounted;
        }
        let (config, counters) = (&self.site.config, &self.site.counters);
        let (boot, lane) = (self.lane.boot(), self.lane.id());
        let prefix = hit.route.prefix(&config.prefixes);
        let event = Event { hit, accepted, message_id, boot, lane, prefix };
        let class = hit.route.class();
        let appended = self.lane.append(class, RecordKind::Event, |number, out| event.encode(number, out));
        let Ok(number) = appended else {
            counters.shed(class);
            return Outcome::Shed;
        };
        match hit.route.level(&config.levels) {
            Level::Memory => Outcome::Accepted,
            level => match self.lane.reached(level, number).await {
                Ok(()) => Outcome::Accepted,
                Err(_) => Outcome::NotDurable,
            },
        }
    }

    fn refuse(&self, hit: &Hit, verdict: &Verdict, refused: &Refused) -> (Outcome, Answer) {
        let outcome = if hit.counted { Outcome::Refused } else { Outcome::NotCounted };
        if hit.counted {
            self.site.counters.refused(refused.reason);
            self.lane.count_refused(refused.reason.name());
            self.keep(hit, refused);
        }
        let answer = match hit.route {
            HitRoute::Event => answer::refusal(refused.reason, refused.reason.status()),
            HitRoute::Impression => answer::pixel(StatusCode::OK),
            HitRoute::Click => {
                let program = if let Verdict::Known(program) = verdict { Some(&**program) } else { None };
                self.fallback(program, refused.reason.name())
            }
        };
        (outcome, answer)
    }

    /// Keeps a refused hit, within its bounds; nobody waits for it.
    fn keep(&self, hit: &Hit, refused: &Refused) {
        let site = &*self.site;
        let kept = self.rejects.borrow_mut().takes(refused.reason, hit.received_at_ms) && {
            let (boot, lane) = (self.lane.boot(), self.lane.id());
            let prefix = hit.route.prefix(&site.config.prefixes);
            let record = |number, out: &mut Vec<u8>| {
                let rejected = rejected(hit, refused, prefix, boot, lane, number);
                rejected.encode(out).expect("a vector grows");
            };
            self.lane.append(Class::Impression, RecordKind::Rejected, record).is_ok()
        };
        if !kept {
            site.counters.rejected_not_kept.increment(1);
        }
    }

    fn landing(&self, hit: &Hit, program: &Program, message_id: &str) -> Answer {
        let landing = program.landing_url.as_ref().and_then(|url| {
            let mut location = String::with_capacity(url.as_str().len() + 64);
            url.render(message_id, |name| hit.parameter(name), &mut location);
            answer::redirect(location)
        });
        landing.unwrap_or_else(|| self.fallback(Some(program), "no_landing_url"))
    }

    /// The program's own place for what is refused, else ours, else 404.
    fn fallback(&self, program: Option<&Program>, error: &'static str) -> Answer {
        let theirs = program.and_then(|program| program.fallback_url.as_ref()).map(|url| url.as_str());
        let url = theirs.or(self.site.config.fallback_url.as_deref());
        url.and_then(|url| answer::redirect(url.to_owned()))
            .unwrap_or_else(|| answer::error(StatusCode::NOT_FOUND, error))
    }

    fn page(&self, page: Target, head: &RequestHead) -> Answer {
        let site = &*self.site;
        let line = head.uri.path_and_query().map_or(0, |target| target.as_str().len());
        if line > site.config.limits.request_line_bytes_max {
            site.counters.unknown_path.increment(1);
            return answer::error(StatusCode::URI_TOO_LONG, Refusal::TooLarge.name());
        }
        if page == Target::Unknown {
            site.counters.unknown_path.increment(1);
            return answer::not_found();
        }
        if !is_read(&head.method) {
            site.counters.wrong_method.increment(1);
            return answer::wrong_method();
        }
        site.counters.other.increment(1);
        match page {
            Target::Live => answer::text(StatusCode::OK, "live\n"),
            Target::Ready if site.health().ready => answer::text(StatusCode::OK, "ready\n"),
            Target::Ready => answer::text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
            Target::Check => check(site.health()),
            Target::Robots => answer::robots(),
            Target::Gpc => answer::gpc(site.config.honour_gpc),
            Target::Unknown | Target::Hit(..) => unreachable!("both were answered above"),
        }
    }
}

fn check(health: Health) -> Answer {
    let status = if health.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    answer::json(status, serde_json::to_vec(&health).expect("flags are always JSON"))
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

#[cfg(test)]
mod tests;
