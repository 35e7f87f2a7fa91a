//! Answers requests by path: hits, beacons that come as a pixel, health checks, fixed pages.

use http::StatusCode;
use programs::decision::Refusal;

use crate::edge::Edge;
use crate::edge::answer::{self, Answer, Reply};
use crate::edge::site::Health;
use crate::metrics::counters::Outcome;
use crate::request::head::Head;
use crate::request::routes::Target;

/// The methods of all paths but the beacon's.
const READ: &str = "GET, HEAD";

impl Edge {
    /// Answers a request whose body is not needed, and counts it once.
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

fn check(health: Health) -> Answer {
    let status = if health.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    answer::json(status, serde_json::to_vec(&health).expect("flags are always JSON"))
}
