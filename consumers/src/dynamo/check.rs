//! What is looked at before anything is written: whether the table is there, has our keys and removes
//! what has expired, and whether we may do what a worker does.
//!
//! No answer is no verdict: the table may come later, and the source keeps what it is to get. The
//! rights are found out by calls that change nothing: writes on a condition that does not hold, and
//! the removal of an item that is not there.

use aws_sdk_dynamodb::types::{
    DeleteRequest, KeyType, KeysAndAttributes, ReturnConsumedCapacity, ScalarAttributeType, TableDescription,
    TableStatus, TimeToLiveStatus, WriteRequest,
};

use super::DynamoTable;
use super::client::{Condition, Db};
use super::fault::Fault;
use super::item::{EXPIRES_AT, PK, SK, keyed, text};
use super::keys::Key;
use super::scan::{Range, Selection};
use crate::table::TableError;

/// What the check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checked {
    /// It takes what is written.
    Fit,
    /// Nothing was heard of the table; the reason.
    NoAnswer(String),
    /// It would take nothing, or not rightly: all that is wrong, each with the way out.
    Unfit(Vec<String>),
}

impl DynamoTable {
    /// Looks at the table.
    pub async fn check(&self) -> Checked {
        let table = match self.db.describe().await {
            Ok(table) => table,
            Err(fault) => return checked(vec![fault]),
        };
        let mut wrong = shape(&self.db.table, &table);
        if let Err(reason) = status(&self.db.table, table.table_status()) {
            wrong.insert(0, reason);
            return Checked::Unfit(wrong);
        }
        let mut faults = Vec::new();
        match self.db.ttl().await {
            Ok(found) => wrong.extend(ttl(&self.db.table, &found)),
            Err(fault) => faults.push(fault),
        }
        if wrong.is_empty() {
            faults.extend(self.db.may_all().await);
        }
        match checked(faults) {
            Checked::Unfit(more) => Checked::Unfit(wrong.into_iter().chain(more).collect()),
            _ if !wrong.is_empty() => Checked::Unfit(wrong),
            checked => checked,
        }
    }
}

fn checked(faults: Vec<Fault>) -> Checked {
    let (passing, lasting): (Vec<_>, Vec<_>) = faults.into_iter().partition(Fault::may_pass);
    let say = |fault: Fault| supervise::causes(&TableError::from(fault));
    match (passing.into_iter().next(), lasting.is_empty()) {
        (_, false) => Checked::Unfit(lasting.into_iter().map(say).collect()),
        (Some(fault), true) => Checked::NoAnswer(say(fault)),
        (None, true) => Checked::Fit,
    }
}

/// Whether the table takes anything at the moment.
fn status(name: &str, status: Option<&TableStatus>) -> Result<(), String> {
    let way_out = match status {
        Some(TableStatus::Creating) => "start again in a minute, when it is ACTIVE",
        Some(TableStatus::Deleting) => "create it again once it is gone, or name another in table.name",
        Some(TableStatus::InaccessibleEncryptionCredentials) => "allow the use of its KMS key again",
        Some(TableStatus::Archiving | TableStatus::Archived) => {
            "its KMS key was away for a week: restore it from its backup, or name another in table.name"
        }
        _ => return Ok(()),
    };
    let status = status.map_or("", TableStatus::as_str);
    Err(format!("the DynamoDB table {name:?} is {status}; {way_out}"))
}

/// What is wrong with its keys.
fn shape(name: &str, table: &TableDescription) -> Vec<String> {
    let of_key =
        |attribute: &str| table.attribute_definitions().iter().find(|it| it.attribute_name() == attribute);
    let is_text =
        |attribute| of_key(attribute).is_some_and(|it| *it.attribute_type() == ScalarAttributeType::S);
    let mut keys: Vec<_> =
        table.key_schema().iter().map(|key| (key.key_type(), key.attribute_name())).collect();
    keys.sort_by_key(|(kind, _)| **kind != KeyType::Hash);
    if keys == [(&KeyType::Hash, PK), (&KeyType::Range, SK)] && is_text(PK) && is_text(SK) {
        return Vec::new();
    }
    let found: Vec<String> = keys.iter().map(|(kind, name)| format!("{name} ({kind})")).collect();
    vec![format!(
        "the DynamoDB table {name:?} has the key {}, and must have {PK} (HASH) and {SK} (RANGE), both of type S. \
         A table's key cannot be changed: create another with `clickgate table create`, and name it in table.name",
        found.join(" and ")
    )]
}

/// Whether it removes what has expired.
pub(super) type Ttl = (Option<TimeToLiveStatus>, Option<String>);

fn ttl(name: &str, (status, attribute): &Ttl) -> Option<String> {
    let is_on = matches!(status, Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling));
    match attribute {
        Some(attribute) if is_on && attribute == EXPIRES_AT => None,
        Some(attribute) if is_on => Some(format!(
            "the DynamoDB table {name:?} removes what has expired by {attribute:?}, and must by {EXPIRES_AT:?}. \
             Turn that off (`aws dynamodb update-time-to-live`), and then run `clickgate table create`"
        )),
        _ => Some(format!(
            "the DynamoDB table {name:?} removes nothing that has expired. Turn that on with `clickgate table \
             create`, which leaves what is in it alone"
        )),
    }
}

