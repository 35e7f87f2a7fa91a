//! A table of DynamoDB for one test, in the ministack of all.

use std::time::Duration;

use consumers::{Checked, Config, DynamoConfig, DynamoTable};
use tokio::sync::OnceCell;

use crate::ministack::{Ministack, client};

/// A table with a name of its own; it is created when it is opened first.
pub struct Region {
    pub config: Config,
    pub dynamo: DynamoConfig,
    created: OnceCell<()>,
}

impl Region {
    pub fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        change(&mut config);
        let name = format!("table-{:016x}", fastrand::u64(..));
        Self { config, dynamo: DynamoConfig { name, ..DynamoConfig::default() }, created: OnceCell::new() }
    }

    /// As a process that begins has it.
    pub async fn open(&self) -> DynamoTable {
        let port = Ministack::shared().expect("it was looked for before").port();
        let table = DynamoTable::new(client(port, Duration::from_secs(20)), &self.config, &self.dynamo);
        let create = async || assert_eq!(table.create(|_| ()).await.unwrap(), Checked::Fit);
        self.created.get_or_init(create).await;
        table
    }
}
