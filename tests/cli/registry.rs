//! The registry from the command line: published with signed metadata, and its default rolled back.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use serde_json::Value;
use studbook::base::digest::Sha256;

use crate::space::{Said, Space, said};

/// A cycle whose registry can be signed until 2027.
fn space() -> Space {
    let space = Space::new();
    for role in ["log", "registry"] {
        space.studbook(&["keys", "new", role]).exits(0);
    }
    space.write(
        "plan.toml",
        (space.read("plan.toml") + "\n[registry]\nexpires = \"2027-01-01\"\n").as_bytes(),
    );
    space
}

fn build(space: &Space) -> Said {
    space.studbook(&["registry", "build", "plan.toml"]).exits(3)
}

fn timestamp(space: &Space) -> Value {
    serde_json::from_str(&space.read(".studbook/registry/tiny/metadata/timestamp.json")).unwrap()
}

fn version(space: &Space) -> u64 {
    timestamp(space)["signed"]["version"].as_u64().unwrap()
}

/// Exchanges the registry of the store.
fn show(space: &Space, files: &std::collections::BTreeMap<String, Vec<u8>>) {
    std::fs::remove_dir_all(space.path(".studbook/registry/tiny")).unwrap();
    for (path, bytes) in files {
        space.write(&format!(".studbook/registry/tiny/{path}"), bytes);
    }
}

#[test]
fn a_registry_is_published_until_a_date_and_its_versions_only_rise() {
    let space = space();
    build(&space).says("default: average").says("until 2027-01-01T00:00:00Z");
    let first = version(&space);
    let files = space.files(".studbook/registry/tiny");
    build(&space).says(" 0 executed");
    assert_eq!(space.files(".studbook/registry/tiny"), files, "nothing changed, nothing is signed again");
    space
        .studbook(&["verify", "plan.toml"])
        .exits(0)
        .says(&format!("metadata version {first} until 2027-01-01"));
    // Made anew, it is the same: nothing of it came from a clock.
    std::fs::remove_dir_all(space.path(".studbook/registry/tiny")).unwrap();
    build(&space);
    assert_eq!(space.files(".studbook/registry/tiny"), files);
    // Another date is another publication, and so is the first one again.
    space.edit("plan.toml", "2027-01-01", "2028-01-01");
    build(&space);
    assert_eq!(version(&space), first + 1);
    assert!(space.path(".studbook/registry/tiny/metadata/2.root.json").exists(), "the root would end first");
    space.edit("plan.toml", "2028-01-01", "2027-01-01");
    build(&space);
    assert_eq!(version(&space), first + 2);
    assert_eq!(timestamp(&space)["signed"]["expires"], "2027-01-01T00:00:00Z");
    space.studbook(&["verify", "plan.toml"]).exits(0);
    space.studbook(&["ledger", "check", "plan.toml"]).exits(0);
}

const REGISTRY: &str = ".studbook/registry/tiny";

/// `registry serve` of a plan, ended when it is dropped.
struct Served {
    child: std::process::Child,
    port: u16,
}

