//! When to stop: Ctrl-C at a terminal, or the SIGTERM that batch systems and containers send.
//!
//! The first one asks the work to end, so that nothing half-written stays behind. Work that does not listen is
//! ended by a second one: what is half-written is never believed.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a shell says of a process that was interrupted.
const INTERRUPTED: i32 = 130;

/// Both signals, heard from the moment this is made.
pub struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    /// Listens; on a runtime.
    ///
    /// # Errors
    ///
    /// If the system gives out no signals.
    pub fn listen() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Calls `heard` at the first signal and ends the process at the second.
    pub async fn tell(mut self, heard: impl FnOnce()) {
        self.next().await;
        heard();
        self.next().await;
        std::process::exit(INTERRUPTED);
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => (),
            _ = self.terminate.recv() => (),
        }
    }
}
