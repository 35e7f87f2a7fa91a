//! What happens to the catalog when the registry fell back: the same store, behind what was
//! seen of it.
//!
//! That is a failover to a replica that lagged, or a restored copy. What was lost there is newer
//! than what is there, and its source will say it again; until it does, to take the older value
//! would let a paused campaign run again, and then pause it again. So what the registry lost is
//! kept: a program of a higher revision, one that the registry does not have yet, and a removal.
//! It is kept under the registry's own version of that program, so the next word on it wins: the
//! repetition at once, else what the registry says when the program is due to be read again
//! (`fresh_seconds`). So a change that its source never repeats is given up then, on every
//! tracker alike.
//!
//! Another epoch is another store: nothing of ours is known to be newer, and all is replaced.

use std::collections::HashMap;

use programs::{Snapshot, Version};

use super::{CatalogWriter, slot::Content};

impl CatalogWriter {
    /// Takes over what the registry holds, except what it lost; `snapshot` is then what the
    /// catalog holds, removals excepted. Returns the numbers of programs, and of what was kept.
    ///
    /// Readers see the old programs until the new ones are all there.
    pub async fn replace_by_older(&self, snapshot: &mut Snapshot, now_ms: u64) -> (u64, u64) {
        let lost_from = snapshot.state.version + 1;
        let places: HashMap<_, _> =
            snapshot.programs.iter().enumerate().map(|(at, (_, program))| (program.id.clone(), at)).collect();
        let mut kept = 0;
        let mut removed: Vec<(programs::ProgramId, Version)> = Vec::new();
        for slot in self.held() {
            let place = places.get(&slot.id).copied();
            match (&slot.content, place) {
                (Content::Known(ours), Some(place)) => {
                    let (_, theirs) = &mut snapshot.programs[place];
                    if ours.revision > theirs.revision {
                        *theirs = ours.clone();
                        kept += 1;
                    }
                }
                (Content::Known(ours), None) if slot.version >= lost_from => {
                    snapshot.programs.push((0, ours.clone()));
                    kept += 1;
                }
                (Content::Gone, Some(place)) if slot.version >= lost_from => {
                    removed.push((slot.id.clone(), snapshot.programs[place].0));
                    kept += 1;
                }
                _ => {}
            }
        }
        let gone: HashMap<_, _> = removed.into_iter().collect();
        snapshot.programs.retain(|(_, program)| !gone.contains_key(&program.id));
        let programs = self.replace(snapshot.clone(), gone, now_ms).await;
        (programs, kept)
    }
}
