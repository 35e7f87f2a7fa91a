//! Who may read which shard: what follows from the rows of the leases, and by whose clock. Pure.
//!
//! A row belongs to the worker whose *holding* it names: a random number made anew each time that
//! the lease is taken. It is the fencing token: whoever writes to the row names it, so that a worker
//! that was frozen, and lost the lease meanwhile, can move nothing. The holder raises `renewed`;
//! that a lease is not renewed any more is seen by each observer on its own monotonic clock. No two
//! machines' clocks are ever compared.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

/// A shard, as the stream says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shard {
    pub id: String,
    /// The shard, or both shards, that it was made from.
    pub parents: Vec<String>,
}

/// A row of the leases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lease {
    pub shard: String,
    /// The worker that holds it, for people and for sharing out.
    pub owner: Option<String>,
    /// Of the one that holds it.
    pub holding: Option<String>,
    /// Raised by the holder; together with `holding` it shows life.
    pub renewed: u64,
    /// The last sequence number of which everything up to it is stored; `None` before the first.
    pub checkpoint: Option<String>,
    /// Everything in the shard is stored, and nothing comes any more.
    pub ended: bool,
}

/// The shards that need a row, and whose parents are through: theirs comes before their children's.
pub(super) fn to_create<'a>(shards: &'a [Shard], leases: &[Lease]) -> Vec<&'a Shard> {
    let leases: HashMap<&str, &Lease> = leases.iter().map(|lease| (lease.shard.as_str(), lease)).collect();
    let listed: BTreeSet<&str> = shards.iter().map(|shard| shard.id.as_str()).collect();
    let is_through = |parent: &String| {
        // One that the stream no longer has cannot be waited for.
        !listed.contains(parent.as_str()) || leases.get(parent.as_str()).is_some_and(|lease| lease.ended)
    };
    let needs_one =
        |shard: &&Shard| !leases.contains_key(shard.id.as_str()) && shard.parents.iter().all(is_through);
    shards.iter().filter(needs_one).collect()
}

/// The rows of shards that the stream no longer has. Of those that are not ended, something may have
/// been lost: it was not read within the stream's retention.
pub(super) fn to_remove<'a>(shards: &[Shard], leases: &'a [Lease]) -> Vec<&'a Lease> {
    let listed: BTreeSet<&str> = shards.iter().map(|shard| shard.id.as_str()).collect();
    leases.iter().filter(|lease| !listed.contains(lease.shard.as_str())).collect()
}

/// What an observer has seen of the leases.
#[derive(Debug, Default)]
pub(super) struct Observer {
    /// Of each held shard: its holding and its count of renewals, and since when they are these.
    seen: HashMap<String, (String, u64, Instant)>,
    looked_at: Option<Instant>,
}

impl Observer {
    /// Looks at all leases. After a look that is longer ago than `gap_max` it begins anew: who could
    /// not look may have missed that a lease was renewed, or nobody could renew one either.
    pub fn look(&mut self, leases: &[Lease], gap_max: Duration, now: Instant) {
        if self.looked_at.is_some_and(|at| now.saturating_duration_since(at) > gap_max) {
            self.seen.clear();
        }
        self.looked_at = Some(now);
        let mut seen = HashMap::new();
        for lease in leases {
            let Some(holding) = &lease.holding else { continue };
            let before = self.seen.remove(&lease.shard);
            let since = match before {
                Some((before, renewed, since)) if before == *holding && renewed == lease.renewed => since,
                _ => now,
            };
            seen.insert(lease.shard.clone(), (holding.clone(), lease.renewed, since));
        }
        self.seen = seen;
    }

    /// Whether anybody may take it: nobody holds it, or its holder shows no life.
    pub fn is_free(&self, lease: &Lease, failover: Duration, now: Instant) -> bool {
        match (&lease.holding, self.seen.get(&lease.shard)) {
            (None, _) => true,
            (Some(_), Some((_, _, since))) => now.saturating_duration_since(*since) >= failover,
            (Some(_), None) => false,
        }
    }
}

/// The leases that `me` should take now, so that all are held and are shared out evenly: the free
/// ones up to an equal share; and if there are none, one of whoever holds the most, if that is at
/// least two more than `me` and `may_steal` allows it.
pub(super) fn to_take<'a>(
    leases: &'a [Lease],
    me: &str,
    is_free: impl Fn(&Lease) -> bool,
    may_steal: bool,
) -> Vec<&'a Lease> {
    let to_read = || leases.iter().filter(|lease| !lease.ended);
    let mut of_workers: BTreeMap<&str, Vec<&Lease>> = BTreeMap::from([(me, Vec::new())]);
    let mut free = Vec::new();
    for lease in to_read() {
        match &lease.owner {
            _ if is_free(lease) => free.push(lease),
            Some(owner) => of_workers.entry(owner).or_default().push(lease),
            None => {}
        }
    }
    let mine = of_workers[me].len();
    let share = to_read().count().div_ceil(of_workers.len());
    if !free.is_empty() {
        free.truncate(share.saturating_sub(mine));
        return free;
    }
    let most = of_workers.values().max_by_key(|held| held.len());
    match most.filter(|held| may_steal && held.len() >= mine + 2).and_then(|held| held.first()) {
        Some(lease) => vec![lease],
        None => Vec::new(),
    }
}

