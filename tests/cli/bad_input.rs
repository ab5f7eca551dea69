//! Bad input: every mistake is told with its place and what to do, and leaves nothing behind.

use studbook::tensor::dtype::DType;

use crate::space::{PLAN, Said, Space, config, model};

/// Fails if a command left something half-written.
#[track_caller]
fn clean(space: &Space) {
    let tmp: Vec<_> = space.files(".studbook/tmp").into_keys().collect();
    assert!(tmp.is_empty(), "left behind: {tmp:?}");
    let half: Vec<_> = space.files("").into_keys().filter(|name| name.contains(".tmp-")).collect();
    assert!(half.is_empty(), "left behind: {half:?}");
}

/// A mistake in a plan: every command that takes one says so and makes no store.
#[track_caller]
fn plan_mistake(space: &Space, parts: &[&str]) {
    for command in ["check", "plan", "run", "status", "graph", "verify"] {
        let mut said = space.studbook(&[command, "plan.toml"]).exits(2);
        for part in parts {
            said = said.complains(part);
        }
        assert!(said.out.is_empty(), "{}", said.out);
        assert!(!space.path(".studbook").exists(), "{command} made a store");
    }
}

#[test]
fn a_plan_that_is_no_file() {
    let space = Space::new();
    space
        .studbook(&["run", "none.toml"])
        .exits(2)
        .complains("cannot open the plan none.toml")
        .complains("hint: check the spelling");
    space
        .studbook(&["run", "."])
        .exits(2)
        .complains("cannot open the plan .: is a folder, a file was expected")
        .complains("hint: name a file inside that folder");
    space.write("binary.toml", b"[cycle]\nname = \"caf\xe9\"\n");
    let said = space.studbook(&["run", "binary.toml"]).exits(2);
    said.complains("binary.toml:2:12")
        .complains("the byte 0xe9 is no UTF-8")
        .complains("save the file as UTF-8");
    let wide: Vec<u8> = "\u{feff}[cycle]\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    space.write("wide.toml", &wide);
    let said = space.studbook(&["check", "wide.toml"]).exits(2);
    let said = said.complains("wide.toml:1:1").complains("the plan is UTF-16, not UTF-8");
    assert!(!said.err.contains('\0'), "{}", said.err);
    space.write("broken.toml", b"[cycle\nname = \"x\"\n");
    space.studbook(&["run", "broken.toml"]).exits(2).complains("broken.toml:1:7");
    assert!(!space.path(".studbook").exists());
}

#[test]
fn a_whole_number_that_no_record_keeps_is_a_mistake_of_the_plan() {
    let space = Space::new();
    let registry = format!("{PLAN}\n[registry]\nbudget = 1000\n");
    for (from, to) in [
        ("seconds = 600", "seconds = 9007199254740993"),
        ("candidates = 8", "candidates = 9007199254740992"),
        ("artifact = \"1 MiB\"", "artifact = 9007199254740993"),
        ("disk = \"8 MiB\"", "disk = \"9000000 GiB\""),
        ("seed = \"7\"", "seed = \"7\"\nformat = \"safetensors\"\nshard = 9007199254740993"),
        ("max_tokens = 4", "max_tokens = 9007199254740993"),
        ("[recipe]\nparents = 2", "[recipe]\nparents = 9007199254740993"),
        ("[smoke]", "[champion]\nplace = 9007199254740993\n\n[smoke]"),
        ("budget = 1000", "budget = 9007199254740993"),
        ("density = 0.5", "density = 9007199254740993"),
    ] {
        assert!(registry.contains(from), "{from}");
        space.write("plan.toml", registry.replacen(from, to, 1).as_bytes());
        plan_mistake(&space, &["plan.toml:", "is too large", "up to 9007199254740991 are kept exactly"]);
    }
    // The largest that is kept is no mistake, and nothing is too large for whoever plans with it.
    let most = PLAN
        .replacen("seconds = 600", "seconds = 9007199254740991", 1)
        .replacen("candidates = 8", "candidates = 9007199254740991", 1)
        .replacen("\"8 MiB\"", "9007199254740991", 1)
        .replacen("[recipe]\nparents = 2", "[recipe]\nparents = 9007199254740991", 1);
    space.write("plan.toml", most.as_bytes());
    space.studbook(&["run", "plan.toml"]).exits(3).says("0 failed");
    space.studbook(&["verify", "plan.toml"]).exits(0);
}

