//! How long evaluations take: one long suite, and many candidates on one core and on two.
//!
//! ```text
//! cargo bench --bench evaluate
//! ```
//!
//! Both drive the real binary on the trained examples (0.84 million parameters, q8_0) in a store of their
//! own, so that everything an evaluation costs is in the times: asking, outcomes, records. Medians of the
//! rounds, in which one core and two take turns. The first is 1,000 exact-match cases on one model. The
//! second is 20 candidates of a sweep on 3 x 250 cases, on one core and on two; its efficiency is the first time
//! over twice the second, of each round. Making, smoke-testing and promoting the candidates are in both, and so
//! is what the disk takes (`TMPDIR` names another).
//!
//! One core means one: `--threads 1` leaves one thread to the arithmetic, but stages that wait for files would
//! still go on beside it on the other core, so `taskset` (util-linux) keeps that run where it belongs.

#![expect(clippy::print_stdout, reason = "the times are the product")]

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

const ROUNDS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let mut cases = String::new();
    for i in 0..1000 {
        let (a, b) = (10 + i % 90, 10 + i / 90 * 7 + i % 7);
        writeln!(
            cases,
            "{{\"id\":\"c{i}\",\"prompt\":\"{a}+{b}={}\",\"expected\":\"{}\"}}",
            " ".repeat(i % 3),
            a + b
        )?;
    }
    std::fs::write(folder.path().join("cases.jsonl"), cases)?;

    let one = plan("[0.5]", &[("long", "cases.jsonl")]);
    let seconds = median(rounds(folder.path(), &one, [2])?.into_iter().map(|[seconds]| seconds));
    println!(
        "1,000 exact-match cases on five models, two threads: {seconds:.2} s, {:.2} s a model",
        seconds / 5.0
    );

    let evals = format!("{}/examples/evals", env!("CARGO_MANIFEST_DIR"));
    let suites: Vec<(&str, String)> =
        ["add", "reverse", "sort"].map(|name| (name, format!("{evals}/{name}.jsonl"))).into();
    let suites: Vec<(&str, &str)> = suites.iter().map(|(name, path)| (*name, path.as_str())).collect();
    let lambdas: Vec<String> = (1..=20).map(|i| format!("{}", f64::from(i) / 20.0)).collect();
    let many = plan(&format!("[{}]", lambdas.join(", ")), &suites);
    let times = rounds(folder.path(), &many, [1, 2])?;
    let [alone, both] = [0, 1].map(|at| median(times.iter().map(|times| times[at])));
    let efficiency = |[alone, both]: &[f64; 2]| 100.0 * alone / both / 2.0;
    let all: Vec<_> = times.iter().map(|times| format!("{:.0}", efficiency(times))).collect();
    println!(
        "20 candidates on 3 x 250 cases: {alone:.2} s on one core, {both:.2} s on two, efficiency {:.0} % ({})",
        median(times.iter().map(efficiency)),
        all.join(", ")
    );
    Ok(())
}

/// A task vector swept over these lambdas, measured on these suites.
fn plan(lambdas: &str, suites: &[(&str, &str)]) -> String {
    let parents = format!("{}/examples/parents", env!("CARGO_MANIFEST_DIR"));
    let mut text = String::from(
        "[cycle]\nname = \"bench\"\nseed = \"1\"\noutput = \"q8_0\"\n\n\
         [budget]\ncandidates = 20\nartifact = \"2 MiB\"\ndisk = \"64 MiB\"\nseconds = 3600\n\n",
    );
    for name in ["base", "add", "reverse", "sort"] {
        let role = if name == "base" { "role = \"base\"\n" } else { "" };
        text += &format!("[parents.{name}]\nsource = \"{parents}/{name}.slm\"\n{role}\n");
    }
    text += &format!(
        "[candidates.tasks]\noperator = \"task_delta\"\nparents = [\"add\", \"reverse\", \"sort\"]\n\
         sweep = {{ lambda = {lambdas} }}\n\n[smoke]\nprompts = [\"1+1=\"]\nmax_tokens = 4\n\n"
    );
    for (name, path) in suites {
        text += &format!(
            "[[eval]]\nname = \"{name}\"\nkind = \"exact_match\"\ncases = \"{path}\"\nmax_tokens = 12\n\n"
        );
    }
    text + "[[gate]]\nname = \"size\"\nkind = \"metric\"\nmetric = \"artifact_bytes\"\nmax = 2000000\n"
}

/// Seconds of several rounds, a run with each number of cores in every one.
fn rounds<const N: usize>(
    folder: &Path,
    plan: &str,
    threads: [usize; N],
) -> Result<Vec<[f64; N]>, Box<dyn Error>> {
    std::fs::write(folder.join("plan.toml"), plan)?;
    let mut times = vec![[0.0; N]; ROUNDS];
    for times in &mut times {
        for (time, threads) in times.iter_mut().zip(threads) {
            *time = seconds(folder, threads)?;
        }
    }
    Ok(times)
}

fn median(numbers: impl Iterator<Item = f64>) -> f64 {
    let mut numbers: Vec<f64> = numbers.collect();
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// Seconds of one run of the plan, on as many cores as threads.
fn seconds(folder: &Path, threads: usize) -> Result<f64, Box<dyn Error>> {
    // Each its own, removed with the folder: file systems are slow for a while after thousands of files went.
    let store = tempfile::tempdir_in(folder)?.keep();
    let start = Instant::now();
    let last_core = threads - 1;
    let status = Command::new("taskset")
        .args(["--cpu-list", &format!("0-{last_core}"), env!("CARGO_BIN_EXE_studbook")])
        .args(["run", "plan.toml", "--quiet", "--threads", &threads.to_string()])
        .arg("--store")
        .arg(&store)
        .current_dir(folder)
        .stdout(Stdio::null())
        .status()?;
    let seconds = start.elapsed().as_secs_f64();
    if !status.success() {
        return Err(format!("the run ended with {status}").into());
    }
    Ok(seconds)
}
