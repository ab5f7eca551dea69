//! What a stranger hands over is refused with its reason and exit code 4, in bounded memory and at once:
//! files as large as a disk, keys of others, predicates nobody knows, proofs that are gone.

use serde_json::Value;
use studbook::base::{base64, canonical};
use studbook::record::attest::{Bundle, Statement};
use studbook::trust::keyring;

use crate::space::{Said, Space, said};

/// A terabyte with nothing in it.
const DISK: u64 = 1 << 40;
/// What a process may take of memory, in KiB: enough to map a model and to start, too little to read one.
const MEMORY: &str = "4000000";

/// A signed cycle, and the dossier `d` of one candidate with the trust file beside it.
fn signed() -> Space {
    let space = Space::new();
    for role in ["producer", "evaluator", "promoter", "log", "registry", "model"] {
        space.studbook(&["keys", "new", role, "--trust", "trust.toml"]).exits(0);
    }
    space.write(
        "plan.toml",
        (space.read("plan.toml") + "\n[registry]\nexpires = \"2027-01-01\"\n").as_bytes(),
    );
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    space.studbook(&["export", "plan.toml", "average", "--out", "d"]).exits(0);
    space
}

/// Runs the binary with little memory.
fn bounded(space: &Space, arguments: &[&str]) -> Said {
    let studbook = space.command(&[]);
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "ulimit -v \"$0\" && exec \"$@\"", MEMORY]).arg(studbook.get_program());
    command.args(arguments).current_dir(space.path("")).env("STUDBOOK_NOW", "2026-01-01T00:00:00Z");
    said(command.env("NO_COLOR", "1"))
}

/// Makes a file as large as a disk, does something, and puts back what was there.
fn as_large_as_a_disk<T>(space: &Space, name: &str, look: impl FnOnce() -> T) -> T {
    let (path, before) = (space.path(name), std::fs::read(space.path(name)).unwrap());
    let open = std::fs::File::options().write(true).open(&path);
    // Blobs and results are read-only.
    let file = open.unwrap_or_else(|_| {
        std::fs::remove_file(&path).unwrap();
        space.write(name, &before);
        std::fs::File::options().write(true).open(&path).unwrap()
    });
    file.set_len(DISK).unwrap();
    let seen = look();
    std::fs::remove_file(&path).unwrap();
    space.write(name, &before);
    seen
}

#[test]
fn no_part_of_a_dossier_is_read_as_large_as_a_disk() {
    let space = signed();
    let verify = || bounded(&space, &["verify", "d", "--trust", "trust.toml"]);
    verify().exits(0);
    for name in [
        "bundles/09-admission/average.sigstore.json",
        "model.sig",
        "ledger/decision.tlog-proof",
        "SHA256SUMS",
    ] {
        as_large_as_a_disk(&space, &format!("d/{name}"), verify)
            .exits(4)
            .says("1099511627776 bytes, too many for a document of a dossier");
    }
    as_large_as_a_disk(&space, "d/model/average.slm", verify)
        .exits(4)
        .says("has 1099511627776 bytes, more than the receipt of the model");
    verify().exits(0);
}

#[test]
fn no_part_of_a_store_is_read_as_large_as_a_disk() {
    let space = signed();
    let verify = || bounded(&space, &["verify", "plan.toml"]);
    verify().exits(0);
    let first = |folder: &str| format!("{folder}/{}", space.files(folder).keys().next().unwrap());
    as_large_as_a_disk(&space, &first(".studbook/attestations"), verify)
        .exits(4)
        .says("is no plain file of at most");
    let registry = ".studbook/registry/tiny";
    for name in
        ["selector.json", "metadata/timestamp.json", "metadata/1.root.json", "checkpoint", "index.html"]
    {
        let said = as_large_as_a_disk(&space, &format!("{registry}/{name}"), verify).exits(4);
        assert!(said.out.contains("FAIL  registry"), "{name}: {}", said.out);
    }
    let model = first(&format!("{registry}/models"));
    as_large_as_a_disk(&space, &model, verify).exits(4).says("FAIL  registry");
    let check = || bounded(&space, &["ledger", "check", "plan.toml"]);
    for name in ["checkpoint", "tile/entries/000.p/"] {
        let file = if name.ends_with('/') {
            first(&format!(".studbook/ledger/{name}"))
        } else {
            format!(".studbook/ledger/{name}")
        };
        let said = as_large_as_a_disk(&space, &file, check).exits(4);
        assert!(said.err.contains(" bytes"), "{name}: {}", said.err);
    }
    space.studbook(&["ledger", "prove", "plan.toml", "average", "--out", "a.tlog-proof"]).exits(0);
    let proof = || bounded(&space, &["ledger", "check", "plan.toml", "--proof", "a.tlog-proof"]);
    proof().exits(0);
    as_large_as_a_disk(&space, "a.tlog-proof", proof).exits(4).complains("the proof has more than");
    as_large_as_a_disk(&space, "trust.toml", verify).exits(2).complains("a trust file has at most");
    // What is worth nothing is made again, whatever became of it.
    let run = || bounded(&space, &["run", "plan.toml", "--quiet"]);
    as_large_as_a_disk(&space, ".studbook/runs/tiny/09-admission/average.json", run).exits(3);
    as_large_as_a_disk(&space, &first(".studbook/actions"), run).exits(3);
    verify().exits(0);
}

