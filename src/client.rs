//! Where a command's operation is done: by the running owner of the data directory, or here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value as Json;
use ureq::http::Request;

use crate::config::Settings;
use crate::data::{Access, Claim, DataDir, DataError, RunFile};
use crate::ops::{Op, OpError};
use crate::owner::Owner;

/// An import of 100,000 programs takes seconds; after this long no answer is expected any more.
const ANSWER_WITHIN: Duration = Duration::from_secs(600);
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// An owner that does not answer may be dying; for this long we look whether it is gone.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Runs operations, here or in the process that owns the directory.
pub struct Client {
    settings: Settings,
    data: DataDir,
    way: Way,
}

enum Way {
    /// Nobody had the directory; we have it until this is dropped. Or it is not needed.
    Here { runtime: tokio::runtime::Runtime, owner: Arc<Owner>, _claim: Option<Claim> },
    /// A process has it.
    There { agent: ureq::Agent, owner: RunFile },
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error(transparent)]
    Data(#[from] DataError),
    /// The operation was refused or failed.
    #[error(transparent)]
    Op(#[from] OpError),
    #[error(
        "`clickgate {role}` (pid {pid}) owns the data directory, but its admin address {admin} does not \
         answer: {reason}"
    )]
    Silent { role: String, pid: u32, admin: std::net::SocketAddr, reason: String },
    #[error("cannot start a runtime: {0}")]
    Runtime(std::io::Error),
}

impl Client {
    /// Finds out who owns the directory.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn open(settings: &Settings, data: &DataDir) -> Result<Self, ClientError> {
        let way = Way::find(settings, data)?;
        Ok(Self { settings: settings.clone(), data: data.clone(), way })
    }

    /// For operations on a registry or a table that every machine reaches: needs no data directory
    /// and asks no other process, so the result is the same everywhere.
    ///
    /// # Errors
    /// [`ClientError::Runtime`].
    pub fn of_what_is_shared(settings: &Settings, data: &DataDir) -> Result<Self, ClientError> {
        let owner = Owner::without_directory(settings.clone(), data.clone());
        let way = Way::Here { runtime: Way::runtime()?, owner: Arc::new(owner), _claim: None };
        Ok(Self { settings: settings.clone(), data: data.clone(), way })
    }

    /// Whether somebody else may store something meanwhile: the owner of the directory, or of a shared
    /// table anybody.
    pub fn may_others_write(&self) -> bool {
        match &self.way {
            Way::There { .. } => true,
            Way::Here { owner, .. } => !owner.has_directory(),
        }
    }

    /// Does `op`. If the owner is gone meanwhile, a question is asked of its successor or
    /// answered here; a change is not repeated, because it may have been done.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn ask(&mut self, op: &Op) -> Result<Json, ClientError> {
        let begin = Instant::now();
        loop {
            match self.way.ask(op) {
                Err(ClientError::Silent { .. }) if op.only_reads() && begin.elapsed() < PATIENCE => {
                    std::thread::sleep(LOOK_EVERY);
                    self.way = Way::find(&self.settings, &self.data)?;
                }
                answered => return answered,
            }
        }
    }
}

impl Way {
    fn find(settings: &Settings, data: &DataDir) -> Result<Self, ClientError> {
        match data.access()? {
            Access::Theirs(owner) => {
                let config = ureq::Agent::config_builder()
                    .http_status_as_error(false)
                    .proxy(None)
                    .timeout_connect(Some(CONNECT_WITHIN))
                    .timeout_recv_response(Some(ANSWER_WITHIN));
                Ok(Self::There { agent: config.build().new_agent(), owner })
            }
            Access::Ours(claim) => {
                let owner = Arc::new(Owner::new(settings.clone(), data.clone()));
                Ok(Self::Here { runtime: Self::runtime()?, owner, _claim: Some(claim) })
            }
        }
    }

    fn runtime() -> Result<tokio::runtime::Runtime, ClientError> {
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ClientError::Runtime)
    }

    fn ask(&self, op: &Op) -> Result<Json, ClientError> {
        match self {
            Self::Here { runtime, owner, .. } => Ok(runtime.block_on(op.clone().run(owner))?),
            Self::There { agent, owner } => {
                let answer = call(agent, owner, op);
                let (status, body) = answer.map_err(|error| ClientError::Silent {
                    role: owner.role.clone(),
                    pid: owner.pid,
                    admin: owner.admin,
                    reason: error.to_string(),
                })?;
                if status == 200 { Ok(body) } else { Err(OpError::of_answer(status, &body).into()) }
            }
        }
    }
}

fn call(agent: &ureq::Agent, owner: &RunFile, op: &Op) -> Result<(u16, Json), ureq::Error> {
    let call = op.to_call();
    let request = Request::builder()
        .method(call.method)
        .uri(format!("http://{}{}", owner.admin, call.target))
        .header("Authorization", format!("Bearer {}", owner.token))
        .header("Content-Type", "application/json")
        .body(call.body.unwrap_or_default())?;
    let mut answer = agent.run(request)?;
    let text = answer.body_mut().with_config().limit(u64::MAX).read_to_string()?;
    let status = answer.status().as_u16();
    // What is no JSON did not come from us; its text says more than a parser could.
    let body = serde_json::from_str(&text).unwrap_or_else(|_| serde_json::json!({ "error": text.trim() }));
    Ok((status, body))
}

#[cfg(test)]
mod tests;
