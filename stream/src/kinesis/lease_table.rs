//! The leases' rows in DynamoDB. Each write is of one item and names the holding that it relies on;
//! DynamoDB decides who was first.
//!
//! | attribute | |
//! |---|---|
//! | `pk` | `lease#`, the stream's name, `#`, the second since 1970 at which it was created: a stream that was made anew has leases of its own |
//! | `sk` | the shard's id |
//! | `owner` | the worker that holds it |
//! | `holding` | the fencing token: random, made anew with each taking |
//! | `renewed` | raised by the holder |
//! | `checkpoint` | everything up to this sequence number is stored; absent before the first |
//! | `ended` | everything in the shard is stored |

use std::collections::HashMap;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use aws_sdk_dynamodb::{Client, operation};

use super::lease::Lease;
use crate::trouble::said;

/// Of a page of leases.
const ROWS_MAX: usize = 10_000;

/// Why a row was not written or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum LeaseError {
    /// Somebody else has the lease, or its row is gone.
    #[error("the lease is another's")]
    Lost,
    /// It may work later, or once somebody changes something.
    #[error("the leases in the DynamoDB table {table:?} cannot be {what}: {reason}")]
    Unavailable { table: String, what: &'static str, reason: String },
}

/// The leases of one stream.
#[derive(Clone, Debug)]
pub(super) struct LeaseTable {
    client: Client,
    table: String,
    pk: String,
}

impl LeaseTable {
    /// Of the stream `name` that was created at `created_s`, in seconds since 1970.
    pub fn new(client: Client, table: &str, name: &str, created_s: i64) -> Self {
        Self { client, table: table.to_owned(), pk: format!("lease#{name}#{created_s}") }
    }

    /// Whether both are of the same stream, and not of one that was made anew.
    pub fn is_same(&self, other: &Self) -> bool {
        (&self.table, &self.pk) == (&other.table, &other.pk)
    }

    /// All rows, as they are now.
    pub async fn list(&self) -> Result<Vec<Lease>, LeaseError> {
        let mut leases = Vec::new();
        let mut next = None;
        loop {
            let asked = self.client.query().table_name(&self.table).consistent_read(true);
            let asked = asked
                .key_condition_expression("#pk = :pk")
                .expression_attribute_names("#pk", "pk")
                .expression_attribute_values(":pk", text_value(&self.pk))
                .set_exclusive_start_key(next)
                .send()
                .await;
            let page = asked.map_err(|error| self.unavailable("read", &error))?;
            leases.extend(page.items().iter().filter_map(lease_of));
            next = page.last_evaluated_key;
            if next.is_none() || leases.len() >= ROWS_MAX {
                return Ok(leases);
            }
        }
    }

    /// Makes a row for a shard, unless it has one.
    pub async fn create(&self, shard: &str) -> Result<(), LeaseError> {
        let put = self.client.put_item().table_name(&self.table).set_item(Some(HashMap::from([
            ("pk".to_owned(), text_value(&self.pk)),
            ("sk".to_owned(), text_value(shard)),
            ("renewed".to_owned(), number_value(0)),
            ("ended".to_owned(), AttributeValue::Bool(false)),
        ])));
        let put =
            put.condition_expression("attribute_not_exists(#pk)").expression_attribute_names("#pk", "pk");
        match put.send().await {
            Ok(_) => Ok(()),
            // Another worker was first.
            Err(error) if is_condition(&error) => Ok(()),
            Err(error) => Err(self.unavailable("written", &error)),
        }
    }

    /// Takes a lease that is as it was seen, and returns it as it is then.
    pub async fn take(&self, seen: &Lease, owner: &str, holding: &str) -> Result<Lease, LeaseError> {
        let taken = self
            .update(&seen.shard)
            .update_expression("SET #owner = :owner, #holding = :new, #renewed = :zero")
            .expression_attribute_names("#owner", "owner")
            .expression_attribute_names("#holding", "holding")
            .expression_attribute_names("#renewed", "renewed")
            .expression_attribute_values(":owner", text_value(owner))
            .expression_attribute_values(":new", text_value(holding))
            .expression_attribute_values(":zero", number_value(0))
            .return_values(ReturnValue::AllNew);
        let taken = match &seen.holding {
            Some(seen_holding) => taken
                .condition_expression("#holding = :seen AND #renewed = :count")
                .expression_attribute_values(":seen", text_value(seen_holding))
                .expression_attribute_values(":count", number_value(seen.renewed)),
            None => taken
                .condition_expression("attribute_exists(#pk) AND attribute_not_exists(#holding)")
                .expression_attribute_names("#pk", "pk"),
        };
        let answer = taken.send().await.map_err(|error| self.lost_or_unavailable(&error))?;
        answer.attributes().and_then(lease_of).ok_or(LeaseError::Lost)
    }

