//! Many items in one request: BatchWriteItem and BatchGetItem, with what they leave undone.
//!
//! Either answers 200 with any number of items not processed (API reference, "BatchWriteItem"):
//! those go again after a pause. Requests run at the same time, as many as the table may be asked.

use std::collections::{HashMap, HashSet};

use aws_sdk_dynamodb::types::{
    DeleteRequest, KeysAndAttributes, PutRequest, ReturnConsumedCapacity, WriteRequest,
};
use futures_util::StreamExt;
use futures_util::stream::iter;

use super::client::Db;
use super::fault::Fault;
use super::item::{Item, key_of, keyed};
use super::keys::Key;

/// Items of a BatchWriteItem (API reference).
const WRITES_MAX: usize = 25;
/// Payload bytes of one, so that few requests in flight are little memory; the limit is 16 MB.
const WRITE_BYTES_MAX: usize = 2 << 20;
/// Keys of a BatchGetItem (API reference).
const KEYS_MAX: usize = 100;

/// What became of an item of [`Db::put_all`] that is not stored.
#[derive(Debug)]
pub(super) enum NotPut {
    /// The table had no capacity for it, again and again.
    Throttled,
    /// The table does not take it, and says why.
    Refused(String),
}

/// An item with the bytes of its payload.
pub(super) type Sized = (Item, usize);

impl Db {
    /// Writes items, no two of which may have the same key. Those that are not in the answer are
    /// stored.
    ///
    /// # Errors
    /// What concerns all of them; any may be stored then.
    pub async fn put_all(&self, items: Vec<Sized>) -> Result<HashMap<Key, NotPut>, Fault> {
        let mut requests =
            iter(chunks(items)).map(|chunk| self.put_chunk(chunk)).buffer_unordered(self.calls_max);
        let mut failed = HashMap::new();
        while let Some(chunk) = requests.next().await {
            failed.extend(chunk?);
        }
        Ok(failed)
    }

    async fn put_chunk(&self, items: Vec<Item>) -> Result<HashMap<Key, NotPut>, Fault> {
        match self.write_chunk(items.iter().map(put_request).collect()).await {
            Ok(unprocessed) => Ok(unprocessed.into_iter().map(|key| (key, NotPut::Throttled)).collect()),
            Err(Fault::Throttled) => {
                items.iter().map(|item| Ok((key_of(item)?, NotPut::Throttled))).collect()
            }
            // One of them; the others must not wait for it.
            Err(fault) if fault.is_invalid() => self.put_each(items).await,
            Err(fault) => Err(fault),
        }
    }

    async fn put_each(&self, items: Vec<Item>) -> Result<HashMap<Key, NotPut>, Fault> {
        let mut failed = HashMap::new();
        for item in items {
            match self.put(&item, None).await {
                Ok(()) => {}
                Err(Fault::Throttled) => drop(failed.insert(key_of(&item)?, NotPut::Throttled)),
                Err(Fault::Refused(trouble)) if Fault::Refused(trouble.clone()).is_invalid() => {
                    failed.insert(key_of(&item)?, NotPut::Refused(trouble.to_string()));
                }
                Err(fault) => return Err(fault),
            }
        }
        Ok(failed)
    }

    /// Removes items.
    ///
    /// # Errors
    /// Some may be removed then.
    pub async fn delete_all(&self, keys: &[Key]) -> Result<(), Fault> {
        for keys in keys.chunks(WRITES_MAX) {
            let left = self.write_chunk(keys.iter().map(delete_request).collect()).await?;
            if !left.is_empty() {
                return Err(Fault::Throttled);
            }
        }
        Ok(())
    }

    /// One request and its repetitions; the keys of what is not done in the end.
    async fn write_chunk(&self, mut writes: Vec<WriteRequest>) -> Result<HashSet<Key>, Fault> {
        let mut attempts = self.attempts();
        loop {
            let answer = self.call("dynamodb:BatchWriteItem", |client| {
                let write = client.batch_write_item().request_items(&*self.table, writes.clone());
                write.return_consumed_capacity(ReturnConsumedCapacity::Total).send()
            });
            let answer = answer.await?;
            for capacity in answer.consumed_capacity() {
                self.count_written(Some(capacity));
            }
            let left = answer.unprocessed_items.unwrap_or_default().remove(&*self.table).unwrap_or_default();
            if left.is_empty() {
                return Ok(HashSet::new());
            }
            self.count_throttled(left.len());
            if !attempts.another(self).await {
                return left.iter().map(write_key).collect();
            }
            writes = left;
        }
    }