#[test]
fn a_folder_of_somebody_else_is_not_made_a_store() {
    let space = Space::new();
    let run = |store: &str| space.studbook(&["run", "plan.toml", "--quiet", "--store", store]);
    // What a store is made of is no sign of one, if somebody else's things are in it.
    for (folder, file, named) in [
        ("full", "objects/note", "\"objects\" is in it"),
        ("etc", "hosts", "\"hosts\" is in it"),
        ("dots", ".profile", "\".profile\" is in it"),
    ] {
        space.write(&format!("{folder}/{file}"), b"mine");
        let before = space.files(folder);
        let said =
            run(folder).exits(5).complains(&format!("{folder} is not empty and is not a Studbook store"));
        said.complains(named).complains("hint: name a new or an empty folder with --store DIR");
        let attest = ["attest", "plan.toml", "ties", "--gate", "release", "--by", "ada", "--store", folder];
        space.studbook(&attest).exits(5).complains(named);
        for command in ["check", "log"] {
            space
                .studbook(&["ledger", command, "--store", folder])
                .exits(2)
                .complains("there is no store at");
        }
        assert_eq!(space.files(folder), before);
    }
    // A new folder, an empty one, and what a crash left of making one.
    std::fs::create_dir(space.path("empty")).unwrap();
    for store in ["new/deep", "empty"] {
        run(store).exits(3);
    }
    for folder in ["objects", "cycles", "tmp"] {
        std::fs::create_dir_all(space.path("half").join(folder)).unwrap();
    }
    space.write("half/.tmp-x1", b"studbook-st");
    run("half").exits(3);
    // A store that lost its version is told apart by nothing, and how to mend that is said.
    std::fs::remove_file(space.path("half/version")).unwrap();
    run("half").exits(5).complains("write the line \"studbook-store 1\" into that file");
    space.write("half/version", b"studbook-store 1\n");
    run("half").exits(3);
}

#[test]
fn ten_mistakes_are_told_at_once_each_at_its_place() {
    let space = Space::new();
    let mut text = PLAN.to_owned();
    let mut spoil = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        text = text.replacen(from, to, 1);
    };
    spoil("seed = \"7\"", "seed = \"7\"\nsede = 1");
    spoil("output = \"q8_0\"", "output = 8");
    spoil("seconds = 600\n", "");
    spoil("operator = \"blend\"", "operator = \"blent\"");
    spoil("parents = [\"one\", \"two\"]", "parents = [\"one\", \"tow\"]");
    spoil("density = 0.5", "density = 1.5");
    spoil(
        "[smoke]",
        "[candidates.Bad]\noperator = \"blend\"\nparents = [\"one\", \"two\"]\nweight = 1\n\n[smoke]",
    );
    spoil(
        "[review]",
        "[[eval]]\nname = \"digits\"\nkind = \"exact_match\"\ncases = \"suite.jsonl\"\n\n[review]",
    );
    spoil(
        "metric = \"exact_match\"\nsuites = [\"digits\"]\nmin",
        "metric = \"exact_mtch\"\nsuites = [\"digits\"]\nmin",
    );
    spoil("suites = [\"digits\"]\nversus", "suites = [\"digit\"]\nversus");
    spoil("no_op = \"base\"", "no_op = \"bass\"");
    space.write("plan.toml", text.as_bytes());
    // What, where, what was expected or known, what was probably meant.
    let mistakes: [(&str, &str, &str, &str); 11] = [
        ("unknown key `sede` in [cycle]", "sede", "expected one of `name`, `seed`", "did you mean `seed`?"),
        (
            "`output` in [cycle] cannot be the number 8",
            "8\n",
            "expected \"f32\", \"f16\", \"bf16\", \"q8_0\" or \"q4_0\"",
            "",
        ),
        ("[budget] needs `seconds`", "[budget]", "expected `seconds`, a whole number", ""),
        ("unknown operator `blent`", "\"blent\"", "expected one of `blend`", "did you mean `blend`?"),
        ("unknown parent `tow`", "\"tow\"", "expected one of `base`, `one`", "did you mean `two`?"),
        ("`density` cannot be 1.5", "1.5", "expected a number from 0 to 1", "Share of each difference"),
        ("begins with a letter or digit; found 'B'", "Bad", "expected a name such as `ties-0.5`", ""),
        (
            "the suite `digits` does not measure `exact_mtch`",
            "\"exact_mtch\"",
            "expected `exact_match`",
            "did you mean `exact_match`?",
        ),
        ("unknown suite `digit`", "\"digit\"", "expected `digits`", "did you mean `digits`?"),
        (
            "two suites are called `digits`",
            "\"digits\"\nkind = \"exact_match\"\ncases = \"suite.jsonl\"\n\n[review]",
            "expected a name that no other suite has",
            "",
        ),
        ("unknown parent `bass`", "\"bass\"", "expected one of `base`", "did you mean `base`?"),
    ];
    let said = space.studbook(&["check", "plan.toml"]).exits(2).complains("plan.toml has 11 errors");
    let told: Vec<&str> = said.err.split("\nerror: ").collect();
    assert_eq!(told.len(), mistakes.len(), "{}", said.err);
    for (what, at, expected, meant) in mistakes {
        let found =
            told.iter().find(|part| part.contains(what)).unwrap_or_else(|| panic!("{what}\n{}", said.err));
        let offset = text.find(at).unwrap();
        let line = text[..offset].matches('\n').count() + 1;
        let column = offset - text[..offset].rfind('\n').map_or(0, |end| end + 1) + 1;
        let place = format!("plan.toml:{line}:{column}");
        assert!(found.contains(&place), "{place} is missing from\n{found}");
        assert!(found.contains(expected) && found.contains(meant), "{expected}, {meant} in\n{found}");
    }
    plan_mistake(&space, &["11 errors"]);
}