#[test]
fn a_predicate_that_nobody_knows_is_refused() {
    let space = signed();
    let path = "d/bundles/09-admission/average.sigstore.json";
    let bundle: Value = serde_json::from_str(&space.read(path)).unwrap();
    let payload = base64::decode(bundle["dsseEnvelope"]["payload"].as_str().unwrap()).unwrap();
    let mut statement: Statement = canonical::from_slice(&payload).unwrap();
    statement.predicate_type = "https://example.com/approved/v9".to_owned();
    let promoter = keyring::read_secret(&space.path("keys/promoter.pem")).unwrap();
    space.write(path, &Bundle::sign(&statement, &promoter).unwrap().to_bytes());
    let why = "the predicate is \"https://example.com/approved/v9\", expected \"https://slsa.dev/verification_summary/v1\"";
    space.studbook(&["verify", "d", "--trust", "trust.toml"]).exits(4).says(why);
    space.studbook(&["verify", "d"]).exits(4).says(why);
}

#[test]
fn the_key_of_another_role_or_of_a_stranger_is_refused() {
    let space = signed();
    let path = "d/bundles/09-admission/average.sigstore.json";
    let bundle: Value = serde_json::from_str(&space.read(path)).unwrap();
    let payload = base64::decode(bundle["dsseEnvelope"]["payload"].as_str().unwrap()).unwrap();
    let statement: Statement = canonical::from_slice(&payload).unwrap();
    space.studbook(&["keys", "new", "promoter", "--name", "mallory"]).exits(0);
    for (key, why) in [
        ("evaluator", "the evaluator key `evaluator` may not sign admission records"),
        ("promoter.mallory", "is not in the trust file"),
    ] {
        let key = keyring::read_secret(&space.path(&format!("keys/{key}.pem"))).unwrap();
        space.write(path, &Bundle::sign(&statement, &key).unwrap().to_bytes());
        space.studbook(&["verify", "d", "--trust", "trust.toml"]).exits(4).says(why);
    }
}

#[test]
fn a_proof_that_is_gone_is_missed() {
    let space = signed();
    for name in ["ledger/decision.tlog-proof", "ledger/plan.tlog-proof", "ledger/checkpoint"] {
        std::fs::rename(space.path(&format!("d/{name}")), space.path("aside")).unwrap();
        let said = space.studbook(&["verify", "d"]).exits(4);
        said.says(&format!("{name:?} is missing"));
        std::fs::rename(space.path("aside"), space.path(&format!("d/{name}"))).unwrap();
    }
    // In the registry a browser would look for it, and so does whoever verifies.
    let proofs = space.files(".studbook/registry/tiny/proofs");
    let name = proofs.keys().next().unwrap();
    std::fs::remove_file(space.path(&format!(".studbook/registry/tiny/proofs/{name}"))).unwrap();
    space.studbook(&["verify", "plan.toml"]).exits(4).says("FAIL  registry");
    let no_such = ["ledger", "check", "plan.toml", "--proof", "none.tlog-proof"];
    space.studbook(&no_such).complains("cannot read the proof none.tlog-proof");
}

#[test]
fn a_registry_past_its_date_is_refused() {
    let space = signed();
    let later =
        |arguments: &[&str]| said(space.command(arguments).env("STUDBOOK_NOW", "2027-01-02T00:00:00Z"));
    later(&["verify", "plan.toml"]).exits(4).says("metadata expired on 2027-01-01T00:00:00Z");
    later(&["registry", "serve", "plan.toml", "--port", "0"])
        .exits(4)
        .complains("metadata expired on 2027-01-01");
}
