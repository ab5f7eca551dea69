//! Crashes: killed at any moment, the next run ends as if nothing had happened.
//!
//! Every fault point is visited, and random moments besides. What is compared is all that people
//! and other programs read: the records by name, the ledger, the registry.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use studbook::base::rng::Philox;
use studbook::disk::fault::POINTS;

use crate::space::Space;

const SIGKILL: i32 = 9;
const SIGABRT: i32 = 6;

/// What an undisturbed run leaves, and how long it takes.
struct Reference {
    files: BTreeMap<String, Vec<u8>>,
    took: Duration,
}

fn reference() -> &'static Reference {
    static REFERENCE: OnceLock<Reference> = OnceLock::new();
    REFERENCE.get_or_init(|| {
        let space = Space::new();
        let start = Instant::now();
        space.studbook(&["run", "plan.toml"]).exits(3);
        Reference { took: start.elapsed(), files: left_by(&space) }
    })
}

fn left_by(space: &Space) -> BTreeMap<String, Vec<u8>> {
    let folders = ["runs", "ledger", "registry"];
    let files = folders.iter().flat_map(|folder| {
        let files = space.files(&format!(".studbook/{folder}"));
        files.into_iter().map(move |(name, bytes)| (format!("{folder}/{name}"), bytes))
    });
    files.collect()
}

/// What writers had not finished, where many of them write.
fn half_written(space: &Space) -> Vec<String> {
    let folders = ["tmp", "actions", "builds", "evidence"];
    let files = folders.iter().flat_map(|folder| space.files(&format!(".studbook/{folder}")).into_keys());
    files.filter(|name| name.contains(".tmp-")).collect()
}

/// Runs to the end and compares everything; nothing of the dead is left.
fn recovers(space: &Space, after: &str) {
    let said = space.studbook(&["run", "plan.toml", "--quiet"]);
    assert_eq!(said.code, Some(3), "after {after}:\n{}\n{}", said.out, said.err);
    assert!(half_written(space).is_empty(), "after {after}: {:?}", half_written(space));
    let (found, expected) = (left_by(space), &reference().files);
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&found), names(expected), "after {after}");
    for (name, bytes) in &found {
        assert!(expected[name] == *bytes, "{name} differs after {after}");
    }
}

/// Runs with a fault point armed.
fn run_into(space: &Space, fault: &str) -> ExitStatus {
    let mut command = space.command(&["run", "plan.toml", "--quiet"]);
    command.env("STUDBOOK_FAULT", fault).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap()
}

#[test]
fn every_fault_point_is_survived() {
    assert!(reference().files.len() > 40);
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while let Some(point) = POINTS.get(next.fetch_add(1, Ordering::Relaxed)) {
                    survive(point);
                }
            });
        }
    });
}

fn survive(point: &str) {
    let mut reached = 0;
    for at in [1, 2, 3, 30] {
        let fault = format!("{point}:{at}:kill");
        let space = Space::new();
        let status = run_into(&space, &fault);
        if status.code() == Some(3) {
            // Not passed that often: neither will it be more often.
            break;
        }
        assert_eq!(status.signal(), Some(SIGABRT), "{fault}: {status}");
        reached += 1;
        recovers(&space, &fault);
    }
    assert!(reached > 0, "{point} was never passed");
}

/// The recovery itself is cut off as well, again and again, a little further each time.
#[test]
fn a_crash_while_recovering_is_survived() {
    let space = Space::new();
    for at in [9, 4, 7, 2, 6, 3, 8, 5] {
        let status = run_into(&space, &format!("file-renamed:{at}:kill"));
        assert!(matches!((status.signal(), status.code()), (Some(SIGABRT), _) | (_, Some(3))), "{status}");
    }
    recovers(&space, "eight crashes in a row");
    space.studbook(&["verify", "plan.toml", "--recompute"]).exits(0);
}

/// Runs up to a moment and kills; what it took, where it ended before.
fn cut_off_after(moment: Duration, space: &Space) -> Result<(), Duration> {
    let mut command = space.command(&["run", "plan.toml", "--quiet"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let start = Instant::now();
    while start.elapsed() < moment {
        if let Some(status) = child.try_wait().unwrap() {
            assert_eq!(status.code(), Some(3), "{status}");
            return Err(start.elapsed());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    let status = child.wait().unwrap();
    if status.signal() == Some(SIGKILL) {
        return Ok(());
    }
    assert_eq!(status.code(), Some(3), "{status}");
    Err(start.elapsed())
}

#[test]
fn random_moments_are_survived() {
    let random = Philox::for_purpose(&["crash", "moments"]);
    let mut shares = (0..).map(|i| random.unit(i));
    // What a whole run takes depends on what runs beside it: one that ended too early tells it anew.
    let mut whole = reference().took;
    let mut too_late = 0;
    for i in 0..24 {
        let space = loop {
            let space = Space::new();
            match cut_off_after(whole.mul_f64(shares.next().unwrap()), &space) {
                Ok(()) => break space,
                Err(took) => whole = took,
            }
            too_late += 1;
            assert!(too_late < 100, "only {i} runs were cut off");
        };
        // Every third one is killed twice before it may finish, if it does not finish before.
        if i % 3 == 0 {
            cut_off_after(whole.mul_f64(shares.next().unwrap()), &space).ok();
        }
        recovers(&space, &format!("kill number {i}"));
    }
}

/// Every batch of cases that was answered: the file that says so, and its inode, which another writing of
/// it would change. What was being written when the process died has another kind of name.
fn batches(space: &Space) -> BTreeMap<PathBuf, u64> {
    let mut found = BTreeMap::new();
    let mut folders = vec![space.path(".studbook/actions")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_hexdigit())
                && std::fs::read_to_string(&path).is_ok_and(|text| text.contains("outcomes from case "))
            {
                found.insert(path, entry.metadata().unwrap().ino());
            }
        }
    }
    found
}

/// Runs until some batches were answered and kills. Nothing if all were, which may happen beside other tests.
fn killed_between_batches(space: &Space) -> Option<BTreeMap<PathBuf, u64>> {
    let mut run = space.command(&["run", "plan.toml", "--quiet", "--threads", "2"]).spawn().unwrap();
    while batches(space).len() < 12 && run.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(2));
    }
    run.kill().unwrap();
    run.wait().unwrap();
    Some(batches(space)).filter(|kept| kept.len() < BATCHES)
}

/// 1,280 cases are 20 batches for each of 4 parents and 3 children.
const BATCHES: usize = 7 * 20;

#[test]
fn killed_while_it_asks_it_asks_again_only_the_batch_that_ran() {
    let case = |i: u32| format!("{{\"id\":\"c{i}\",\"prompt\":\"p{i}=\",\"expected\":\"{i}\"}}\n");
    let suite: String = (0..1280).map(case).collect();
    let killed = || {
        let space = Space::new();
        space.write("suite.jsonl", suite.as_bytes());
        killed_between_batches(&space).map(|kept| (space, kept))
    };
    let (space, kept) = (0..10).find_map(|_| killed()).expect("always killed too late");
    assert!(kept.len() >= 12, "it ended before it could be killed");
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    let all = batches(&space);
    assert_eq!(all.len(), BATCHES, "each batch is there once");
    for (path, inode) in kept {
        assert_eq!(all.get(&path), Some(&inode), "{} was asked again", path.display());
    }
}
