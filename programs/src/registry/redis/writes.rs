//! Puts, removals and imports, all by one script.

use super::{
    fault::{damaged, unavailable},
    keys::Keys,
    link::Link,
    row,
    script::{self, APPLY},
};
use crate::{
    id::ProgramId,
    program::Program,
    registry::{Epoch, ImportReport, Put, Refused, RegistryError, State},
};

/// Programs of one script of an import: a few ms of Redis' time.
const CHUNK_PROGRAMS_MAX: usize = 256;
/// Bytes of JSON of one script of an import; a single larger program is a script of its own.
const CHUNK_BYTES_MAX: usize = 1024 * 1024;
/// The changes of one script are published one by one up to this many bytes, else as a count.
const PUBLISHED_BYTES_MAX: usize = 16 * 1024;
/// And up to this many changes.
const PUBLISHED_CHANGES_MAX: usize = 16;

/// A requested change.
#[derive(Debug)]
pub(super) struct Edit {
    id: ProgramId,
    revision: u64,
    /// `None` removes.
    program: Option<(Program, Vec<u8>)>,
}

impl Edit {
    pub(super) fn put(program: Program) -> Result<Self, RegistryError> {
        let id = program.id.clone();
        let Some(revision) = program.revision else { return Err(RegistryError::NoRevision { id }) };
        let json = row::write_json(&program);
        Ok(Self { id, revision, program: Some((program, json)) })
    }

    pub(super) fn remove(id: ProgramId, revision: u64) -> Self {
        Self { id, revision, program: None }
    }

    fn json(&self) -> &[u8] {
        self.program.as_ref().map_or(&[], |(_, json)| json)
    }
}

pub(super) async fn one(link: &Link, keys: &Keys, edit: Edit) -> Result<Put, RegistryError> {
    let (_, puts) = apply(link, keys, &[edit], None, false).await?;
    puts.first().copied().ok_or_else(|| damaged("a script left out its answer"))
}

/// Chunk after chunk, each atomic; with `makes_ready`, the last one sets the ready mark.
pub(super) async fn all(
    link: &Link,
    keys: &Keys,
    programs: Vec<Program>,
    makes_ready: bool,
) -> Result<ImportReport, RegistryError> {
    let edits = programs.into_iter().map(Edit::put).collect::<Result<Vec<_>, _>>()?;
    let mut report = ImportReport { stored: 0, unchanged: 0, refused: Vec::new(), version: 0 };
    let mut epoch = None;
    let mut rest = edits.as_slice();
    loop {
        let (chunk, behind) = rest.split_at(chunk_len(rest));
        rest = behind;
        let (state, puts) = apply(link, keys, chunk, epoch, makes_ready && rest.is_empty()).await?;
        epoch = Some(state.epoch);
        report.version = state.version;
        for (edit, put) in chunk.iter().zip(puts) {
            match put {
                Put::Stored { .. } => report.stored += 1,
                Put::Unchanged { .. } => report.unchanged += 1,
                reason @ (Put::OlderRevision { .. } | Put::SameRevision { .. }) => {
                    report.refused.push(Refused { id: edit.id.clone(), reason });
                }
            }
        }
        if rest.is_empty() {
            return Ok(report);
        }
    }
}

/// How many edits go into the next script; 0 only if there are none.
fn chunk_len(edits: &[Edit]) -> usize {
    let mut bytes = 0;
    let fitting = edits.iter().take(CHUNK_PROGRAMS_MAX).take_while(|edit| {
        bytes += edit.json().len();
        bytes <= CHUNK_BYTES_MAX
    });
    fitting.count().max(1).min(edits.len())
}

/// Applies the edits in one script. `epoch` is required, if given: chunks must not be split over two
/// stores.
async fn apply(
    link: &Link,
    keys: &Keys,
    edits: &[Edit],
    epoch: Option<Epoch>,
    makes_ready: bool,
) -> Result<(State, Vec<Put>), RegistryError> {
    let mut arguments = vec![
        Epoch::random().to_string().into_bytes(),
        epoch.map(|epoch| epoch.to_string().into_bytes()).unwrap_or_default(),
        u8::from(makes_ready).to_string().into_bytes(),
        keys.publish.as_bytes().to_vec(),
        keys.channel.as_bytes().to_vec(),
        PUBLISHED_BYTES_MAX.to_string().into_bytes(),
        PUBLISHED_CHANGES_MAX.to_string().into_bytes(),
    ];
    for edit in edits {
        arguments.push(edit.id.as_str().as_bytes().to_vec());
        arguments.push(row::write_revision(edit.revision));
        arguments.push(edit.json().to_vec());
    }
    let mut answer = APPLY.run(link, keys, &arguments).await?;
    let puts = script::array(answer.rest.next().unwrap_or(redis::Value::Nil))?;
    if puts.len() != edits.len() {
        return Err(unavailable("a script left out an answer"));
    }
    let puts = puts.into_iter().zip(edits).map(|(answer, edit)| read_put(answer, edit));
    Ok((answer.state, puts.collect::<Result<_, _>>()?))
}

fn read_put(answer: redis::Value, edit: &Edit) -> Result<Put, RegistryError> {
    let mut values = script::array(answer)?.into_iter();
    match script::text(values.next())?.as_str() {
        "stored" => Ok(Put::Stored { version: script::number(values.next())? }),
        "unchanged" => Ok(Put::Unchanged { version: script::number(values.next())? }),
        "older" => Ok(Put::OlderRevision { stored: script::number(values.next())?, given: edit.revision }),
        "differs" => {
            let version = script::number(values.next())?;
            let stored = script::bytes(values.next())?;
            // Another release may write the same program as other JSON.
            let same = match &edit.program {
                Some((given, _)) => row::read_json(&edit.id, &stored).is_ok_and(|stored| *stored == *given),
                None => false,
            };
            Ok(if same { Put::Unchanged { version } } else { Put::SameRevision { revision: edit.revision } })
        }
        other => Err(damaged(format!("a script answered {other:?}"))),
    }
}
