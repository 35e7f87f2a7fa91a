//! The Lua scripts: how they are sent, and how their answers are read.
//!
//! A script that only reads is called with the `_RO` commands of Redis 7.0, which a user without
//! write access may use. A script is called by its hash; if Redis has lost it in a restart, the
//! call sends the text, once.

use std::sync::LazyLock;

use redis::{Cmd, Value};

use super::{
    counts::count,
    fault::{damaged, denied, unavailable},
    keys::Keys,
    link::Link,
};
use crate::registry::{Epoch, RegistryError, State};

/// The layout of the keys that this release reads and writes.
const FORMAT: u128 = 1;

const READS: [&str; 2] = ["EVALSHA_RO", "EVAL_RO"];
const WRITES: [&str; 2] = ["EVALSHA", "EVAL"];

/// One script.
pub(super) struct Script {
    by_hash: &'static str,
    by_text: &'static str,
    text: &'static str,
    hash: String,
}

macro_rules! script {
    ($name:ident, $file:literal, $commands:expr, $doc:literal) => {
        #[doc = $doc]
        pub(super) static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new($commands, concat!(include_str!("prelude.lua"), include_str!($file)))
        });
    };
}
script!(GET, "get.lua", READS, "The state, and the row of one program.");
script!(CHANGES, "changes.lua", READS, "The state, and rows in the order of their last changes.");
script!(
    APPLY,
    "apply.lua",
    WRITES,
    "Writes programs, counts, logs and publishes: the only way a registry changes."
);

/// The answer of a script.
pub(super) struct Answer {
    /// The state after it ran.
    pub(super) state: State,
    /// The part that depends on the script.
    pub(super) rest: std::vec::IntoIter<Value>,
}

impl Script {
    fn new([by_hash, by_text]: [&'static str; 2], text: &'static str) -> Self {
        Self { by_hash, by_text, text, hash: redis::Script::new(text).get_hash().to_owned() }
    }

    pub(super) async fn run(
        &self,
        link: &Link,
        keys: &Keys,
        arguments: &[Vec<u8>],
    ) -> Result<Answer, RegistryError> {
        let by_hash = self.command(self.by_hash, &self.hash, keys, arguments);
        let answer = match link.call::<Value>(&by_hash).await {
            Err(fault) if fault.is_unknown_script() => {
                count(&link.counters().scripts_sent);
                link.call(&self.command(self.by_text, self.text, keys, arguments)).await?
            }
            answer => answer?,
        };
        read(answer)
    }

    fn command(&self, name: &str, script: &str, keys: &Keys, arguments: &[Vec<u8>]) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(script).arg(3).arg(&keys.meta).arg(&keys.programs).arg(&keys.versions);
        for argument in arguments {
            command.arg(argument.as_slice());
        }
        command
    }
}

fn read(answer: Value) -> Result<Answer, RegistryError> {
    let mut values = array(answer)?.into_iter();
    match text(values.next())?.as_str() {
        "ok" => {}
        "format" => {
            let found = text(values.next())?;
            let found = found.parse().map_err(|_| damaged(format!("it has no format version {found:?}")))?;
            return Err(match found {
                found if found > FORMAT => RegistryError::Newer { found, known: FORMAT },
                found => damaged(format!("it has no format version {found}")),
            });
        }
        "damaged" => return Err(damaged(text(values.next())?)),
        "denied" => return Err(denied(format!("its user may not {}", text(values.next())?))),
        "replaced" => return Err(unavailable("redis was emptied or replaced meanwhile")),
        other => return Err(damaged(format!("a script answered {other:?}"))),
    }
    let epoch = match text(values.next())?.as_str() {
        "" => Epoch::from_u128(0),
        epoch => Epoch::parse(epoch).ok_or_else(|| damaged(format!("its epoch is {epoch:?}")))?,
    };
    let version = number(values.next())?;
    let ready = text(values.next())? == "1";
    Ok(Answer { state: State { epoch, version, ready }, rest: values })
}

pub(super) fn array(value: Value) -> Result<Vec<Value>, RegistryError> {
    match value {
        Value::Array(values) => Ok(values),
        other => Err(damaged(format!("a script answered {other:?} instead of a list"))),
    }
}

pub(super) fn bytes(value: Option<Value>) -> Result<Vec<u8>, RegistryError> {
    match value {
        Some(Value::BulkString(bytes)) => Ok(bytes),
        other => Err(damaged(format!("a script answered {other:?} instead of a text"))),
    }
}

pub(super) fn text(value: Option<Value>) -> Result<String, RegistryError> {
    String::from_utf8(bytes(value)?).map_err(|error| damaged(error.to_string()))
}

pub(super) fn number(value: Option<Value>) -> Result<u64, RegistryError> {
    let text = text(value)?;
    text.parse().map_err(|_| damaged(format!("it has {text:?} where a number should be")))
}
