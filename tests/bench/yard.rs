//! What benchmarks share: the yardstick, clocks, memory.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The least anybody could do: reads the inputs, writes a child.
pub(crate) fn yardstick(inputs: &[&Path], folder: &Path) -> Duration {
    let copy = folder.join("copy");
    let start = Instant::now();
    let cat = Command::new("cat").args(inputs).stdout(Stdio::null()).status();
    let cp = Command::new("cp").arg(inputs[0]).arg(&copy).status();
    let time = start.elapsed();
    assert!(cat.is_ok_and(|status| status.success()) && cp.is_ok_and(|status| status.success()));
    std::fs::remove_file(copy).expect("the copy");
    time
}

/// Does the work and says how much anonymous memory this process had at most meanwhile, in KiB.
pub(crate) fn watching_memory<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let (stop, most) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                most.fetch_max(field("/proc/self/status", "RssAnon:"), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let done = work();
        stop.store(true, Ordering::Relaxed);
        (done, most.load(Ordering::Relaxed))
    })
}

/// A line of a process's status, in KiB.
pub(crate) fn field(status: &str, field: &str) -> u64 {
    std::fs::read_to_string(status)
        .ok()
        .and_then(|text| {
            let line = text.lines().find_map(|line| line.strip_prefix(field))?;
            line.split_whitespace().next()?.parse().ok()
        })
        .unwrap_or(0)
}

/// The middle one.
pub(crate) fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// A number around zero for an element, roughly in the bell that weights have: SplitMix64, four parts
/// of it summed.
pub(crate) fn bell(stream: u64, element: usize) -> f32 {
    let mut x = (stream + element as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    x = (x ^ x >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ x >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    let sum: i64 = (0..4).map(|part| i64::from((x >> (16 * part)) as i16)).sum();
    sum as f32 / 1e6
}