#[test]
fn budgets_are_limits() {
    let space = Space::new();
    space.edit("plan.toml", "lambda = 0.5", "sweep = { lambda = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7] }");
    plan_mistake(
        &space,
        &["the plan declares 9 candidates", "expected at most 8", "plan.toml:8:", "sweep over less"],
    );
    let space = Space::new();
    space.edit("plan.toml", "artifact = \"1 MiB\"", "artifact = \"5 KiB\"");
    plan_mistake(
        &space,
        &[
            "would have 5568 bytes",
            "expected at most 5120",
            "plan.toml:9:",
            "store children with `output = \"q8_0\"`",
        ],
    );
    let space = Space::new();
    space.edit("plan.toml", "disk = \"8 MiB\"", "disk = 16000");
    plan_mistake(&space, &["all candidates together would have 16704 bytes", "expected at most 16000"]);
    // A sweep of sweeps is refused before it is spelled out.
    let space = Space::new();
    let many = (0..1000).map(|i| format!("0.{i:04}")).collect::<Vec<_>>().join(", ");
    let sweep = format!("sweep = {{ lambda = [{many}], weight = [{many}] }}");
    space.edit("plan.toml", "weight = 1.0\nlambda = 0.5", &sweep);
    plan_mistake(&space, &["the sweep of `tasks` makes too many candidates", "at most 100000"]);
}

#[test]
fn candidates_that_cannot_be() {
    let space = Space::new();
    space.edit("plan.toml", "[candidates.ties]", "[candidates.one]");
    plan_mistake(
        &space,
        &["the name `one` is taken", "expected a name that no parent and no other candidate has"],
    );
    let space = Space::new();
    space.edit(
        "plan.toml",
        "parents = [\"one\", \"two\", \"three\"]\nweight = 1.0\n\n",
        "parents = [\"one\", \"two\"]\nweight = [1.0, -1.0]\n\n",
    );
    plan_mistake(&space, &["the weights sum to zero", "set normalize = false", "[candidates.average]"]);
}