    /// The items of `keys` that are there, in no order, as they are after every write that was
    /// answered. No key may stand twice.
    ///
    /// # Errors
    /// See [`Fault`].
    pub async fn get_all(&self, keys: Vec<Key>) -> Result<Vec<Item>, Fault> {
        let chunks: Vec<Vec<Key>> = keys.chunks(KEYS_MAX).map(<[Key]>::to_vec).collect();
        let mut requests = iter(chunks).map(|chunk| self.get_chunk(chunk)).buffer_unordered(self.calls_max);
        let mut items = Vec::new();
        while let Some(chunk) = requests.next().await {
            items.extend(chunk?);
        }
        Ok(items)
    }

    async fn get_chunk(&self, keys: Vec<Key>) -> Result<Vec<Item>, Fault> {
        let mut attempts = self.attempts();
        let mut items = Vec::new();
        let mut wanted: Vec<Item> = keys.iter().map(keyed).collect();
        loop {
            let answer = self.call("dynamodb:BatchGetItem", |client| {
                let keys = KeysAndAttributes::builder().set_keys(Some(wanted.clone())).consistent_read(true);
                let keys = keys.build().expect("the keys are set");
                let get = client.batch_get_item().request_items(&*self.table, keys);
                get.return_consumed_capacity(ReturnConsumedCapacity::Total).send()
            });
            let answer = answer.await?;
            for capacity in answer.consumed_capacity() {
                self.count_read(Some(capacity));
            }
            let found = answer.responses.unwrap_or_default().remove(&*self.table).unwrap_or_default();
            let progress = !found.is_empty();
            items.extend(found);
            let left = answer.unprocessed_keys.unwrap_or_default().remove(&*self.table);
            wanted = left.map(|left| left.keys).unwrap_or_default();
            if wanted.is_empty() {
                return Ok(items);
            }
            // An answer that is full leaves the rest, which is no sign of a lack of capacity.
            if !progress {
                self.count_throttled(wanted.len());
                if !attempts.another(self).await {
                    return Err(Fault::Throttled);
                }
            }
        }
    }
}

fn chunks(items: Vec<Sized>) -> Vec<Vec<Item>> {
    let mut chunks: Vec<Vec<Item>> = Vec::new();
    let mut last_bytes = 0;
    for (item, bytes) in items {
        match chunks.last_mut() {
            Some(last) if last.len() < WRITES_MAX && last_bytes + bytes <= WRITE_BYTES_MAX => {
                last.push(item);
                last_bytes += bytes;
            }
            _ => {
                chunks.push(vec![item]);
                last_bytes = bytes;
            }
        }
    }
    chunks
}

fn put_request(item: &Item) -> WriteRequest {
    let put = PutRequest::builder().set_item(Some(item.clone())).build().expect("the item is set");
    WriteRequest::builder().put_request(put).build()
}

fn delete_request(key: &Key) -> WriteRequest {
    let delete = DeleteRequest::builder().set_key(Some(keyed(key))).build().expect("the key is set");
    WriteRequest::builder().delete_request(delete).build()
}

fn write_key(write: &WriteRequest) -> Result<Key, Fault> {
    let item = write.put_request().map(|put| put.item());
    let key = item.or_else(|| write.delete_request().map(|delete| delete.key()));
    key.map_or_else(|| Err(Fault::Damaged("an unprocessed item has no key".to_owned())), key_of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_bounded_by_items_and_by_bytes() {
        let sizes = |sizes: &[usize]| {
            let items = sizes.iter().map(|bytes| (Item::new(), *bytes)).collect();
            chunks(items).iter().map(Vec::len).collect::<Vec<_>>()
        };
        assert_eq!(sizes(&[10; 60]), [25, 25, 10]);
        assert_eq!(sizes(&[1 << 20, 1 << 20, 1, 1]), [2, 2]);
        assert_eq!(sizes(&[]), [0; 0]);
    }
}
