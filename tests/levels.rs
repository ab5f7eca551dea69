//! The same bits on every processor: runtime and operators built for x86-64 levels 1, 3 and 4 give the same digests.
//!
//! Level 3 brings wider vectors and fused multiply-add, level 4 wider ones still. If the compiler used either to
//! change the order or the rounding of a sum, `examples/logits_digest.rs` or `examples/operator_digest` would
//! show it. The operators' digests are those that are committed.

#![cfg(target_arch = "x86_64")]
#![expect(clippy::print_stderr, reason = "a skipped level must be seen")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// Examples and where they begin; the operators' digests come last.
const EXAMPLES: [(&str, &str); 2] =
    [("logits_digest", "logits_digest.rs"), ("operator_digest", "operator_digest/main.rs")];

#[test]
fn every_level_computes_the_same_bits() {
    let baseline = digests("x86-64");
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/operator_digests.txt");
    let operators = std::fs::read_to_string(golden).expect("the digests are committed");
    assert_eq!(baseline.lines().count(), 8 + operators.lines().count(), "{baseline}");
    assert!(
        baseline.ends_with(&operators),
        "other digests than tests/golden/operator_digests.txt:\n{baseline}"
    );
    let levels = [
        ("x86-64-v3", is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")),
        ("x86-64-v4", is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl")),
    ];
    for (level, possible) in levels {
        if possible {
            assert_eq!(digests(level), baseline, "{level} computes other bits than x86-64");
        } else {
            eprintln!("{level} is skipped: this processor cannot run it");
        }
    }
}

/// Builds the examples for one level, in a folder of their own, and runs them.
fn digests(level: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("levels");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--offline", "--manifest-path"])
        .arg(package(&folder))
        .arg("--target-dir")
        .arg(folder.join(level))
        .env("RUSTFLAGS", format!("-C target-cpu={level}"))
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .status()
        .expect("cargo runs");
    assert!(built.success(), "the examples do not build for {level}");
    EXAMPLES
        .map(|(example, _)| {
            let binary = folder.join(level).join(format!("debug/{example}{}", std::env::consts::EXE_SUFFIX));
            let output = Command::new(binary).output().expect("the example runs");
            assert!(output.status.success(), "{example} fails on {level}: {output:?}");
            String::from_utf8(output.stdout).expect("digests are text")
        })
        .concat()
}

/// The examples as a package of their own, with this crate's versions and optimisation: as examples they would drag
/// every development dependency through every level.
fn package(folder: &Path) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::create_dir_all(folder).expect("the test's folder can be made");
    std::fs::copy(root.join("Cargo.lock"), folder.join("Cargo.lock")).expect("the lock file is there");
    let binaries = EXAMPLES.map(|(example, file)| {
        format!("[[bin]]\nname = {example:?}\npath = {:?}\n\n", root.join("examples").join(file))
    });
    let manifest = format!(
        "[package]\nname = \"digests\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n{}\
         [dependencies]\nserde_json = \"1\"\n\
         studbook = {{ path = {root:?}, default-features = false, features = [\"operators\"] }}\n\n\
         [profile.dev]\nopt-level = 3\n\n[workspace]\n",
        binaries.concat(),
    );
    let path = folder.join("Cargo.toml");
    std::fs::write(&path, manifest).expect("the manifest can be written");
    path
}
