//! The signals of the operating system.
//!
//! SIGTERM or SIGINT once: drain. Twice: end at once, which loses nothing that is written.
//! SIGXFSZ is caught, so that a limit on the size of files is an error of that write (the
//! log poisons the lane and says so) and not the end of the process.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag;
use tokio::sync::watch;

/// The exit code of an end at once: 128 + SIGINT, as shells say it.
const ABORTED: i32 = 130;

/// Knows whether we were asked to stop.
pub struct Signals {
    asked: watch::Receiver<bool>,
}

impl Signals {
    /// Listens from now on.
    ///
    /// # Errors
    /// The operating system refuses a handler or a thread.
    pub fn install() -> io::Result<Self> {
        flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
        let second = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            // In this order: the first signal passes by and arms it for the second.
            flag::register_conditional_shutdown(signal, ABORTED, Arc::clone(&second))?;
            flag::register(signal, Arc::clone(&second))?;
        }
        let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT])?;
        let (asking, asked) = watch::channel(false);
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for _ in signals.forever() {
                if asking.send(true).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { asked })
    }

    /// Completes once we were asked to stop.
    pub async fn asked(&self) {
        let mut asked = self.asked.clone();
        if asked.wait_for(|asked| *asked).await.is_err() {
            // Its thread is gone, and with it the only one who could ask.
            std::future::pending::<()>().await;
        }
    }
}
