//! What other people's tools said of a dossier, held against the bytes that are written today.
//!
//! `tests/fixtures/dossier_verdicts.py` gives a dossier to the tools (model_signing, the CycloneDX schema, the
//! libraries of Hugging Face, in-toto, Sigstore and RO-Crate, securesystemslib) and writes down which versions
//! accepted which bytes. Here the same dossier is made again: its bytes must be those. Who changes a format
//! asks the tools again:
//!
//! ```sh
//! STUDBOOK_DOSSIER=/tmp/dossier cargo test --test cli verdicts::
//! python tests/fixtures/dossier_verdicts.py /tmp/dossier tests/fixtures/dossier_verdicts.json
//! ```

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use studbook::base::digest::Sha256;
use studbook::base::{base64, canonical};
use studbook::record::attest::{BuildFacts, Bundle, Machine, Statement};
use studbook::trust::SecretKey;

use crate::space::{PLAN, Space};

const ROLES: [&str; 5] = ["producer", "evaluator", "promoter", "log", "registry"];

/// Secrets that everybody knows.
fn seeded(role: usize) -> SecretKey {
    SecretKey::from_seed(&[100 + role as u8; 32])
}

/// The folder that the tools were given: a dossier `d` signed by fixed keys, and a provenance that tells what
/// made the child.
fn folder() -> Space {
    let space = Space::new();
    let plan = PLAN.replace("source = \"", "licence = \"Apache-2.0\"\nsource = \"");
    space.write("plan.toml", plan.as_bytes());
    for (at, role) in ROLES.into_iter().enumerate() {
        let key = seeded(at);
        space.write(&format!("keys/{role}.pem"), key.to_pem().as_bytes());
        space.write(&format!("keys/{role}.pub.pem"), key.public().to_pem().as_bytes());
    }
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    for (from, to) in [("p256.pem", "keys/model.pem"), ("p256.pub.pem", "keys/model.pub.pem")] {
        space.write(to, &std::fs::read(fixtures.join(from)).unwrap());
    }
    for key in std::fs::read_dir(space.path("keys")).unwrap() {
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(key.unwrap().path(), private).unwrap();
    }
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    // Signed again without what was noted of this machine, everything is the same everywhere.
    std::fs::remove_dir_all(space.path(".studbook/builds")).unwrap();
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    space.write("out/model.pub.pem", space.read("keys/model.pub.pem").as_bytes());
    space.studbook(&["export", "plan.toml", "average", "--out", "out/d"]).exits(0);
    space.write("out/provenance.sigstore.json", &told(&space));
    space
}

/// The dossier's provenance with what a machine would add to it.
fn told(space: &Space) -> Vec<u8> {
    let bundle: Value =
        serde_json::from_str(&space.read("out/d/bundles/04-operator/average.sigstore.json")).unwrap();
    let payload = base64::decode(bundle["dsseEnvelope"]["payload"].as_str().unwrap()).unwrap();
    let statement: Statement = canonical::from_slice(&payload).unwrap();
    let facts = BuildFacts {
        program: Sha256::of(b"studbook"),
        version: "0.1.0".to_owned(),
        machine: Machine {
            architecture: "x86_64".to_owned(),
            features: vec!["sse3".to_owned(), "avx2".to_owned()],
            system: "linux".to_owned(),
            vectors: "avx2".to_owned(),
        },
    };
    Bundle::sign(&facts.told_in(statement), &seeded(0)).unwrap().to_bytes()
}

#[test]
fn what_is_written_is_what_other_tools_accepted() {
    let space = folder();
    let written: BTreeMap<String, String> =
        space.files("out").into_iter().map(|(path, bytes)| (path, Sha256::of(&bytes).to_hex())).collect();
    if let Some(place) = std::env::var_os("STUDBOOK_DOSSIER") {
        for (path, bytes) in space.files("out") {
            let path = Path::new(&place).join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
    }
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/dossier_verdicts.json");
    let verdicts: Value = serde_json::from_slice(&std::fs::read(fixture).unwrap()).unwrap();
    let verdicts = verdicts.as_object().unwrap();
    let mut judged = BTreeMap::new();
    for (tool, verdict) in verdicts {
        assert_eq!(verdict["verdict"], "accepted", "{tool}: {verdict}");
        for (path, digest) in verdict["files"].as_object().unwrap() {
            judged.insert(path.clone(), digest.as_str().unwrap().to_owned());
        }
    }
    let changed: Vec<&String> =
        judged.keys().filter(|path| judged.get(*path) != written.get(*path)).collect();
    assert!(
        changed.is_empty(),
        "not the bytes that were accepted, ask the tools again as told above: {changed:?}"
    );
    // Nothing in the folder was left out but the key that a reader brings.
    let unseen: Vec<&String> = written.keys().filter(|path| !judged.contains_key(*path)).collect();
    assert_eq!(unseen, ["model.pub.pem"]);
    let tools: Vec<&String> = verdicts.keys().collect();
    let expected = [
        "cyclonedx-python-lib",
        "huggingface_hub",
        "in-toto-attestation",
        "model-signing",
        "rocrate",
        "securesystemslib",
        "sha256sum",
        "sigstore-models",
    ];
    assert_eq!(tools, expected);
}