#[test]
fn models_that_are_none() {
    let space = Space::new();
    let whole = std::fs::read(space.path("one.slm")).unwrap();
    let noise = studbook::base::rng::Philox::for_purpose(&["noise"]);
    let noise: Vec<u8> = (0..5000).map(|i| (noise.unit(i) * 256.0) as u8).collect();
    std::fs::remove_file(space.path("base.slm")).unwrap();
    std::fs::remove_file(space.path("one.slm")).unwrap();
    std::fs::create_dir(space.path("one.slm")).unwrap();
    space.write("two.slm", &whole[..3000]);
    space.write("three.slm", &noise);
    plan_mistake(
        &space,
        &[
            "base.slm does not exist",
            "plan.toml:14:10",
            "one.slm has neither model.safetensors nor",
            "plan.toml:18:10",
            "two.slm: not a usable SLM1 file",
            "but the file has 3000: it was cut short",
            "plan.toml:21:10",
            "three.slm: not a usable SLM1 file: the file begins with",
            "an SLM1 file begins with \"SLM1\"",
            "plan.toml:24:10",
            "plan.toml has 4 errors",
        ],
    );
    // Any cut is noticed, wherever it is: the last scale ends at byte 5508, padding follows.
    for length in [0, 1, 7, 8, 127, 128, 895, 4096, 5507] {
        space.write("cut.slm", &whole[..length]);
        space.studbook(&["inspect", "cut.slm"]).exits(2).complains("cut.slm");
    }
}

#[test]
fn a_weight_that_is_no_number_fails_its_source_and_nobody_elses() {
    let space = Space::new();
    space.edit(
        "plan.toml",
        "parents = [\"one\", \"two\", \"three\"]\nweight = 1.0\n\n",
        "parents = [\"one\", \"three\"]\nweight = 1.0\n\n",
    );
    space.write("two.slm", &model(&config(), "two", DType::F32));
    let tensors = space.studbook(&["inspect", "two.slm", "--format", "json"]).exits(0).json();
    let tensors = tensors["tensors"].as_array().unwrap();
    let tensor = tensors.iter().find(|tensor| tensor["name"] == "layers.0.wk.weight").unwrap();
    let at = tensor["offset"].as_u64().unwrap() as usize + 5 * 4;
    let mut bytes = std::fs::read(space.path("two.slm")).unwrap();
    bytes[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    space.write("two.slm", &bytes);
    let why =
        format!("tensor layers.0.wk.weight, element 5 (byte {at}) is NaN; every weight must be a finite f32");
    let said = space.studbook(&["run", "plan.toml"]).exits(1).complains("source:two: ").complains(&why);
    assert!(said.err.contains("two.slm"), "{}", said.err);
    clean(&space);
    space.studbook(&["status", "plan.toml"]).exits(0).says("failed last time: source:two").says(&why);
    let report = space.studbook(&["run", "plan.toml", "--format", "json"]).exits(1).json();
    assert_eq!(report["executed"], 0);
    assert_eq!(report["failed"][0]["stage"], "source:two");
    let outcome = |row: usize| report["candidates"][row]["outcome"].as_str().unwrap().to_owned();
    assert_eq!(outcome(0), "admitted", "{report}");
    assert_ne!(outcome(1), "admitted");
    assert_ne!(outcome(2), "admitted");
    assert!(!space.path(".studbook/runs/tiny/04-operator/ties.slm").exists());
    space.studbook(&["generate", "two.slm", "-p", "a"]).exits(2).complains("is NaN");
}

#[test]
fn sampling_that_means_nothing_is_refused_at_any_temperature() {
    let space = Space::new();
    let generate = |more: &[&str]| space.studbook(&[&["generate", "one.slm", "-p", "a"], more].concat());
    for (more, why) in [
        (&["--top-k", "0"][..], "top_k = 0 is out of range"),
        (&["--top-p", "1.5"], "top_p = 1.5 is out of range"),
        (&["--top-p", "-0.5"], "top_p = -0.5 is out"),
        (&["--temperature", "-1"], "temperature = -1 is out"),
        (&["--temperature", "nan"], "temperature = NaN is out"),
        (&["--temperature", "0.8", "--top-k", "1025"], "top_k = 1025 is out"),
    ] {
        generate(more).exits(2).complains(why);
    }
    generate(&["--top-k", "-1"]).exits(2).complains("invalid value '-1' for '--top-k <K>'");
    generate(&["--temperature", "0.8", "--top-k", "5", "--top-p", "0.9"]).exits(0);
}

#[test]
fn suites_that_cannot_be_asked() {
    let spoil = |from: &str, to: &str| {
        let space = Space::new();
        space.edit("suite.jsonl", from, to);
        space
    };
    for (from, to, why) in [
        ("{\"id\":\"c4\"", "{\"id\"\"c4\"", "suite.jsonl:5: the case"),
        ("\"id\":\"c6\"", "\"id\":\"c2\"", "suite.jsonl:7: the case has the id \"c2\" of line 3 again"),
        ("\"prompt\":\"p1=\"", "\"prompt\":\"\"", "suite.jsonl:2: the case has an empty prompt"),
        (
            "\"prompt\":\"p3=\"",
            "\"promt\":\"p3=\"",
            "suite.jsonl:4: the case cannot be read: unknown field `promt`",
        ),
    ] {
        let space = spoil(from, to);
        for command in ["check", "run"] {
            space.studbook(&[command, "plan.toml"]).exits(2).complains(why);
            assert!(!space.path(".studbook").exists(), "nothing is run, and nobody is judged");
        }
    }
}

/// Runs into a full disk, then again without.
fn full_disk(fault: &str) {
    let space = Space::new();
    let said: Said = crate::space::said(space.command(&["run", "plan.toml"]).env("STUDBOOK_FAULT", fault));
    said.exits(5).complains("no storage space").complains("free some space and run again");
    clean(&space);
    space.studbook(&["run", "plan.toml"]).exits(3);
    let undisturbed = Space::new();
    undisturbed.studbook(&["run", "plan.toml"]).exits(3);
    for folder in [".studbook/runs", ".studbook/ledger", ".studbook/registry"] {
        let (ours, theirs) = (space.files(folder), undisturbed.files(folder));
        assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>(), "{fault}");
        assert!(!ours.is_empty(), "{folder}");
        for (name, bytes) in ours {
            assert!(theirs[&name] == bytes, "{folder}/{name} after {fault}");
        }
    }
    space.studbook(&["verify", "plan.toml"]).exits(0);
}

