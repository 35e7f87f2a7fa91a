//! Calls to DynamoDB: bounded in number, tried again where that may help, and counted.
//!
//! The SDK makes one attempt a call; what goes again, and when, is decided here alone.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::types::{
    AttributeValue, ConsumedCapacity, ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure,
};
use futures_util::FutureExt;
use supervise::Backoff;
use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::config::DynamoConfig;
use super::fault::Fault;
use super::item::{Item, PK, SK, text};
use super::keys::Key;

/// A table of DynamoDB and how it is called. A clone is the same.
#[derive(Clone, Debug)]
pub(super) struct Db {
    pub client: Client,
    pub table: Arc<str>,
    calls: Arc<Semaphore>,
    pub calls_max: usize,
    attempts_max: u32,
    pause_max: Duration,
    counted: Arc<Counted>,
}

/// Thousandths of units, since both come in fractions.
#[derive(Debug, Default)]
struct Counted {
    written: AtomicU64,
    read: AtomicU64,
    throttled: AtomicU64,
    repeated: AtomicU64,
}

/// What the calls of a process have cost so far, by the table's own answers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Write request units.
    pub write_units: f64,
    /// Read request units.
    pub read_units: f64,
    /// Requests and items for which the table had no capacity.
    pub throttled: u64,
    /// Attempts after the first.
    pub repeated: u64,
}

/// A condition of a write: its expression, and what stands in it.
pub(super) struct Condition<'a> {
    pub expression: &'a str,
    /// `#name` and the attribute.
    pub names: &'a [(&'a str, &'a str)],
    /// `:name` and the value.
    pub values: Vec<(&'a str, AttributeValue)>,
}

impl Db {
    pub fn new(client: Client, config: &DynamoConfig) -> Self {
        let calls_max = config.requests_max.max(1);
        Self {
            client,
            table: config.name.as_str().into(),
            calls: Arc::new(Semaphore::new(calls_max)),
            calls_max,
            attempts_max: config.attempts_max.max(1),
            pause_max: config.retry_pause_max,
            counted: Arc::default(),
        }
    }

    pub fn cost(&self) -> Cost {
        let units = |thousandths: &AtomicU64| thousandths.load(Relaxed) as f64 / 1_000.0;
        Cost {
            write_units: units(&self.counted.written),
            read_units: units(&self.counted.read),
            throttled: self.counted.throttled.load(Relaxed),
            repeated: self.counted.repeated.load(Relaxed),
        }
    }

    pub fn count_throttled(&self, items: usize) {
        self.counted.throttled.fetch_add(items as u64, Relaxed);
    }

    pub fn count_written(&self, capacity: Option<&ConsumedCapacity>) {
        count(&self.counted.written, capacity);
    }

    pub fn count_read(&self, capacity: Option<&ConsumedCapacity>) {
        count(&self.counted.read, capacity);
    }

    /// The pauses between the attempts at one thing, and how many attempts there are.
    pub fn attempts(&self) -> Attempts {
        Attempts { left: self.attempts_max - 1, backoff: Backoff::new(self.pause_max) }
    }

    /// Calls until there is an answer, or the attempts are used up.
    pub async fn call<T, E, F>(
        &self,
        action: &'static str,
        request: impl Fn(&Client) -> F,
    ) -> Result<T, Fault>
    where
        F: Future<Output = Result<T, SdkError<E>>> + Send,
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
        aws_sdk_dynamodb::Error: From<SdkError<E>>,
    {
        let mut attempts = self.attempts();
        loop {
            let place = self.calls.acquire().await.expect("this semaphore is never closed");
            // Erased here: the SDK's futures are deep, and every caller's type would hold them.
            let answer = request(&self.client).boxed().await;
            drop(place);
            let fault = match answer {
                Ok(answer) => return Ok(answer),
                Err(error) => Fault::of(error, action, &self.table),
            };
            if matches!(fault, Fault::Throttled) {
                self.count_throttled(1);
            }
            if !fault.may_pass() || !attempts.another(self).await {
                return Err(fault);
            }
        }
    }

    /// The item, as it is after every write that was answered.
    pub async fn get(&self, key: &Key) -> Result<Option<Item>, Fault> {
        let answer = self.call("dynamodb:GetItem", |client| {
            let get = client.get_item().table_name(&*self.table).consistent_read(true);
            get.key(PK, text(&key.pk))
                .key(SK, text(&key.sk))
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .send()
        });
        let answer = answer.await?;
        self.count_read(answer.consumed_capacity());
        Ok(answer.item)
    }

    /// Writes the item if the condition holds; else [`Fault::Condition`] with what is there.
    pub async fn put(&self, item: &Item, condition: Option<&Condition<'_>>) -> Result<(), Fault> {
        let answer = self.call("dynamodb:PutItem", |client| {
            let mut put = client.put_item().table_name(&*self.table).set_item(Some(item.clone()));
            if let Some(condition) = condition {
                put = put.condition_expression(condition.expression);
                put =
                    put.return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
                for (name, attribute) in condition.names {
                    put = put.expression_attribute_names(*name, *attribute);
                }
                for (name, value) in &condition.values {
                    put = put.expression_attribute_values(*name, value.clone());
                }
            }
            put.return_consumed_capacity(ReturnConsumedCapacity::Total).send()
        });
        let answer = answer.await?;
        self.count_written(answer.consumed_capacity());
        Ok(())
    }

    /// Removes the item if the condition holds; else [`Fault::Condition`]. One that is not there may
    /// be removed without a condition.
    pub async fn delete(&self, key: &Key, condition: Option<&Condition<'_>>) -> Result<(), Fault> {
        let answer = self.call("dynamodb:DeleteItem", |client| {
            let delete = client.delete_item().table_name(&*self.table);
            let mut delete = delete.key(PK, text(&key.pk)).key(SK, text(&key.sk));
            if let Some(condition) = condition {
                delete = delete.condition_expression(condition.expression);
                for (name, attribute) in condition.names {
                    delete = delete.expression_attribute_names(*name, *attribute);
                }
                for (name, value) in &condition.values {
                    delete = delete.expression_attribute_values(*name, value.clone());
                }
            }
            delete.return_consumed_capacity(ReturnConsumedCapacity::Total).send()
        });
        let answer = answer.await?;
        self.count_written(answer.consumed_capacity());
        Ok(())
    }
}

fn count(counter: &AtomicU64, capacity: Option<&ConsumedCapacity>) {
    let units = capacity.and_then(ConsumedCapacity::capacity_units).unwrap_or_default();
    counter.fetch_add((units * 1_000.0).round() as u64, Relaxed);
}

/// The attempts at one thing.
pub(super) struct Attempts {
    left: u32,
    backoff: Backoff,
}

impl Attempts {
    /// Pauses before another attempt; false if there is none left.
    pub async fn another(&mut self, db: &Db) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        db.counted.repeated.fetch_add(1, Relaxed);
        sleep(self.backoff.pause()).await;
        true
    }
}
