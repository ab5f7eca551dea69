//! Running a cycle: outcomes, caching, approvals, the next cycle.

use crate::space::Space;

/// A cycle with so many cases that nobody is warned of too few.
fn many_cases() -> Space {
    let space = Space::new();
    let case = |i: u32| format!("{{\"id\":\"c{i}\",\"prompt\":\"p{i}=\",\"expected\":\"{i}\"}}\n");
    space.write("suite.jsonl", (0..30).map(case).collect::<String>().as_bytes());
    space
}

#[test]
fn without_a_terminal_progress_is_a_line_for_each_stage_and_quiet_is_quiet() {
    let space = many_cases();
    let said = space.studbook(&["run", "plan.toml"]).exits(3);
    assert!(!said.err.contains(['\r', '\x1b']), "{:?}", said.err);
    let marks = ["  done ", "refuse ", "  wait "];
    let lines: Vec<&str> = said.err.lines().collect();
    for line in &lines {
        assert!(marks.iter().any(|mark| line.starts_with(mark)), "{line}");
        // How long it took, which stage, what came of it.
        let words: Vec<&str> = line.split_whitespace().collect();
        let took = words[1].strip_suffix('s').and_then(|seconds| seconds.parse::<f64>().ok());
        assert!(took.is_some() && words[2].contains(':') && words.len() > 3, "{line}");
    }
    let stages = space.studbook(&["plan", "plan.toml", "--format", "json"]).exits(0).json();
    let told = |id: &str| lines.iter().filter(|line| line.split_whitespace().nth(2) == Some(id)).count();
    let mut waits = Vec::new();
    for stage in stages["stages"].as_array().unwrap() {
        let id = stage["stage"].as_str().unwrap();
        match told(id) {
            1 => {}
            0 => waits.push(id),
            more => panic!("{id} is told {more} times"),
        }
    }
    assert_eq!(waits, ["admission:ties"], "what waits for an approval did not run");
    assert!(lines.iter().any(|line| line.starts_with("refuse ") && line.contains("promotion:tasks")));
    // What is cached is not told again; a quiet run tells nothing at all.
    assert_eq!(space.studbook(&["run", "plan.toml"]).exits(3).err, "");
    let quiet = Space::new().studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    assert_eq!(quiet.err, "");
    quiet.says("average").says("admitted");
}

