//! A table for a first try: on demand, with our keys, and with what has expired removed.

use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TableStatus,
    TimeToLiveSpecification, TimeToLiveStatus,
};
use tokio::time::sleep;

use super::DynamoTable;
use super::check::Checked;
use super::client::Db;
use super::fault::Fault;
use super::item::{EXPIRES_AT, PK, SK};
use crate::table::TableError;

/// How long a table may take to become ACTIVE; DynamoDB takes seconds.
const ACTIVE_WITHIN: Duration = Duration::from_secs(300);
const LOOK_EVERY: Duration = Duration::from_millis(500);

impl DynamoTable {
    /// Creates the table unless it is there, waits until it is ACTIVE, and turns on the removal of what
    /// has expired; then looks at it as [`check`](Self::check) does. Says through `progress` what is
    /// done. What is in a table that is there stays.
    ///
    /// # Errors
    /// See [`TableError`]; it may be called again.
    pub async fn create(&self, mut progress: impl FnMut(&str)) -> Result<Checked, TableError> {
        let name = &self.db.table;
        match self.db.create_table().await? {
            true => progress(&format!("creating the table {name:?}")),
            false => progress(&format!("the table {name:?} is there already")),
        }
        let began = Instant::now();
        loop {
            match self.db.describe().await {
                Ok(table) if table.table_status() == Some(&TableStatus::Creating) => {}
                Ok(_) => break,
                // A table that was just created is not known everywhere at once.
                Err(Fault::Refused(_)) if began.elapsed() < ACTIVE_WITHIN => {}
                Err(fault) => return Err(fault.into()),
            }
            if began.elapsed() > ACTIVE_WITHIN {
                let reason = format!("the table {name:?} is not ACTIVE after {} s", ACTIVE_WITHIN.as_secs());
                return Err(TableError::Unavailable(reason.into()));
            }
            sleep(LOOK_EVERY).await;
        }
        let (status, _) = self.db.ttl().await?;
        if !matches!(status, Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling)) {
            progress("turning on the removal of what has expired");
            self.db.enable_ttl().await?;
        }
        progress("looking at the table");
        Ok(self.check().await)
    }
}

impl Db {
    /// False if there is such a table.
    async fn create_table(&self) -> Result<bool, Fault> {
        let key = |name: &str, kind| {
            KeySchemaElement::builder().attribute_name(name).key_type(kind).build().expect("both are set")
        };
        let text = |name: &str| {
            let text = AttributeDefinition::builder().attribute_name(name);
            text.attribute_type(ScalarAttributeType::S).build().expect("both are set")
        };
        let created = self.call("dynamodb:CreateTable", |client| {
            let create =
                client.create_table().table_name(&*self.table).billing_mode(BillingMode::PayPerRequest);
            let create = create.key_schema(key(PK, KeyType::Hash)).key_schema(key(SK, KeyType::Range));
            create.attribute_definitions(text(PK)).attribute_definitions(text(SK)).send()
        });
        match created.await {
            Ok(_) => Ok(true),
            Err(Fault::Exists) => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    async fn enable_ttl(&self) -> Result<(), Fault> {
        let enabled = self.call("dynamodb:UpdateTimeToLive", |client| {
            let ttl = TimeToLiveSpecification::builder().enabled(true).attribute_name(EXPIRES_AT);
            let ttl = ttl.build().expect("both are set");
            client.update_time_to_live().table_name(&*self.table).time_to_live_specification(ttl).send()
        });
        match enabled.await {
            Ok(_) => Ok(()),
            // Somebody else was faster.
            Err(fault)
                if fault.is_invalid()
                    && matches!(
                        self.ttl().await?,
                        (Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling), _)
                    ) =>
            {
                Ok(())
            }
            Err(fault) => Err(fault),
        }
    }
}