impl Db {
    pub async fn describe(&self) -> Result<TableDescription, Fault> {
        let answer = self
            .call("dynamodb:DescribeTable", |client| client.describe_table().table_name(&*self.table).send());
        let described = answer.await?.table;
        described.ok_or_else(|| Fault::Unavailable("the answer says nothing of the table".to_owned()))
    }

    pub async fn ttl(&self) -> Result<Ttl, Fault> {
        let answer = self.call("dynamodb:DescribeTimeToLive", |client| {
            client.describe_time_to_live().table_name(&*self.table).send()
        });
        let ttl = answer.await?.time_to_live_description;
        Ok(ttl.map(|ttl| (ttl.time_to_live_status, ttl.attribute_name)).unwrap_or_default())
    }

    /// Tries each action that a worker needs, without changing anything; what failed.
    async fn may_all(&self) -> Vec<Fault> {
        let key = Key { pk: "check".to_owned(), sk: "check".to_owned() };
        let never = Condition { expression: "attribute_exists(#pk)", names: &[("#pk", PK)], values: vec![] };
        let range = Range::all(key.pk.clone());
        let tried = [
            self.get(&key).await.map(drop),
            self.page(&range, None, &Selection::Whole).await.map(drop),
            self.may_batch_get(&key).await,
            self.may_batch_write(&key).await,
            self.put(&keyed(&key), Some(&never)).await,
            self.delete(&key, Some(&never)).await,
        ];
        let failed = tried.into_iter().filter_map(Result::err);
        failed.filter(|fault| !matches!(fault, Fault::Condition(_))).collect()
    }

    async fn may_batch_get(&self, key: &Key) -> Result<(), Fault> {
        let answer = self.call("dynamodb:BatchGetItem", |client| {
            let keys = KeysAndAttributes::builder().keys(keyed(key)).build().expect("the keys are set");
            client.batch_get_item().request_items(&*self.table, keys).send()
        });
        answer.await.map(drop)
    }

    async fn may_batch_write(&self, key: &Key) -> Result<(), Fault> {
        let answer = self.call("dynamodb:BatchWriteItem", |client| {
            let delete = DeleteRequest::builder().key(PK, text(&key.pk)).key(SK, text(&key.sk));
            let delete = delete.build().expect("the key is set");
            let delete = WriteRequest::builder().delete_request(delete).build();
            let write = client.batch_write_item().request_items(&*self.table, vec![delete]);
            write.return_consumed_capacity(ReturnConsumedCapacity::Total).send()
        });
        answer.await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::types::{AttributeDefinition, KeySchemaElement};

    use super::*;

    fn table(keys: &[(&str, KeyType, ScalarAttributeType)]) -> TableDescription {
        let table = keys.iter().fold(TableDescription::builder(), |table, (name, key, kind)| {
            let schema =
                KeySchemaElement::builder().attribute_name(*name).key_type(key.clone()).build().unwrap();
            let defined = AttributeDefinition::builder().attribute_name(*name).attribute_type(kind.clone());
            table.key_schema(schema).attribute_definitions(defined.build().unwrap())
        });
        table.build()
    }

    #[test]
    fn other_keys_are_named_with_the_way_out() {
        let text = ScalarAttributeType::S;
        let ours = [(SK, KeyType::Range, text.clone()), (PK, KeyType::Hash, text.clone())];
        assert_eq!(shape("t", &table(&ours)), [""; 0], "in whatever order they are said");
        let wrong = [
            vec![("id", KeyType::Hash, text.clone())],
            vec![(PK, KeyType::Hash, text.clone()), (SK, KeyType::Range, ScalarAttributeType::N)],
            vec![(SK, KeyType::Hash, text.clone()), (PK, KeyType::Range, text)],
        ];
        for keys in wrong {
            let said = shape("t", &table(&keys)).join("");
            assert!(said.contains("must have pk (HASH) and sk (RANGE)"), "{said}");
            assert!(said.contains("clickgate table create"), "{said}");
        }
    }

    #[test]
    fn a_table_that_keeps_everything_for_ever_is_no_table_of_ours() {
        let found = |status, attribute: &str| ttl("t", &(Some(status), Some(attribute.to_owned())));
        assert_eq!(found(TimeToLiveStatus::Enabled, EXPIRES_AT), None);
        assert_eq!(found(TimeToLiveStatus::Enabling, EXPIRES_AT), None);
        assert!(
            found(TimeToLiveStatus::Enabled, "ttl")
                .unwrap()
                .contains("by \"ttl\", and must by \"expires_at\"")
        );
        assert!(found(TimeToLiveStatus::Disabled, EXPIRES_AT).unwrap().contains("removes nothing"));
        assert!(ttl("t", &(None, None)).unwrap().contains("clickgate table create"));
    }
}
