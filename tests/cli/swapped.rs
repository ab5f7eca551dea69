//! A model that lies in the store under another one's digest: the run fails and names it, and whoever verifies
//! is told, even where the memory of files was made to fit.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use studbook::base::digest::Digest;
use studbook::disk::stamps;

use crate::space::{PLAN, Space};

/// A first cycle, which admits `average` and refuses `tasks`, and a second one with `average` as a parent.
fn two_cycles() -> Space {
    let space = Space::new();
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    let pool = "from_recipe = \".studbook/runs/tiny/12-recipe/pool.toml\"\nplace = 1";
    let second = PLAN.replace("name = \"tiny\"", "name = \"second\"");
    space.write("second.toml", second.replacen("source = \"one.slm\"", pool, 1).as_bytes());
    space
}

fn artifact(space: &Space, candidate: &str) -> PathBuf {
    std::fs::canonicalize(space.path(&format!(".studbook/runs/tiny/04-operator/{candidate}.slm"))).unwrap()
}

/// Puts the refused child where the admitted one was; says by which digest that is known.
fn swap(space: &Space) -> String {
    let (admitted, refused) = (artifact(space, "average"), artifact(space, "tasks"));
    let digest = Digest::of(&std::fs::read(&admitted).unwrap()).to_hex();
    std::fs::remove_file(&admitted).unwrap();
    std::fs::copy(&refused, &admitted).unwrap();
    digest
}

/// Makes the store remember that the file there was hashed, long after it was written, and had the digest
/// it is called by.
fn make_remembered(space: &Space, digest: &str) {
    let path = space.path(&format!(".studbook/objects/{}/{}", &digest[..2], &digest[2..]));
    let found = path.metadata().unwrap();
    let at = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
    let modified = at(found.mtime(), found.mtime_nsec());
    let changed = at(found.ctime(), found.ctime_nsec());
    let hashed = stamps::now() + 10_000_000_000;
    let path = path.display().to_string();
    let line = format!(
        "{digest} {} {} {} {modified} {changed} {hashed} {path}\n",
        found.dev(),
        found.ino(),
        found.len()
    );
    let memory = space.read(".studbook/index/stamps");
    let others = memory.lines().filter(|line| !line.ends_with(&path));
    let memory: String = others.map(|line| format!("{line}\n")).chain([line]).collect();
    space.write(".studbook/index/stamps", memory.as_bytes());
}

#[test]
fn the_threat_of_a_refused_child_in_the_place_of_a_pool_parent() {
    let space = two_cycles();
    let digest = swap(&space);
    let damaged = format!("the model of `average` is not in this store: the blob {digest} is damaged");
    space.studbook(&["run", "second.toml"]).exits(4).complains(&damaged);
    assert!(!space.path(".studbook/runs/second").exists());
    // Remembered wrongly it is opened; its other digest tells.
    make_remembered(&space, &digest);
    space
        .studbook(&["run", "second.toml", "--quiet"])
        .exits(1)
        .complains("`one` cannot be a parent: the record ")
        .complains("offers a model with the SHA-256 ");
    // What the message says to do works.
    std::fs::remove_file(space.path(".studbook/index/stamps")).unwrap();
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    space.studbook(&["run", "second.toml", "--quiet"]).exits(3);
    space.studbook(&["verify", "second.toml", "--recompute"]).exits(0);
}

/// The registry's copy of an admitted child is good; that it could be used instead is no reason to be silent.
#[test]
fn a_good_copy_elsewhere_does_not_hide_the_swap() {
    let space = two_cycles();
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    let digest = swap(&space);
    assert!(
        space.read(".studbook/index/stamps").matches(&digest).count() > 1,
        "known by the registry's copy, too"
    );
    space.studbook(&["check", "second.toml"]).exits(4).complains(&format!("the blob {digest} is damaged"));
}

#[test]
fn verify_reads_the_model_of_a_pool_parent_again() {
    let space = two_cycles();
    space.studbook(&["run", "second.toml", "--quiet"]).exits(3);
    let digest = swap(&space);
    make_remembered(&space, &digest);
    let damaged = format!("the blob {digest} is damaged");
    let said = space.studbook(&["verify", "second.toml"]).exits(4);
    for stage in ["source:one", "operator:average"] {
        let found = said
            .out
            .lines()
            .any(|line| line.contains(&format!("FAIL  {stage}: ")) && line.contains(&damaged));
        assert!(found, "{stage}\n{}", said.out);
    }
}

#[test]
fn the_threat_of_a_refused_child_in_the_place_of_the_champion() {
    let space = two_cycles();
    let next = PLAN.replace("name = \"tiny\"", "name = \"next\"").replace("best-parent", "champion");
    space.write("next.toml", next.as_bytes());
    space.studbook(&["run", "next.toml", "--quiet"]).exits(3);
    let digest = swap(&space);
    space.studbook(&["run", "next.toml"]).exits(4).complains(&format!(
        "the model of the champion `average` is not in this store: the blob {digest} is"
    ));
    make_remembered(&space, &digest);
    space
        .studbook(&["verify", "next.toml"])
        .exits(4)
        .says(&format!("source:champion: model: the blob {digest}"));
}
