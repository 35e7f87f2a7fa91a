//! What happens to the catalog when the registry may have lost changes that were seen: its
//! version is below ours, or its epoch is another one.
//!
//! That is a failover to a replica that lagged, a restored copy, or another store altogether;
//! they cannot be told apart for sure. What was lost is newer than what is there, by the order
//! of its source, and its source will say it again; until it does, to take the older value
//! would let a paused campaign run again, and then pause it again. So these are kept:
//!
//! - a program of a higher revision than the registry's;
//! - one that the registry never heard of (a removal leaves a tombstone there);
//! - a removal, if the registry has an older change of that program.
//!
//! A source that repeats itself from further back says older revisions first; a change of a lower
//! revision than the one held is therefore taken for its version only.
//!
//! They are kept under the registry's own version of that program, so the next word on it wins.
//! What its source never repeats is given up `fresh_seconds` after the load, all of it at once: the
//! follower then loads the registry as it is. So every tracker gives up the same.

use std::collections::{HashMap, HashSet};

use super::{CatalogWriter, slot::Content};
use crate::{ProgramId, Snapshot};

impl CatalogWriter {
    /// Programs that are held, ordered by their source, and that `snapshot` lacks.
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

    /// Takes over what the registry held at `read_at_ms`, except what it lost; of the programs that
    /// it lacks it `never_heard` of these. `snapshot` is then what the catalog holds, removals
    /// excepted. Returns the numbers of programs, and of what was kept.
    ///
    /// Readers see the old programs until the new ones are all there.
    pub(crate) async fn replace_but_keep_newer(
        &self,
        snapshot: &mut Snapshot,
        never_heard: &HashSet<ProgramId>,
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
                (Content::Known(ours), Some(&place)) => {
                    let (_, theirs) = &mut snapshot.programs[place];
                    if ours.revision > theirs.revision {
                        *theirs = ours.clone();
                        programs_kept += 1;
                    }
                }
                (Content::Known(ours), None) if never_heard.contains(slot.id()) => {
                    snapshot.programs.push((0, ours.clone()));
                    programs_kept += 1;
                }
                // Their last change of it is one that we had seen before the removal.
                (Content::Removed(id), Some(&place)) if snapshot.programs[place].0 <= slot.version => {
                    removed.insert(id.clone(), snapshot.programs[place].0);
                }
                _ => {}
            }
        }
        snapshot.programs.retain(|(_, program)| !removed.contains_key(&program.id));
        let kept = programs_kept + removed.len() as u64;
        let programs = self.replace(snapshot, removed, read_at_ms).await;
        (programs, kept)
    }
}
