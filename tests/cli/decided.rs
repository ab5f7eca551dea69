//! What was decided once: a refusal is the last word, whoever asks, and a retirement is of the model.

use serde_json::Value;

use crate::space::{PLAN, Said, Space};

fn run(space: &Space, code: i32) -> Said {
    space.studbook(&["run", "plan.toml"]).exits(code)
}

fn word_on_ties(space: &Space, word: &[&str]) -> Said {
    let attest =
        ["attest", "plan.toml", "ties", "--gate", "release", "--by", "ada", "--reason", "looked at it"];
    space.studbook(&[&attest, word].concat())
}

/// The cycle of the plan with `ties` approved, and everybody who was admitted in its pool.
fn approved() -> Space {
    let space = Space::new();
    space.edit("plan.toml", "[recipe]\nparents = 2", "[recipe]\nparents = 8");
    run(&space, 3);
    word_on_ties(&space, &[]).exits(0);
    run(&space, 0).says("ties       admitted");
    let pool = space.read(".studbook/runs/tiny/12-recipe/pool.toml");
    assert!(pool.contains("name = \"ties\""), "{pool}");
    space.write("pool.toml", pool.as_bytes());
    space
}

/// A later cycle that starts from `ties`, as the old pool offers it.
fn next(space: &Space) {
    let pool = space.read("pool.toml");
    let mut names = pool.lines().filter(|line| line.starts_with("name = "));
    let place = names.position(|line| line == "name = \"ties\"").unwrap() + 1;
    let from = format!("from_recipe = \"pool.toml\"\nplace = {place}");
    let plan = PLAN.replace("name = \"tiny\"", "name = \"next\"").replace("source = \"one.slm\"", &from);
    space.write("next.toml", plan.as_bytes());
}

#[test]
fn who_is_rejected_after_the_admission_is_admitted_no_more_to_anybody() {
    let space = approved();
    next(&space);
    space.studbook(&["check", "next.toml"]).exits(0);
    let lineage = |space: &Space, whom: &str| {
        space.studbook(&["lineage", "plan.toml", whom, "--format", "json"]).exits(0).json()
    };
    assert_eq!(lineage(&space, "tiny/ties")["verdict"], "admitted");

    word_on_ties(&space, &["--reject"]).exits(0);
    run(&space, 0).says("ties       refused   release: rejected by ada");
    space.studbook(&["verify", "plan.toml"]).exits(0).says(", 0 failed");
    assert_eq!(lineage(&space, "tiny/ties")["verdict"], "refused");
    let selector: Value = serde_json::from_str(&space.read(".studbook/registry/tiny/selector.json")).unwrap();
    assert_eq!(selector["default"], "average");
    space
        .studbook(&["check", "next.toml"])
        .exits(2)
        .complains("the pool of `tiny` cannot offer `ties`: ledger entry");
    let back =
        |whom: &str| space.studbook(&["rollback", whom, "--plan", "plan.toml", "--reason", "r"]).exits(2);
    back("tiny/ties").complains("nothing goes back to tiny/ties").complains("refuses it");
    back("tiny/average").complains("is the last admission already");
    let retire = ["retire", "tiny/ties", "--plan", "plan.toml", "--reason", "r"];
    space.studbook(&retire).exits(2).complains("is not admitted");
    let third = PLAN.replace("name = \"tiny\"", "name = \"third\"");
    space.write("third.toml", third.replace("versus = \"best-parent\"", "versus = \"champion\"").as_bytes());
    space.studbook(&["run", "third.toml", "--quiet"]).exits(3);
    let champion = space.read(".studbook/runs/third/01-source/champion.json");
    let champion = &serde_json::from_str::<Value>(&champion).unwrap()["body"]["origin"]["manifest"];
    assert_eq!(*champion, lineage(&space, "tiny/average")["record"]);
}

#[test]
fn a_refusal_is_final_whatever_is_brought_or_lost() {
    let space = approved();
    word_on_ties(&space, &["--reject"]).exits(0);
    run(&space, 0).says("ties       refused   release: rejected by ada");
    word_on_ties(&space, &[]).exits(2).complains("no approval changes that");
    std::fs::remove_dir_all(space.path(".studbook/evidence")).unwrap();
    word_on_ties(&space, &[]).exits(2).complains("`ties` was refused by ledger entry");
    run(&space, 0).says("ties       refused   not-refused: ledger entry");
    space.studbook(&["verify", "plan.toml"]).exits(0).says(", 0 failed");
    // Another manifest of the same bytes stands before the same gate.
    space.edit("plan.toml", "seconds = 600", "seconds = 601");
    run(&space, 0).says("the same bytes were rejected at the gate `release`");
    space.studbook(&["verify", "plan.toml"]).exits(0).says(", 0 failed");
    space.edit("plan.toml", "seconds = 601", "seconds = 600");
    run(&space, 0).says("ties       refused   not-refused: ledger entry");
    space.studbook(&["verify", "plan.toml"]).exits(0).says(", 0 failed");
    // Other bytes are looked at anew.
    space.edit("plan.toml", "density = 0.5", "density = 0.75");
    run(&space, 3);
    word_on_ties(&space, &[]).exits(0);
    run(&space, 0).says("ties       admitted");
}

