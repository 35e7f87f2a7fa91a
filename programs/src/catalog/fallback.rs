//! What happens to the catalog when the registry may have lost changes that were seen: its
//! version is below ours, or its epoch is another one.
//!
//! The cause is a failover to a lagging replica, a restored copy, or another store altogether;
//! they cannot be told apart reliably. The lost changes are newer, by their source's revisions, and
//! their source will send them again. Taking the older values until then would resume a paused
//! campaign and pause it again later. So these are kept:
//!
//! - a program with a higher revision than the registry's;
//! - a program of which the registry has no trace (a removal leaves a tombstone);
//! - a removal, if the registry has an older change of that program.
//!
//! A source that replays from further back sends older revisions first; a change with a lower
//! revision than the one held therefore only updates the version.
//!
//! Kept programs have the registry's own version of that program, so its next change wins. What
//! the source never sends again is discarded `fresh_seconds` after the load, all at once: the
//! follower then loads the registry as it is. So every tracker discards the same.

use std::collections::{HashMap, HashSet};

use super::{slot::Content, writer::CatalogWriter};
use crate::{ProgramId, Snapshot};

impl CatalogWriter {
    /// Programs held with a revision that are not in `snapshot`.
    pub(crate) fn lacking_in(&self, snapshot: &Snapshot) -> Vec<ProgramId> {
        let held = self.held();
        if held.is_empty() {
            return Vec::new();
        }
        let there: HashSet<_> = snapshot.programs.iter().map(|(_, program)| &program.id).collect();
        let is_ordered = |content: &Content| matches!(content, Content::Known(it) if it.revision.is_some());
        let held = held.into_iter().filter(|slot| is_ordered(&slot.content));
        held.map(|slot| slot.id().clone()).filter(|id| !there.contains(id)).collect()
    }

    /// Loads `snapshot`, read at `read_at_ms`, but keeps newer values that the registry lost.
    /// `untraced` are the missing programs of which it has not even a tombstone. On return
    /// `snapshot` is what the catalog holds, without removals. Returns the number of programs, and
    /// how many values were kept.
    ///
    /// Readers see the old programs until the new ones are all there.
    pub(crate) async fn replace_but_keep_newer(
        &self,
        snapshot: &mut Snapshot,
        untraced: &HashSet<ProgramId>,
        read_at_ms: u64,
    ) -> (u64, u64) {
        let held = self.held();
        if held.is_empty() {
            return (self.replace_all(snapshot, read_at_ms).await, 0);
        }
        let places: HashMap<_, _> =
            snapshot.programs.iter().enumerate().map(|(at, (_, program))| (program.id.clone(), at)).collect();
        let mut programs_kept = 0;
        let mut removed = HashMap::new();
        for slot in held {
            match (&slot.content, places.get(slot.id())) {
                // The version stays the registry's, so that its next change of the program wins.
                (Content::Known(ours), Some(&place)) => {
                    let (_, theirs) = &mut snapshot.programs[place];
                    if ours.revision > theirs.revision {
                        *theirs = ours.clone();
                        programs_kept += 1;
                    }
                }
                // Version 0: any change of it in the registry will be newer.
                (Content::Known(ours), None) if untraced.contains(slot.id()) => {
                    snapshot.programs.push((0, ours.clone()));
                    programs_kept += 1;
                }
                // Its last change there predates the removal that we saw, so the removal is what was lost.
                (Content::Removed(id), Some(&place)) if snapshot.programs[place].0 <= slot.version => {
                    removed.insert(id.clone(), snapshot.programs[place].0);
                }
                // Removed here and there, or there is a tombstone there: the registry is right.
                _ => {}
            }
        }
        snapshot.programs.retain(|(_, program)| !removed.contains_key(&program.id));
        let kept = programs_kept + removed.len() as u64;
        let programs = self.replace(snapshot, removed, read_at_ms).await;
        (programs, kept)
    }
}
