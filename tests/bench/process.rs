//! A whole program, timed and watched from outside.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::yard::field;

/// A program that ran to its end.
pub(crate) struct Watched {
    /// From its start to its exit.
    pub(crate) wall: Duration,
    /// On all cores, its own and the system's for it.
    pub(crate) cpu: Duration,
    /// The most anonymous memory it was seen with, in KiB.
    pub(crate) anonymous: u64,
}

/// Runs a program and watches it.
pub(crate) fn watch(command: &mut Command) -> Watched {
    let before = children_cpu();
    let start = Instant::now();
    let mut child = command.spawn().expect("the program is there");
    let status = format!("/proc/{}/status", child.id());
    let mut anonymous = 0;
    let code = loop {
        anonymous = anonymous.max(field(&status, "RssAnon:"));
        match child.try_wait().expect("a program that can be waited for") {
            Some(code) => break code,
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    let wall = start.elapsed();
    assert!(code.success(), "{command:?}: {code}");
    Watched { wall, cpu: children_cpu() - before, anonymous }
}

/// What finished children have used, from `/proc/self/stat`, whose ticks are hundredths of a second.
fn children_cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name in parentheses may hold anything; what follows are numbers.
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(13).take(2);
    Duration::from_millis(10 * ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>())
}