impl Served {
    fn start(space: &Space) -> Self {
        let mut command = space.command(&["registry", "serve", "plan.toml", "--port", "0"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let port = line.rsplit_once("127.0.0.1:").and_then(|(_, rest)| rest.split('/').next()?.parse().ok());
        Self { child, port: port.unwrap_or_else(|| panic!("no address in {line:?}")) }
    }

    /// The first line of the answer.
    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(stream, "GET /{path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n\r\n", self.port).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned()
    }

    /// Ends it; what it said to people.
    fn end(mut self) -> String {
        self.child.kill().unwrap();
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        said
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Batch systems and containers send SIGTERM: it ends what Ctrl-C ends, and as well.
#[test]
fn a_request_to_terminate_ends_serving_as_ctrl_c_does() {
    let space = Space::new();
    build(&space);
    for signal in ["TERM", "INT"] {
        let mut served = Served::start(&space);
        let id = served.child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
        assert_eq!(served.child.wait().unwrap().code(), Some(0), "{signal}");
    }
}

#[test]
fn links_in_the_place_of_a_stores_folders_are_refused_and_what_they_lead_to_stays() {
    let space = Space::new();
    build(&space);
    let theirs = ["theirs/models/mine.slm", "theirs/index.html", "theirs/04-operator/notes"];
    theirs.iter().for_each(|path| space.write(path, b"mine"));
    let elsewhere = space.path("theirs");
    for (folder, command) in [
        (".studbook/runs/tiny", &["run", "plan.toml"][..]),
        (REGISTRY, &["registry", "build", "plan.toml"]),
        (".studbook/registry/tiny/models", &["registry", "build", "plan.toml"]),
    ] {
        let folder = space.path(folder);
        std::fs::rename(&folder, space.path("aside")).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &folder).unwrap();
        let said = space.studbook(command);
        assert!(!matches!(said.code, Some(0 | 3)), "{}", folder.display());
        let why = "it is a link or a file, and files are replaced and removed there; take it away";
        assert!((said.out + &said.err).contains(why), "{}", folder.display());
        assert_eq!(space.files("theirs").len(), theirs.len());
        assert!(theirs.iter().all(|path| space.read(path) == "mine"));
        std::fs::remove_file(&folder).unwrap();
        std::fs::rename(space.path("aside"), &folder).unwrap();
    }
    space.studbook(&["verify", "plan.toml"]).exits(0);
}

#[test]
fn what_does_not_belong_in_a_registry_is_named_not_served_not_copied() {
    for space in [Space::new(), space()] {
        build(&space);
        let served = Served::start(&space);
        let paths: Vec<String> =
            space.files(REGISTRY).into_keys().filter(|path| !path.starts_with('.')).collect();
        assert!(paths.len() > 20, "{paths:?}");
        for path in &paths {
            assert!(served.get(path).contains(" 200 "), "{path}");
        }
        space.write(&format!("{REGISTRY}/.nojekyll"), b"");
        space.write("mine", b"mine");
        for stranger in ["extra.html", "app/evil.js", "p.txt", "models/deep/x.slm", "proofs/x.html", "new/x"]
        {
            let path = space.path(REGISTRY).join(stranger);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            if stranger == "p.txt" {
                std::os::unix::fs::symlink(space.path("mine"), &path).unwrap();
            } else {
                std::fs::write(&path, "<h1>mine</h1>").unwrap();
            }
            let why = format!("{stranger} does not belong in a registry; take it away");
            assert!(served.get(stranger).contains(" 404 "), "{stranger}");
            let said = space.studbook(&["verify", "plan.toml"]).exits(4);
            assert!(said.out.contains(&why), "{}", said.out);
            space.studbook(&["registry", "serve", "plan.toml", "--port", "0"]).exits(4).complains(&why);
            space.studbook(&["registry", "build", "plan.toml", "--out", "site"]).exits(4).complains(&why);
            assert!(!space.path("site").exists());
            std::fs::remove_file(&path).unwrap();
        }
        space.studbook(&["registry", "build", "plan.toml", "--out", "site"]).exits(3);
        assert_eq!(space.files("site").into_keys().collect::<Vec<_>>(), paths);
        // Built again while it is served, with other files.
        space.edit("plan.toml", "weight = 1.0", "weight = 0.5");
        build(&space);
        let selector: Value =
            serde_json::from_str(&space.read(&format!("{REGISTRY}/selector.json"))).unwrap();
        let model = selector["entries"][0]["model"]["path"].as_str().unwrap();
        assert!(served.get(model).contains(" 200 "), "{model}");
    }
}

#[test]
fn whoever_serves_what_was_taken_back_is_told() {
    let model = Sha256::of(&std::fs::read(Space::new().path("one.slm")).unwrap()).to_hex();
    for (verb, what, why) in
        [("retire", "average", "took it back"), ("revoke", model.as_str(), "took it back")]
    {
        let space = two_admitted();
        build(&space);
        assert_eq!(Served::start(&space).end(), "");
        space.studbook(&[verb, what, "--plan", "plan.toml", "--reason", "not ours"]).exits(0);
        let said = Served::start(&space).end();
        assert!(said.contains("warning: `average` is offered, but ") && said.contains(why), "{said}");
        assert!(said.contains("build the registry again: studbook registry build plan.toml"), "{said}");
    }
}

#[test]
fn an_old_or_expired_registry_is_refused() {
    let space = space();
    build(&space);
    let old = space.files(".studbook/registry/tiny");
    space.edit("plan.toml", "2027-01-01", "2027-06-01");
    build(&space);
    let new = space.files(".studbook/registry/tiny");
    show(&space, &old);
    space.studbook(&["verify", "plan.toml"]).exits(4).says("it was rolled back");
    let without = new.iter().filter(|(path, _)| !path.starts_with("metadata/"));
    show(&space, &without.map(|(path, bytes)| (path.clone(), bytes.clone())).collect());
    space.studbook(&["verify", "plan.toml"]).exits(4).says("but ledger entry");
    // Without its newest root the chain still holds in itself: it is the one from before a change of keys.
    let root = "metadata/2.root.json";
    assert!(new.contains_key(root));
    let short = new.iter().filter(|(path, _)| *path != root);
    show(&space, &short.map(|(path, bytes)| (path.clone(), bytes.clone())).collect());
    let why = "metadata does not have the roots that ledger entry";
    space.studbook(&["verify", "plan.toml"]).exits(4).says(why);
    show(&space, &new);
    let later =
        |arguments: &[&str]| said(space.command(arguments).env("STUDBOOK_NOW", "2027-06-02T00:00:00Z"));
    space.studbook(&["verify", "plan.toml"]).exits(0);
    later(&["verify", "plan.toml"]).exits(4).says("metadata expired on 2027-06-01");
    let expired = "metadata expired on 2027-06-01T00:00:00Z, and it is 2027-06-02T00:00:00Z";
    later(&["registry", "serve", "plan.toml", "--port", "0"]).exits(4).complains(expired);
    later(&["registry", "build", "plan.toml"]).exits(4).complains("write a later `expires`");
}

#[test]
fn without_key_or_date_nothing_is_signed_and_it_says_so() {
    let space = Space::new();
    build(&space).says("signed metadata: none, there is no registry key");
    assert!(!space.path(".studbook/registry/tiny/metadata").exists());
    space.studbook(&["verify", "plan.toml"]).exits(0).says("no signed metadata");
    space.studbook(&["keys", "new", "registry"]).exits(0);
    build(&space).says("signed metadata: none, the plan has no `expires` under [registry]");
    space.write(
        "plan.toml",
        (space.read("plan.toml") + "\n[registry]\nexpires = \"2027-01-01\"\n").as_bytes(),
    );
    build(&space).says("signed metadata: version");
    // What was signed once is never shown unsigned: browsers that saw it would refuse it.
    std::fs::rename(space.path("keys"), space.path("away")).unwrap();
    build(&space);
    space.edit("plan.toml", "parents = 2", "parents = 1");
    space.edit("plan.toml", "expires = \"2027-01-01\"", "expires = \"2028-01-01\"");
    space
        .studbook(&["registry", "build", "plan.toml"])
        .exits(1)
        .complains("published this registry with signed metadata")
        .complains("it needs a registry key");
}

/// `STUDBOOK_TUF_PYTHON` names a Python that has the package `tuf`; without it this test says so and passes.
#[test]
fn python_tuf_reads_a_built_registry() {
    let Some(python) = std::env::var_os("STUDBOOK_TUF_PYTHON") else {
        #[expect(clippy::print_stderr, reason = "the one message of a test that cannot run here")]
        {
            eprintln!("NOT RUN: STUDBOOK_TUF_PYTHON names no Python with the package tuf");
        }
        return;
    };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tuf_accepts.py");
    let space = space();
    // Not before 2100: python-tuf asks the clock.
    space.edit("plan.toml", "2027-01-01", "2100-01-01");
    build(&space);
    space.studbook(&["registry", "build", "plan.toml", "--out", "first"]).exits(3);
    space.edit("plan.toml", "2100-01-01", "2101-01-01");
    space.studbook(&["registry", "build", "plan.toml", "--out", "second"]).exits(3);
    let read = |source: &str| {
        let mut command = Command::new(&python);
        command.arg(script).arg(source).current_dir(space.path("")).arg("--again").arg("seen");
        std::fs::create_dir_all(space.path("seen")).unwrap();
        said(&mut command)
    };
    let first = read("first").exits(0).json();
    let second = read("second").exits(0).json();
    assert_eq!(second["versions"]["root"], 2);
    assert_eq!(second["versions"]["timestamp"], first["versions"]["timestamp"].as_u64().unwrap() + 1);
    let targets = second["targets"].as_object().unwrap();
    for name in
        ["selector.json", "models/average.slm", "records/average.evaluation.digits.json", "index.html"]
    {
        assert!(targets.contains_key(name), "no {name} in {:?}", targets.keys());
    }
    let said = read("first");
    assert!(said.code != Some(0) && said.err.contains("timestamp"), "{}", said.err);
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tuf_metadata.json");
    let fixture = crate::space::said(Command::new(&python).arg(script).arg(fixture)).exits(0).json();
    assert_eq!(
        fixture["versions"],
        serde_json::json!({ "root": 2, "timestamp": 7, "snapshot": 7, "targets": 7 })
    );
}

/// A browser skips an integrity of a kind it does not know, as if there were none.
#[test]
fn the_threat_of_an_integrity_that_no_browser_knows() {
    let space = space();
    build(&space);
    space.studbook(&["verify", "plan.toml"]).exits(0);
    let page = ".studbook/registry/tiny/index.html";
    let good = space.read(page);
    assert!(good.contains("integrity=\"sha256-"), "{good}");
    for token in ["sha9-", "md5-", "SHA256-", " sha256-"] {
        space
            .write(page, good.replacen("integrity=\"sha256-", &format!("integrity=\"{token}"), 1).as_bytes());
        space.studbook(&["verify", "plan.toml"]).exits(4).says("FAIL  registry: index.html ");
        space.studbook(&["registry", "serve", "plan.toml", "--port", "0"]).exits(4).complains("index.html ");
    }
}

/// Ids that look like another's, or are one where case does not count.
#[test]
fn the_threat_of_confusable_ids() {
    let space = space();
    build(&space);
    let selector = ".studbook/registry/tiny/selector.json";
    let good = space.read(selector);
    for id in ["Average", "\u{430}verage", "average\u{200b}", "average ", "../average", "%2e%2e"] {
        space.write(selector, good.replace("\"id\":\"average\"", &format!("\"id\":\"{id}\"")).as_bytes());
        let said = space.studbook(&["verify", "plan.toml"]).exits(4);
        assert!(
            said.out.contains("FAIL  registry: ") && said.out.contains("lower-case letters"),
            "{}",
            said.out
        );
    }
}

/// The cycle of the plan with two admitted candidates, `average` and then `tasks`.
fn two_admitted() -> Space {
    let space = Space::new();
    space.edit("plan.toml", "min = 0.5\ncandidates = [\"tasks\"]", "min = 0.0\ncandidates = [\"tasks\"]");
    space
}

#[test]
fn the_default_goes_back_to_an_earlier_admission() {
    let space = two_admitted();
    build(&space).says("2 models").says("default: tasks");
    let back = |whom: &str| {
        space.studbook(&["rollback", whom, "--plan", "plan.toml", "--reason", "it rhymes badly"])
    };
    back("tasks").exits(2).complains("is the last admission already");
    back("ties").exits(2).complains("the ledger never admitted it");
    back("nobody").exits(2).complains("has no candidate");
    back("average").exits(0).says("the default of tiny goes back to tiny/average");
    build(&space).says("2 models").says("default: average");
    space.studbook(&["ledger", "log", "plan.toml"]).exits(0).says("rollback");
    space.studbook(&["verify", "plan.toml"]).exits(0);
    // Forward again is a decision, too; then the same way back is a new one.
    back("tasks").exits(0);
    build(&space).says("default: tasks");
    back("average").exits(0);
    build(&space).says("default: average");
    let empty = ["rollback", "tasks", "--plan", "plan.toml", "--reason", " "];
    space.studbook(&empty).exits(2).complains("a reason is needed");
}

#[test]
fn nothing_goes_back_to_what_was_taken_back() {
    for (verb, why) in [("retire", "retires it"), ("revoke", "revokes")] {
        let space = two_admitted();
        build(&space);
        space
            .studbook(&[verb, "average", "--plan", "plan.toml", "--reason", "its data was not ours"])
            .exits(0);
        let back = ["rollback", "average", "--plan", "plan.toml", "--reason", "it was better"];
        space.studbook(&back).exits(2).complains("nothing goes back to tiny/average").complains(why);
        build(&space).says("1 model,").says("default: tasks");
    }
}

#[test]
fn an_earlier_candidate_of_the_same_name_is_offered_again() {
    let space = two_admitted();
    build(&space);
    let selector = |space: &Space| -> Value {
        serde_json::from_str(&space.read(".studbook/registry/tiny/selector.json")).unwrap()
    };
    let manifest = |value: &Value| value["entries"][1]["manifest"].as_str().unwrap().to_owned();
    let first = selector(&space);
    space.edit("plan.toml", "lambda = 0.5", "lambda = 0.25");
    build(&space).says("default: tasks");
    let second = selector(&space);
    assert_ne!(manifest(&first), manifest(&second));
    let digest = manifest(&first);
    space.studbook(&["rollback", &digest, "--plan", "plan.toml", "--reason", "0.5 was better"]).exits(0);
    build(&space).says("2 models").says("default: tasks");
    let third = selector(&space);
    assert_eq!(third["entries"], first["entries"], "the same files, the same evidence");
    space.studbook(&["verify", "plan.toml"]).exits(0);
    // Back and back again: who is not shown is told once.
    let digest = manifest(&second);
    space.studbook(&["rollback", &digest, "--plan", "plan.toml", "--reason", "0.25 was better"]).exits(0);
    let digest = manifest(&first);
    space.studbook(&["rollback", &digest, "--plan", "plan.toml", "--reason", "0.5 was, after all"]).exits(0);
    let said = build(&space);
    assert_eq!(said.out.matches("left out: tasks").count(), 1, "{}", said.out);
}

/// The same plan for another cycle of the same store.
fn run_another_cycle(space: &Space) {
    let other = space.read("plan.toml").replace("name = \"tiny\"", "name = \"other\"");
    space.write("other.toml", other.as_bytes());
    space.studbook(&["run", "other.toml", "--quiet"]).exits(3);
}

#[test]
fn a_registry_that_the_ledger_outgrew_is_no_tampering() {
    for (space, shown) in [(Space::new(), "3 of 6"), (space(), "4 of 8")] {
        build(&space);
        run_another_cycle(&space);
        let outgrown = format!("  ok  registry:tiny: shows {shown} ledger entries");
        let said = space.studbook(&["verify", "plan.toml"]).exits(0).says(", 0 failed");
        said.says(&outgrown).says("the next run renews it").says("  ok  registry: ");
        let retire = |whom: &str| space.studbook(&["retire", whom, "--plan", "plan.toml", "--reason", "old"]);
        retire("other/average").exits(0);
        space.studbook(&["verify", "plan.toml"]).exits(0).says("registry:tiny: shows ");
        // What it shows must be what the log begins with all the same.
        let checkpoint = ".studbook/registry/tiny/checkpoint";
        let good = space.read(checkpoint);
        space.write(checkpoint, space.read(".studbook/ledger/checkpoint").as_bytes());
        let lapsed = "FAIL  registry:tiny: what it left outside its record is no longer there as it was";
        space.studbook(&["verify", "plan.toml"]).exits(4).says(lapsed);
        space.write(checkpoint, good.as_bytes());
        space.studbook(&["verify", "plan.toml"]).exits(0);
        build(&space);
        let said = space.studbook(&["verify", "plan.toml"]).exits(0);
        assert!(!said.out.contains("renews"), "{}", said.out);
        // Nobody who was taken back is shown, however much of the ledger is.
        retire("tiny/average").exits(0);
        space.studbook(&["verify", "plan.toml"]).exits(4).says(lapsed);
    }
}

#[test]
fn a_registry_of_the_days_before_the_log_was_signed_is_no_tampering() {
    let space = Space::new();
    build(&space);
    space.studbook(&["keys", "new", "log"]).exits(0);
    space.studbook(&["ledger", "sign", "plan.toml", "--key", "keys/log.pem"]).exits(0);
    let shown = "  ok  registry:tiny: shows 3 of 3 ledger entries";
    space.studbook(&["verify", "plan.toml"]).exits(0).says(shown).says("the next run renews it");
    // A key that is none of the log's vouches for nothing.
    let log = ".studbook/registry/tiny/ledger.json";
    let other = format!("\"keys\":[\"{}\"]", "A".repeat(43) + "=");
    space.edit(log, "\"keys\":[]", &other);
    space.studbook(&["verify", "plan.toml"]).exits(4).says("FAIL  registry:tiny: ");
    build(&space);
    space.studbook(&["verify", "plan.toml"]).exits(0).says("registry:tiny: bytes match");
}