    /// Shows that the holder lives.
    pub async fn renew(&self, shard: &str, holding: &str) -> Result<(), LeaseError> {
        let renewed = self.held(shard, holding).update_expression("ADD #renewed :one");
        let renewed = renewed
            .expression_attribute_names("#renewed", "renewed")
            .expression_attribute_values(":one", number_value(1));
        renewed.send().await.map(drop).map_err(|error| self.lost_or_unavailable(&error))
    }

    /// Says that everything up to `sequence` is stored, and whether that is all of the shard.
    pub async fn checkpoint(
        &self,
        shard: &str,
        holding: &str,
        sequence: &str,
        ended: bool,
    ) -> Result<(), LeaseError> {
        let mut set = vec!["#ended = :ended"];
        let mut moved = self.held(shard, holding).expression_attribute_values(":one", number_value(1));
        // A shard that ended without a record has none to name.
        if !sequence.is_empty() {
            set.push("#checkpoint = :sequence");
            moved = moved
                .expression_attribute_names("#checkpoint", "checkpoint")
                .expression_attribute_values(":sequence", text_value(sequence));
        }
        let moved = moved
            .update_expression(format!("SET {} ADD #renewed :one", set.join(", ")))
            .expression_attribute_names("#renewed", "renewed")
            .expression_attribute_names("#ended", "ended")
            .expression_attribute_values(":ended", AttributeValue::Bool(ended));
        moved.send().await.map(drop).map_err(|error| self.lost_or_unavailable(&error))
    }

    /// Lets go of a lease, so that another worker need not wait.
    pub async fn release(&self, shard: &str, holding: &str) -> Result<(), LeaseError> {
        let released = self.held(shard, holding).update_expression("REMOVE #owner, #holding");
        let released = released.expression_attribute_names("#owner", "owner");
        released.send().await.map(drop).map_err(|error| self.lost_or_unavailable(&error))
    }

    /// Removes the row of a shard that is gone, if nobody has taken it since.
    pub async fn remove(&self, seen: &Lease) -> Result<(), LeaseError> {
        let removed = self
            .client
            .delete_item()
            .table_name(&self.table)
            .key("pk", text_value(&self.pk))
            .key("sk", text_value(&seen.shard))
            .condition_expression("attribute_not_exists(#pk) OR #renewed = :count")
            .expression_attribute_names("#pk", "pk")
            .expression_attribute_names("#renewed", "renewed")
            .expression_attribute_values(":count", number_value(seen.renewed));
        removed.send().await.map(drop).map_err(|error| self.lost_or_unavailable(&error))
    }

    fn update(&self, shard: &str) -> operation::update_item::builders::UpdateItemFluentBuilder {
        let update = self.client.update_item().table_name(&self.table);
        update.key("pk", text_value(&self.pk)).key("sk", text_value(shard))
    }

    /// An update that only the holder can do.
    fn held(&self, shard: &str, holding: &str) -> operation::update_item::builders::UpdateItemFluentBuilder {
        self.update(shard)
            .condition_expression("#holding = :holding")
            .expression_attribute_names("#holding", "holding")
            .expression_attribute_values(":holding", text_value(holding))
    }

    fn lost_or_unavailable<E>(&self, error: &SdkError<E>) -> LeaseError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        if is_condition(error) { LeaseError::Lost } else { self.unavailable("written", error) }
    }

    fn unavailable<E>(&self, what: &'static str, error: &SdkError<E>) -> LeaseError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        LeaseError::Unavailable { table: self.table.clone(), what, reason: said(error) }
    }
}

fn is_condition<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    error.code() == Some("ConditionalCheckFailedException")
}

fn lease_of(item: &HashMap<String, AttributeValue>) -> Option<Lease> {
    let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok()).cloned();
    let renewed =
        item.get("renewed").and_then(|value| value.as_n().ok()).and_then(|number| number.parse().ok());
    Some(Lease {
        shard: text("sk")?,
        owner: text("owner"),
        holding: text("holding"),
        renewed: renewed.unwrap_or(0),
        checkpoint: text("checkpoint"),
        ended: item.get("ended").and_then(|value| value.as_bool().ok()).copied().unwrap_or(false),
    })
}

fn text_value(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn number_value(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}
