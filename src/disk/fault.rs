//! Fault points: named places where a test stops the process or makes a write fail.
//!
//! `STUDBOOK_FAULT=name:3:kill` ends the process with SIGKILL's abruptness the third time the
//! point is passed; `name:1:full` makes it answer "no space left". Builds without debug
//! assertions (releases) contain none of this.

use std::io;

/// Every fault point of a run, so that a test can visit them all.
pub const POINTS: &[&str] = &[
    "blob-written",
    "blob-synced",
    "blob-renamed",
    "file-written",
    "file-renamed",
    "action-stored",
    "ledger-entry-written",
    "ledger-tile-written",
    "ledger-head-written",
    "view-written",
    "registry-file-written",
    "registry-selector-written",
    "room-asked",
    "store-begun",
];

/// Those that a run does not pass: where a folder takes the place of another.
pub const REPLACING: &[&str] = &["folder-filled", "folder-replaced"];

/// Passes the point `name`.
///
/// # Errors
///
/// [`io::ErrorKind::StorageFull`] if a test asked for one here, never else.
#[cfg(debug_assertions)]
pub fn point(name: &'static str) -> io::Result<()> {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicUsize, Ordering};

    struct Armed {
        name: String,
        at: usize,
        kill: bool,
        passed: AtomicUsize,
    }
    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();

    debug_assert!(POINTS.contains(&name) || REPLACING.contains(&name), "unlisted fault point {name}");
    let armed = ARMED.get_or_init(|| {
        let value = std::env::var("STUDBOOK_FAULT").ok()?;
        let mut parts = value.split(':');
        Some(Armed {
            name: parts.next()?.to_owned(),
            at: parts.next()?.parse().ok()?,
            kill: parts.next()? == "kill",
            passed: AtomicUsize::new(0),
        })
    });
    let Some(armed) = armed else { return Ok(()) };
    if armed.name != name || armed.passed.fetch_add(1, Ordering::SeqCst) + 1 != armed.at {
        return Ok(());
    }
    if armed.kill {
        // No destructors, no flushing: as close to SIGKILL as a process can do to itself.
        std::process::abort();
    }
    Err(io::ErrorKind::StorageFull.into())
}

/// Passes the point `name`.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn point(_name: &'static str) -> io::Result<()> {
    Ok(())
}