/// Whether sequence number `a` is before `b`: both are decimal, without leading zeros.
pub(super) fn is_before(a: &str, b: &str) -> bool {
    (a.len(), a) < (b.len(), b)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILOVER: Duration = Duration::from_secs(10);

    fn shard(id: &str, parents: &[&str]) -> Shard {
        Shard { id: id.to_owned(), parents: parents.iter().map(|&parent| parent.to_owned()).collect() }
    }

    fn lease(shard: &str, owner: Option<&str>) -> Lease {
        let owned = |text: &str| text.to_owned();
        Lease {
            shard: shard.to_owned(),
            owner: owner.map(owned),
            holding: owner.map(|owner| format!("holding of {owner}")),
            ..Lease::default()
        }
    }

    fn ended(shard: &str) -> Lease {
        Lease { ended: true, ..lease(shard, None) }
    }

    fn ids<'a>(leases: impl IntoIterator<Item = &'a Lease>) -> Vec<&'a str> {
        leases.into_iter().map(|lease| lease.shard.as_str()).collect()
    }

    #[test]
    fn a_child_gets_a_row_once_all_its_parents_are_through() {
        let shards = [shard("a", &[]), shard("b", &[]), shard("ab", &["a", "b"]), shard("x", &["trimmed"])];
        let created = |leases: &[Lease]| {
            to_create(&shards, leases).into_iter().map(|shard| shard.id.clone()).collect::<Vec<_>>()
        };
        assert_eq!(created(&[]), ["a", "b", "x"], "a parent that is gone is not waited for");
        let reading = lease("x", None);
        assert_eq!(created(&[lease("a", None), lease("b", None), reading.clone()]), [""; 0]);
        assert_eq!(created(&[ended("a"), lease("b", None), reading.clone()]), [""; 0]);
        assert_eq!(created(&[ended("a"), ended("b"), reading.clone()]), ["ab"]);
        let row_of_a_parent_deleted = [ended("b"), lease("ab", None), reading];
        assert_eq!(created(&row_of_a_parent_deleted), ["a"], "it is read once more");
    }

    #[test]
    fn rows_of_shards_that_are_gone_are_found() {
        let leases = [ended("gone"), lease("a", None), lease("lost", None)];
        assert_eq!(ids(to_remove(&[shard("a", &[])], &leases)), ["gone", "lost"]);
    }

    #[test]
    fn a_lease_is_free_once_it_was_seen_unchanged_for_the_failover_time() {
        let begin = Instant::now();
        let almost = begin + FAILOVER - Duration::from_millis(1);
        let mut observer = Observer::default();
        let held = lease("a", Some("other"));
        let look = |observer: &mut Observer, lease: &Lease, at| {
            observer.look(std::slice::from_ref(lease), FAILOVER, at);
        };
        assert!(observer.is_free(&lease("b", None), FAILOVER, begin));
        assert!(!observer.is_free(&held, FAILOVER, begin), "never looked at");
        look(&mut observer, &held, begin);
        look(&mut observer, &held, almost);
        assert!(!observer.is_free(&held, FAILOVER, almost));
        let renewed = Lease { renewed: 1, ..held.clone() };
        look(&mut observer, &renewed, almost);
        assert!(!observer.is_free(&renewed, FAILOVER, begin + FAILOVER), "it was renewed");
        look(&mut observer, &renewed, almost + FAILOVER);
        assert!(observer.is_free(&renewed, FAILOVER, almost + FAILOVER));
        let taken = Lease { holding: Some("another".to_owned()), ..renewed };
        look(&mut observer, &taken, almost + FAILOVER);
        assert!(!observer.is_free(&taken, FAILOVER, almost + FAILOVER), "another has it now");
    }

    #[test]
    fn time_in_which_nobody_could_look_does_not_count() {
        let begin = Instant::now();
        let after_an_outage = begin + 6 * FAILOVER;
        let mut observer = Observer::default();
        let held = [lease("a", Some("other"))];
        observer.look(&held, FAILOVER, begin);
        observer.look(&held, FAILOVER, after_an_outage);
        assert!(!observer.is_free(&held[0], FAILOVER, after_an_outage));
        observer.look(&held, FAILOVER, after_an_outage + FAILOVER);
        assert!(observer.is_free(&held[0], FAILOVER, after_an_outage + FAILOVER));
    }

    #[test]
    fn free_leases_are_taken_up_to_an_equal_share() {
        let is_free = |lease: &Lease| lease.owner.is_none();
        let alone: Vec<Lease> = ["a", "b", "c"].map(|shard| lease(shard, None)).to_vec();
        assert_eq!(ids(to_take(&alone, "me", is_free, false)), ["a", "b", "c"]);
        let with_another = [lease("a", Some("other")), lease("b", None), lease("c", None), ended("z")];
        assert_eq!(
            ids(to_take(&with_another, "me", is_free, true)),
            ["b", "c"],
            "3 of 2 workers: 2 each at most"
        );
        let mine = [lease("a", Some("other")), lease("b", Some("me")), lease("c", None), lease("d", None)];
        assert_eq!(ids(to_take(&mine, "me", is_free, true)), ["c"]);
    }

    #[test]
    fn one_lease_is_stolen_of_whoever_holds_two_more_and_in_its_time_only() {
        let is_free = |_: &Lease| false;
        let leases = [lease("a", Some("x")), lease("b", Some("x")), lease("c", Some("y"))];
        assert_eq!(ids(to_take(&leases, "me", is_free, true)), ["a"]);
        assert_eq!(ids(to_take(&leases, "me", is_free, false)), [""; 0], "not so soon");
        assert_eq!(ids(to_take(&leases, "y", is_free, true)), [""; 0], "2 and 1 are even");
        assert_eq!(ids(to_take(&[], "me", is_free, true)), [""; 0]);
    }

    #[test]
    fn sequence_numbers_are_compared_as_numbers() {
        assert!(is_before("", "1") && is_before("9", "10") && is_before("10", "11"));
        assert!(!is_before("10", "10") && !is_before("11", "10") && !is_before("100", "99"));
    }
}