#[test]
fn a_full_disk_is_told_and_changes_no_result() {
    full_disk("blob-written:5:full");
    full_disk("blob-written:30:full");
}

#[test]
fn a_full_disk_under_small_files_is_told_and_changes_no_result() {
    full_disk("file-written:1:full");
    full_disk("file-written:3:full");
    full_disk("file-written:30:full");
}

/// Without a place to make a model again in nobody can tell whether it comes out as it was: that is no finding.
#[test]
fn a_full_disk_under_a_verification_is_not_taken_for_tampering() {
    let space = Space::new();
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    for fault in ["blob-written:1:full", "blob-written:3:full"] {
        let mut verify = space.command(&["verify", "plan.toml", "--recompute"]);
        let said = crate::space::said(verify.env("STUDBOOK_FAULT", fault)).exits(5);
        assert!(!said.out.contains("FAIL"), "{fault}: {}", said.out);
        said.complains("free some space");
    }
    space.studbook(&["verify", "plan.toml", "--recompute"]).exits(0).says(", 0 failed");
}

#[test]
fn stores_that_cannot_be_used() {
    let space = Space::new();
    let run = |store: &str| space.studbook(&["run", "plan.toml", "--store", store]).exits(5);
    run("plan.toml/store").complains("plan.toml/store").complains("hint: a part of that path is a file");
    run("/proc/studbook").complains("cannot create the folder /proc/studbook").complains("--store DIR");
    assert_eq!(space.files("").len(), 6, "nothing was made");
    space.write("newer/version", b"studbook-store 2\n");
    run("newer")
        .complains("the store newer has format 2; this program knows formats up to 1")
        .complains("use the newer studbook");
    space.write("other/version", b"1.2.3\n");
    run("other")
        .complains("other is not a Studbook store")
        .complains("\"1.2.3\\n\"")
        .complains("--store DIR");
    assert_eq!(space.files("newer").len() + space.files("other").len(), 2, "nothing was added");
    space
        .studbook(&["ledger", "log", "--store", "nowhere"])
        .exits(2)
        .complains("there is no store at nowhere");
}

#[test]
fn words_that_name_nothing() {
    let space = Space::new();
    space
        .studbook(&["why", "plan.toml", "operator:taks"])
        .exits(2)
        .complains("the plan has no stage `operator:taks`")
        .complains("did you mean `operator:tasks`?");
    space.studbook(&["why", "plan.toml", "zzzzzzzzzzzz"]).exits(2).complains("lists every stage");
    space.studbook(&["frobnicate"]).exits(2).complains("unrecognized subcommand");
    space.studbook(&["run"]).exits(2).complains("<PLAN>");
    space.studbook(&["run", "plan.toml", "--threads", "0"]).exits(2).complains("--threads");
    assert!(!space.path(".studbook").exists());
}

