//! What a shipper works with, whoever runs it: the stream, and the place of its dead letters.

use std::sync::Arc;

use consumers::{Table, WhenFull};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use proto::DeadLetter;
use stream::{Destination, Kept, LetterError};

use crate::owner::{Owner, OwnerError};

/// The stream that the configuration names.
///
/// # Errors
/// It names none.
pub async fn destination(owner: &Owner) -> Result<Destination, OwnerError> {
    let settings = &owner.settings;
    Destination::open(&settings.shipper.config, &settings.aws).await.ok_or(OwnerError::NoStream)
}

/// Where the dead letters of a shipper go: to the local table, which discards none of them.
pub fn letters(
    owner: &Arc<Owner>,
) -> impl Fn(DeadLetter) -> BoxFuture<'static, Result<Kept, LetterError>> + Send + Unpin + 'static {
    let owner = Arc::clone(owner);
    move |letter| keep(Arc::clone(&owner), letter).boxed()
}

async fn keep(owner: Arc<Owner>, letter: DeadLetter) -> Result<Kept, LetterError> {
    let limits = owner.settings.shipper.dead_letters;
    let reason = letter.reason.clone();
    let given = owner.table().await?.give_dead_letters(vec![letter], limits, WhenFull::Refuse).await?;
    if given.refused == 0 {
        return Ok(Kept::Kept);
    }
    Ok(Kept::Full(format!(
        "{reason}. It cannot be put aside: shipper.dead_letters_max ({}) or shipper.dead_letters_bytes_max ({}) \
         is reached; look at the letters with `clickgate dead-letters list`, then replay or drop some",
        limits.letters_max, limits.bytes_max
    )))
}
