//! What cannot be stored, as dead letters within their bound.

use std::collections::HashSet;

use super::todo::{Course, Todo, What, prost_len};
use crate::dynamo::DynamoTable;
use crate::dynamo::fault::Fault;
use crate::dynamo::keys;
use crate::dynamo::letters::{Head, Put, Room};
use crate::table::{LeftReason, Written};

impl DynamoTable {
    /// Keeps what is poison, as long as there is room; a lane without room waits at that record.
    pub(super) async fn put_letters(
        &self,
        todo: &mut [Todo<'_>],
        written: &mut Written,
    ) -> Result<(), Fault> {
        if !todo.iter().any(|todo| todo.what.letter().is_some()) {
            return Ok(());
        }
        let heads = self.db.heads().await?;
        let mut room = Room::of(heads.iter().filter(|head| head.kind.is_of_consumer()));
        let known: HashSet<&str> = heads.iter().map(|head| head.place.as_str()).collect();
        let mut waiting = HashSet::new();
        let mut new = Vec::new();
        for (at, todo) in todo.iter_mut().enumerate() {
            // A lane is stored in order: everything behind a record that waits, waits too.
            let lane = (todo.place.boot, todo.place.lane);
            if let Some(reason) = waiting.contains(&lane).then(|| self.letters_full(room.letters)) {
                todo.course = Course::Left(reason);
                continue;
            }
            let Some((letter, kind)) = todo.what.letter() else { continue };
            let after = room.with(prost_len(letter));
            if !known.contains(keys::letter_place(letter).as_str()) {
                if !after.is_within(self.settings.letters_max) {
                    waiting.insert(lane);
                    todo.course = Course::Left(self.letters_full(room.letters));
                    continue;
                }
                room = after;
            }
            match self.db.put_letter(letter, kind).await {
                Ok(put) => {
                    todo.decide_letter(&put, written);
                    if let Put::New(head) = put {
                        new.push((at, head));
                    }
                }
                Err(Fault::Throttled) => {
                    waiting.insert(lane);
                    todo.course = Course::Left(LeftReason::Throttled);
                }
                Err(fault) => return Err(fault),
            }
        }
        self.take_back_beyond_the_bound(todo, new, written).await
    }

    /// Other workers may have found the same room. Whoever finds too many takes back its own, the
    /// newest first; the ledger does not know of them yet.
    async fn take_back_beyond_the_bound(
        &self,
        todo: &mut [Todo<'_>],
        mut new: Vec<(usize, Head)>,
        written: &mut Written,
    ) -> Result<(), Fault> {
        if new.is_empty() {
            return Ok(());
        }
        let heads = self.db.heads().await?;
        let mut room = Room::of(heads.iter().filter(|head| head.kind.is_of_consumer()));
        while !room.is_within(self.settings.letters_max) {
            let Some((at, head)) = new.pop() else { break };
            if self.db.take_back(&head).await? {
                room = Room { letters: room.letters - 1, bytes: room.bytes.saturating_sub(head.bytes) };
                if todo[at].course == Course::Done {
                    written.fates.dead_letters -= 1;
                }
                // The lane waits from here on.
                let lane = (todo[at].place.boot, todo[at].place.lane);
                let reason = self.letters_full(room.letters);
                let behind = todo[at..].iter_mut().filter(|todo| (todo.place.boot, todo.place.lane) == lane);
                for todo in behind.filter(|todo| !matches!(todo.course, Course::Done)) {
                    todo.course = Course::Left(reason);
                }
                todo[at].course = Course::Left(reason);
            }
        }
        Ok(())
    }

    fn letters_full(&self, held: u64) -> LeftReason {
        LeftReason::LettersFull { held, max: self.settings.letters_max.letters }
    }

    /// Keeps what DynamoDB did not take, for whatever reason, so that it is in nobody's way.
    pub(super) async fn put_refused(&self, todo: &mut [Todo<'_>]) -> Result<(), Fault> {
        let refused = |todo: &Todo<'_>| todo.course == Course::Begun && todo.what.letter().is_some();
        if !todo.iter().any(refused) {
            return Ok(());
        }
        // Those of before are decided, so only these are put.
        let mut again: Vec<Todo<'_>> = Vec::new();
        let mut ats = Vec::new();
        for (at, todo) in todo.iter_mut().enumerate().filter(|(_, todo)| refused(todo)) {
            if let What::Dead(letter) = &todo.what {
                let what = What::Dead(letter.clone());
                again.push(Todo { batch: todo.batch, place: todo.place, what, course: Course::Begun });
                ats.push(at);
            }
        }
        let mut none = Written::default();
        self.put_letters(&mut again, &mut none).await?;
        for (at, again) in ats.into_iter().zip(again) {
            todo[at].course = again.course;
        }
        Ok(())
    }
}