#[test]
fn approvals_that_approve_nothing() {
    let space = Space::new();
    let attest = |extra: &[&str]| space.studbook(&[&["attest", "plan.toml"], extra].concat());
    attest(&["ties", "--gate", "release"]).exits(2).complains("--by");
    attest(&["ties", "--by", "ada"]).exits(2).complains("--gate");
    space.studbook(&["run", "plan.toml"]).exits(3);
    let evidence = || space.files(".studbook/evidence");
    attest(&["ties", "--gate", "release", "--by", " "]).exits(2).complains("an approval needs a name");
    attest(&["tie", "--gate", "release", "--by", "ada"]).exits(2).complains("did you mean `ties`?");
    attest(&["tasks", "--gate", "release", "--by", "ada"]).exits(2).complains("it has no approval gates");
    attest(&["ties", "--gate", "relaese", "--by", "ada"]).exits(2).complains("its approval gates: release");
    assert!(evidence().is_empty());
    // A refused candidate stays refused.
    attest(&["ties", "--gate", "release", "--by", "ada", "--reject"]).exits(0);
    space.studbook(&["run", "plan.toml"]).exits(0).says("rejected by ada");
    attest(&["ties", "--gate", "release", "--by", "bob"])
        .exits(2)
        .complains("`ties` was refused; no approval changes that");
    assert_eq!(evidence().len(), 1);
}

/// Whom no gate is for would be admitted for running at all.
#[test]
fn nobody_is_admitted_without_a_gate() {
    let space = Space::new();
    let (before, rest) = PLAN.split_once("[[gate]]").unwrap();
    let (_, after) = rest.split_once("[review]").unwrap();
    let gate =
        |name: &str| format!("[[gate]]\nname = \"{name}\"\nkind = \"approval\"\nstatement = \"fit\"\n");
    let only = format!("{before}{}candidates = [\"ties\"]\n\n[review]{after}", gate("release"));
    space.write("plan.toml", only.as_bytes());
    let said = space.studbook(&["check", "plan.toml"]).exits(2).complains("plan.toml has 2 errors");
    said.complains("`average` has no gate").complains("`tasks` has no gate");
    // Results of another harness are kept beside approvals.
    let suite = "[[eval]]\nname = \"arc\"\nkind = \"external\"\ntask = \"arc\"\ntask_version = \"1\"\nuse = \"gate\"\n\n";
    let named = |name: &str| format!("{before}{suite}{}\n[review]{after}", gate(name));
    space.write("plan.toml", named("external.arc").as_bytes());
    space
        .studbook(&["check", "plan.toml"])
        .exits(2)
        .complains("the gate name `external.arc` is taken")
        .complains("the results of the suite `arc` are kept under it");
    space.write("plan.toml", named("arc").as_bytes());
    space.studbook(&["check", "plan.toml"]).exits(0);
}

/// What follows from something unreadable is not another mistake.
#[test]
fn one_slip_is_told_once() {
    let space = Space::new();
    let only = |plan: String| {
        space.write("plan.toml", plan.as_bytes());
        let said = space.studbook(&["check", "plan.toml"]).exits(2).complains("plan.toml has 1 error");
        said.err
    };
    let candidates = PLAN.find("[candidates.average]").unwrap()..PLAN.find("[smoke]").unwrap();
    let mut nameless =
        PLAN.replace("candidates = [\"tasks\"]\n", "").replace("candidates = [\"ties\"]\n", "");
    nameless.replace_range(
        candidates,
        "[candidates.One]\noperator = \"blend\"\nparents = [\"one\", \"two\", \"three\"]\n\n",
    );
    let said = only(nameless);
    assert!(said.contains("found 'O'"), "{said}");
    let said = only(PLAN.replace("q8_0", "q8").replace("artifact = \"1 MiB\"", "artifact = \"3 kB\""));
    assert!(said.contains("unknown encoding \"q8\""), "{said}");
}
