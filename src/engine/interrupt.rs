//! When to stop: Ctrl-C at a terminal, or the SIGTERM that batch systems and containers send.
//!
//! The first one asks the work to end, so that nothing half-written stays behind. Work that does not listen is
//! ended by a second one: what is half-written is never believed.

use std::io;

use tokio::signal::ctrl_c;
use tokio::signal::unix::{SignalKind, signal};

/// What a shell says of a process that was interrupted.
const INTERRUPTED: i32 = 130;

/// Calls `heard` at the first signal and ends the process at the second. Without signals to listen to, never.
#[expect(clippy::exit, reason = "who asks twice wants no more work to end well")]
pub async fn on_interrupt(heard: impl FnOnce()) {
    if interrupted().await.is_ok() {
        heard();
        if interrupted().await.is_ok() {
            std::process::exit(INTERRUPTED);
        }
    }
}

async fn interrupted() -> io::Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        heard = ctrl_c() => heard,
        _ = terminated.recv() => Ok(()),
    }
}