#[test]
fn one_is_admitted_one_refused_one_waits() {
    let space = Space::new();
    let said = space.studbook(&["run", "plan.toml", "--format", "json"]).exits(3);
    let report = said.json();
    let outcomes: Vec<_> = report["candidates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["candidate"].as_str().unwrap(), row["outcome"].as_str().unwrap()))
        .collect();
    assert_eq!(outcomes, [("average", "admitted"), ("tasks", "refused"), ("ties", "pending")]);
    assert_eq!(report["executed"], report["stages"].as_u64().unwrap() - 1, "all but the pending admission");
    let gates = report["pending_gates"].as_array().unwrap();
    assert_eq!(gates.len(), 1);
    assert_eq!(gates[0]["command"], "studbook attest plan.toml ties --gate release --by NAME");
    // Every kind of record is there under its name.
    for file in [
        "01-source/one.json",
        "02-compat/ties.json",
        "03-lineage/ties.json",
        "04-operator/ties.json",
        "04-operator/ties.slm",
        "05-candidate/ties.json",
        "06-smoke/ties.json",
        "07-eval/ties.digits.json",
        "07-eval/ties.digits.outcomes.jsonl",
        "08-promotion/ties.json",
        "09-admission/average.json",
        "09-admission/tasks.json",
        "10-ledger/admissions.json",
        "11-review/tiny.json",
        "12-recipe/pool.toml",
        "13-registry/tiny.json",
    ] {
        assert!(space.path(&format!(".studbook/runs/tiny/{file}")).is_file(), "{file}");
    }
    assert!(!space.path(".studbook/runs/tiny/09-admission/ties.json").exists());
}

#[test]
fn nothing_runs_twice() {
    let space = Space::new();
    space.studbook(&["run", "plan.toml"]).exits(3);
    let before = space.files(".studbook/runs");
    let report = space.studbook(&["run", "plan.toml", "--format", "json"]).exits(3).json();
    assert_eq!(report["executed"], 0);
    assert_eq!(space.files(".studbook/runs"), before);
}

#[test]
fn an_approval_admits_that_one_and_runs_nothing_else() {
    let space = many_cases();
    space.studbook(&["run", "plan.toml"]).exits(3);
    space
        .studbook(&[
            "attest",
            "plan.toml",
            "ties",
            "--gate",
            "release",
            "--by",
            "ada",
            "--reason",
            "read the report",
        ])
        .exits(0);
    let said = space.studbook(&["run", "plan.toml"]).exits(0);
    let mut ran: Vec<&str> =
        said.err.lines().filter_map(|line| line.split_whitespace().find(|word| word.contains(':'))).collect();
    ran.sort_unstable();
    assert_eq!(
        ran,
        ["admission:ties", "ledger:admissions", "promotion:ties", "recipe:tiny", "registry:tiny"],
        "{}",
        said.err
    );
    said.says("approved by ada: read the report");
    assert_eq!(space.studbook(&["run", "plan.toml", "--format", "json"]).exits(0).json()["executed"], 0);
}

#[test]
fn a_rejection_refuses() {
    let space = Space::new();
    space.studbook(&["run", "plan.toml"]).exits(3);
    space.studbook(&["attest", "plan.toml", "ties", "--gate", "release", "--by", "ada", "--reject"]).exits(0);
    let said = space.studbook(&["run", "plan.toml"]).exits(0).says("rejected by ada");
    assert!(!said.out.contains("rejected by ada:"), "no reason was given: {}", said.out);
}

#[test]
fn approvals_are_for_what_waits_for_them() {
    let space = Space::new();
    let attest =
        |candidate, gate| space.studbook(&["attest", "plan.toml", candidate, "--gate", gate, "--by", "ada"]);
    attest("ties", "release").exits(2).complains("not there to be approved yet");
    space.studbook(&["run", "plan.toml"]).exits(3);
    attest("tie", "release").exits(2).complains("did you mean `ties`?");
    attest("average", "release").exits(2).complains("has no approval gate");
    attest("ties", "size").exits(2).complains("its approval gates: release");
}

#[test]
fn an_approval_does_not_survive_a_moved_gate() {
    let space = Space::new();
    space.studbook(&["run", "plan.toml"]).exits(3);
    space.studbook(&["attest", "plan.toml", "ties", "--gate", "release", "--by", "ada"]).exits(0);
    space.edit("plan.toml", "max = 100000", "max = 99999");
    let report = space.studbook(&["run", "plan.toml", "--format", "json"]).exits(3).json();
    assert_eq!(report["candidates"][2]["outcome"], "pending", "another lineage, another manifest");
}

#[test]
fn one_changed_weight_reruns_one_chain() {
    let space = many_cases();
    space.studbook(&["run", "plan.toml"]).exits(3);
    space.edit("plan.toml", "lambda = 0.5", "lambda = 0.25");
    let said = space.studbook(&["run", "plan.toml"]).exits(3);
    for line in said.err.lines() {
        let own = line.contains(":tasks");
        let shared = ["ledger:plan", "ledger:admissions", "review:tiny", "recipe:tiny", "registry:tiny"];
        assert!(own || shared.iter().any(|stage| line.contains(stage)), "{line}");
    }
    assert!(said.err.contains("operator:tasks"), "{}", said.err);
}

#[test]
fn a_moved_gate_computes_no_weight_and_no_token() {
    let space = Space::new();
    space.studbook(&["run", "plan.toml"]).exits(3);
    space.edit("plan.toml", "min = 0.5", "min = 0.6");
    let said = space.studbook(&["run", "plan.toml"]).exits(3);
    assert!(!said.err.contains("operator:"), "{}", said.err);
}

#[test]
fn equal_output_cuts_off_early() {
    let space = Space::new();
    space.studbook(&["run", "plan.toml"]).exits(3);
    // Another weight for everybody is the same average: the child's bytes are the same.
    space.edit(
        "plan.toml",
        "parents = [\"one\", \"two\", \"three\"]\nweight = 1.0\n\n[candidates.tasks]",
        "parents = [\"one\", \"two\", \"three\"]\nweight = 2.0\n\n[candidates.tasks]",
    );
    let said = space.studbook(&["run", "plan.toml"]).exits(3);
    assert!(said.err.contains("operator:average"), "{}", said.err);
    let operator = space.read(".studbook/runs/tiny/04-operator/average.json");
    assert!(operator.contains("2"), "{operator}");
}

#[test]
fn damaged_and_deleted_blobs_are_rebuilt_alone() {
    let space = Space::new();
    space.studbook(&["run", "plan.toml"]).exits(3);
    let artifact = std::fs::canonicalize(space.path(".studbook/runs/tiny/04-operator/ties.slm")).unwrap();
    let whole = std::fs::read(&artifact).unwrap();
    let rerun = || {
        let said = space.studbook(&["run", "plan.toml"]).exits(3);
        let ran: Vec<_> = said.err.lines().filter(|line| line.contains("done")).map(str::to_owned).collect();
        assert_eq!(ran.len(), 1, "{}", said.err);
        assert!(ran[0].contains("operator:ties"), "{}", said.err);
        assert_eq!(std::fs::read(&artifact).unwrap(), whole);
    };
    std::fs::remove_file(&artifact).unwrap();
    rerun();
    let mut damaged = whole.clone();
    damaged[3000] ^= 1;
    std::fs::remove_file(&artifact).unwrap();
    std::fs::write(&artifact, &damaged).unwrap();
    rerun();
    std::fs::remove_file(&artifact).unwrap();
    std::fs::write(&artifact, &whole[..100]).unwrap();
    rerun();
}

#[test]
fn same_bytes_for_any_number_of_threads() {
    let views: Vec<_> = ["1", "2", "7"]
        .iter()
        .map(|threads| {
            let space = Space::new();
            space.studbook(&["run", "plan.toml", "--threads", threads]).exits(3);
            space.files(".studbook/runs")
        })
        .collect();
    assert_eq!(views[0], views[1]);
    assert_eq!(views[0], views[2]);
}

#[test]
fn parents_that_do_not_fit_are_refused_by_name() {
    let space = Space::new();
    let wide = studbook::model::ModelConfig { ffn_size: 24, ..crate::space::config() };
    let bytes = crate::space::model(&wide, "two", studbook::tensor::dtype::DType::Q8_0);
    space.write("two.slm", &bytes);
    let report = space.studbook(&["run", "plan.toml", "--format", "json"]).exits(0).json();
    for row in report["candidates"].as_array().unwrap() {
        assert_eq!(row["outcome"], "refused");
        let because = row["because"].as_str().unwrap();
        assert!(because.contains("ffn_size") && because.contains("24"), "{because}");
    }
    assert!(space.path(".studbook/runs/tiny/09-admission/ties.json").is_file(), "a refusal is recorded");
}

#[test]
fn the_next_cycle_starts_from_the_pool() {
    let space = Space::new();
    space.studbook(&["run", "plan.toml"]).exits(3);
    let second = crate::space::PLAN.replace("name = \"tiny\"", "name = \"second\"").replace(
        "source = \"one.slm\"",
        "from_recipe = \".studbook/runs/tiny/12-recipe/pool.toml\"\nplace = 1",
    );
    space.write("second.toml", second.as_bytes());
    let report = space.studbook(&["run", "second.toml", "--format", "json"]).exits(3).json();
    assert_eq!(report["failed"].as_array().unwrap().len(), 0);
    let source = space.read(".studbook/runs/second/01-source/one.json");
    assert!(source.contains("\"cycle\":\"tiny\""), "{source}");
}

#[test]
fn two_runs_at_once_on_one_store_are_safe() {
    let space = Space::new();
    let children: Vec<_> = (0..3)
        .map(|_| {
            let mut command = space.command(&["run", "plan.toml", "--quiet"]);
            command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let alone = Space::new();
    alone.studbook(&["run", "plan.toml"]).exits(3);
    assert_eq!(space.files(".studbook/runs"), alone.files(".studbook/runs"));
    space.studbook(&["verify", "plan.toml", "--recompute"]).exits(0);
}

/// What is measured may be as large as an f64 is, and what is counted as large as is counted exactly; RFC 8785
/// writes both in digits alone.
#[test]
fn records_of_large_numbers_are_read_again() {
    let space = Space::new();
    space.edit("plan.toml", "output = \"q8_0\"", "output = \"f32\"");
    space.edit("plan.toml", "weight = 1.0\nlambda = 0.5", "weight = 1e9\nlambda = 1e9");
    let federated = "[candidates.round]\noperator = \"federated\"\nparents = [\"one\", \"two\"]\n\
                     samples = [9007199254740992, 1]\n\n[smoke]";
    space.edit("plan.toml", "[smoke]", federated);
    space.studbook(&["run", "plan.toml"]).exits(3).says("0 failed");
    let receipt = space.read(".studbook/runs/tiny/04-operator/tasks.json");
    let digits = |text: &&str| text.len() >= 16 && text.bytes().all(|byte| byte.is_ascii_digit());
    assert!(receipt.split(|c: char| !c.is_ascii_alphanumeric() && c != '.').any(|text| digits(&text)));
    space.studbook(&["run", "plan.toml"]).exits(3).says(", 0 executed, ");
    space.studbook(&["verify", "plan.toml"]).exits(0);
}
