//! The admin address as a part of the process.

use actix_rt::task::JoinHandle;
use actix_web::dev::{Server, ServerHandle};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;

use crate::part::{DrainLimits, Part, Stage, reason};

/// The server of the admin address.
pub struct AdminPart {
    handle: ServerHandle,
    task: JoinHandle<std::io::Result<()>>,
}

impl AdminPart {
    /// Serves from now on; to be called inside an actix system.
    pub fn start(server: Server) -> Self {
        Self { handle: server.handle(), task: actix_rt::spawn(server) }
    }
}

impl Part for AdminPart {
    fn name(&self) -> &'static str {
        "the admin address"
    }

    fn stage(&self) -> Stage {
        Stage::Operators
    }

    fn ended(&mut self) -> LocalBoxFuture<'_, String> {
        (&mut self.task).map(reason).boxed_local()
    }

    fn drain(self: Box<Self>, _: DrainLimits) -> LocalBoxFuture<'static, Result<(), String>> {
        async move {
            self.handle.stop(true).await;
            Ok(())
        }
        .boxed_local()
    }
}