#[test]
fn no_record_of_a_rejected_candidate_is_lost_for_its_good() {
    let space = approved();
    word_on_ties(&space, &["--reject"]).exits(0);
    run(&space, 0);
    let bytes = std::fs::read(space.path(".studbook/runs/tiny/05-candidate/ties.json")).unwrap();
    let digest = studbook::base::digest::Digest::of(&bytes).to_hex();
    std::fs::remove_file(space.path(&format!(".studbook/objects/{}/{}", &digest[..2], &digest[2..])))
        .unwrap();
    space.edit("plan.toml", "seconds = 600", "seconds = 601");
    let said = run(&space, 4);
    let told = said.out.clone() + &said.err;
    assert!(told.contains("of which ledger entry") && told.contains("is the refusal"), "{told}");
}

/// What a person said is in the refusal that the ledger binds: without it nobody can tell whether there was anything.
#[test]
fn a_rejection_that_cannot_be_read_closes_the_gate() {
    let space = approved();
    word_on_ties(&space, &["--reject"]).exits(0);
    run(&space, 0);
    let object = |shown: &str| {
        let bytes = std::fs::read(space.path(&format!(".studbook/runs/tiny/{shown}"))).unwrap();
        let digest = studbook::base::digest::Digest::of(&bytes).to_hex();
        space.path(&format!(".studbook/objects/{}/{}", &digest[..2], &digest[2..]))
    };
    let (promotion, refusal) = (object("08-promotion/ties.json"), object("09-admission/ties.json"));
    space.edit("plan.toml", "seconds = 600", "seconds = 601");
    std::fs::remove_file(promotion).unwrap();
    run(&space, 0).says("the same bytes were rejected at the gate `release`");
    std::fs::remove_file(refusal).unwrap();
    space.edit("plan.toml", "seconds = 601", "seconds = 602");
    let said = run(&space, 4);
    let told = said.out.clone() + &said.err;
    assert!(told.contains("the refusal ") && told.contains("is the refusal"), "{told}");
    assert!(!space.read(".studbook/registry/tiny/selector.json").contains("ties"));
}

/// A later refusal of the same manifest, which says only that it was refused, does not stand in for the first.
#[test]
fn a_rejection_is_not_explained_by_a_later_refusal() {
    let space = approved();
    let approval = space.files(".studbook/evidence");
    word_on_ties(&space, &["--reject"]).exits(0);
    run(&space, 0).says("ties       refused   release: rejected by ada");
    let shown = |folder: &str| {
        let bytes = std::fs::read(space.path(&format!(".studbook/runs/tiny/{folder}/ties.json"))).unwrap();
        studbook::base::digest::Digest::of(&bytes).to_hex()
    };
    let first = [shown("08-promotion"), shown("09-admission")];
    for (path, bytes) in approval {
        space.write(&format!(".studbook/evidence/{path}"), &bytes);
    }
    run(&space, 0).says("ties       refused   not-refused: ledger entry");
    let mut lost = 0;
    for (path, bytes) in space.files(".studbook/actions") {
        let text = String::from_utf8_lossy(&bytes);
        if first.iter().any(|digest| text.contains(digest.as_str())) {
            std::fs::remove_file(space.path(&format!(".studbook/actions/{path}"))).unwrap();
            lost += 1;
        }
    }
    assert!(lost >= 2, "{lost}");
    space.edit("plan.toml", "seconds = 600", "seconds = 601");
    let said = space.studbook(&["run", "plan.toml"]);
    let told = said.out.clone() + &said.err;
    assert!(told.contains("the refusal ") && told.contains("is the refusal"), "{told}");
    assert!(!space.read(".studbook/registry/tiny/selector.json").contains("ties"));
}

#[test]
fn a_retirement_is_of_the_model_whatever_is_edited() {
    let space = approved();
    let offers = |space: &Space| {
        let (selector, pool) =
            (".studbook/registry/tiny/selector.json", ".studbook/runs/tiny/12-recipe/pool.toml");
        [space.read(selector).contains("average"), space.read(pool).contains("name = \"average\"")]
    };
    assert_eq!(offers(&space), [true; 2]);
    space.studbook(&["retire", "average", "--plan", "plan.toml", "--reason", "leaks"]).exits(0);
    run(&space, 0);
    assert_eq!(offers(&space), [false; 2]);
    space.edit("plan.toml", "seconds = 600", "seconds = 601");
    run(&space, 3).says("average    admitted");
    assert_eq!(offers(&space), [false; 2]);
    space
        .studbook(&["registry", "build", "plan.toml", "--quiet"])
        .exits(3)
        .says("left out: average, retired by ledger entry");
    let found = space.studbook(&["lineage", "plan.toml", "tiny/average"]).exits(2);
    let digest = found
        .err
        .split_whitespace()
        .rev()
        .find(|word| word.len() >= 8 && word.bytes().all(|b| b.is_ascii_hexdigit()));
    let back = ["rollback", digest.unwrap(), "--plan", "plan.toml", "--reason", "r"];
    space.studbook(&back).exits(2).complains("retires it");
    space.studbook(&["verify", "plan.toml"]).exits(0).says(", 0 failed");
    // In another cycle it is another's to say.
    space.edit("plan.toml", "name = \"tiny\"", "name = \"other\"");
    run(&space, 3);
    assert!(space.read(".studbook/registry/other/selector.json").contains("average"));
}
