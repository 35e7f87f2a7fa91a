//! What can be stored: where readers look for it, whose each sender's id is, and the items.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use futures_util::StreamExt;
use futures_util::stream::iter;
use proto::ids;

use super::todo::{Course, Todo, What, letter};
use crate::decode::Event;
use crate::dynamo::DynamoTable;
use crate::dynamo::batch::{NotPut, Sized};
use crate::dynamo::fault::Fault;
use crate::dynamo::item::{EXPIRES_AT, bytes, keyed, number};
use crate::dynamo::keys::{self, Key, Place};
use crate::ledger::Fate;
use crate::table::LeftReason;

impl DynamoTable {
    /// Says in which hours there is something, before there is.
    pub(super) async fn put_hours(&self, todo: &[Todo<'_>]) -> Result<(), Fault> {
        let begun = todo.iter().filter(|todo| todo.course == Course::Begun);
        let hours: HashSet<(String, u64)> = begun.filter_map(|todo| todo.what.hour()).collect();
        for (partition, hour) in hours {
            let kept_ms = self.settings.kept_ms(&partition);
            self.hours.ensure(&self.db, partition, hour, kept_ms).await?;
        }
        Ok(())
    }

    /// Finds out whose each sender's id is. Records with one id are asked in their order.
    pub(super) async fn claim_identities(&self, todo: &mut [Todo<'_>]) -> Result<(), Fault> {
        let mut by_id: HashMap<Key, Vec<usize>> = HashMap::new();
        for (at, todo) in todo.iter().enumerate().filter(|(_, todo)| todo.course == Course::Begun) {
            if let What::Event(event) = todo.what
                && ids::is_from_sender(&event.id)
            {
                by_id.entry(keys::identity(&event.program, event.id)).or_default().push(at);
            }
        }
        let records = by_id.into_values().map(|ats| {
            let event = |at: usize| match todo[at].what {
                What::Event(event) => Some((at, event.clone(), todo[at].place)),
                _ => None,
            };
            ats.into_iter().filter_map(event).collect::<Vec<_>>()
        });
        let records: Vec<_> = records.collect();
        let ats: Vec<usize> = records.iter().flatten().map(|(at, ..)| *at).collect();
        let mut asked = HashSet::new();
        let claims = iter(records).map(|records| self.claim_in_order(records));
        let mut claims = claims.buffer_unordered(self.db.calls_max);
        while let Some(courses) = claims.next().await {
            for (at, course) in courses? {
                asked.insert(at);
                todo[at].course = course;
            }
        }
        for at in ats.into_iter().filter(|at| !asked.contains(at)) {
            todo[at].course = Course::Left(LeftReason::Throttled);
        }
        Ok(())
    }

    /// Asks for one id, for one record after the other, until one cannot be asked for.
    async fn claim_in_order(
        &self,
        records: Vec<(usize, Event, Place)>,
    ) -> Result<Vec<(usize, Course)>, Fault> {
        let mut courses = Vec::new();
        for (at, event, place) in records {
            let course = match self.db.claim(&event, place, self.settings.expiry_ms).await {
                Ok(true) => Course::Begun,
                Ok(false) => Course::Decided(Fate::Duplicate),
                Err(Fault::Throttled) => Course::Left(LeftReason::Throttled),
                Err(fault) => return Err(fault),
            };
            courses.push((at, course));
            // The next record of this id must not be faster than this one.
            if course == Course::Left(LeftReason::Throttled) {
                break;
            }
        }
        Ok(courses)
    }

    /// Writes events and refused hits.
    pub(super) async fn put_items(&self, todo: &mut [Todo<'_>]) -> Result<(), Fault> {
        let mut items: Vec<Sized> = Vec::new();
        let mut of_key: HashMap<Key, usize> = HashMap::new();
        for (at, todo) in todo.iter_mut().enumerate().filter(|(_, todo)| todo.course == Course::Begun) {
            let Some((key, name, payload, expires_at)) = todo.item(&self.settings) else {
                todo.course = Course::Decided(Fate::Report);
                continue;
            };
            // One id of ours under two numbers; the same number is recognised by the ledger.
            if of_key.contains_key(&key) {
                todo.course = Course::Decided(Fate::Duplicate);
                continue;
            }
            let mut item = keyed(&key);
            item.insert(name.to_owned(), bytes(payload));
            item.insert(EXPIRES_AT.to_owned(), number(expires_at));
            items.push((item, payload.len()));
            of_key.insert(key, at);
        }
        let failed = self.db.put_all(items).await?;
        for (key, at) in of_key {
            let todo = &mut todo[at];
            todo.course = match (failed.get(&key), &todo.what) {
                (None, What::Rejected { .. }) => Course::Decided(Fate::Rejected),
                (None, _) => Course::Decided(Fate::Stored),
                (Some(NotPut::Throttled), _) => Course::Left(LeftReason::Throttled),
                (Some(NotPut::Refused(reason)), what) => {
                    let (kind, payload) = what.record();
                    todo.what = What::Dead(Cow::Owned(letter(todo.place, kind, payload, reason.clone())));
                    Course::Begun
                }
            };
        }
        Ok(())
    }
}
