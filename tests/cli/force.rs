//! What `--force` replaces, and what it never does: where somebody is, what a model is made from, and whatever
//! else lies in a folder.

use std::os::unix::process::ExitStatusExt;

use studbook::disk::fault::REPLACING;
use studbook::model::open_package;
use studbook::tensor::dtype::DType;

use crate::space::{Said, Space, config, model, said};

const LINEAR: &str = "merge_method: linear\nmodels:\n  - {model: one, parameters: {weight: 1}}\n  \
                      - {model: two, parameters: {weight: 1}}\n";

/// Two folders as Hugging Face has them, what merges them, and a folder `kept` with something of a person's.
fn space() -> Space {
    let space = Space::empty();
    for name in ["one", "two"] {
        space.write(&format!("{name}.slm"), &model(&config(), name, DType::F32));
        space.studbook(&["convert", &format!("{name}.slm"), name, "--to", "hugging-face"]).exits(0);
    }
    space.write("c.yml", LINEAR.as_bytes());
    space.write("kept/precious.txt", b"precious");
    space
}

/// Runs in a folder of the space, and expects that everything is refused and nothing touched.
#[track_caller]
fn refused(space: &Space, folder: &str, arguments: &[&str]) -> Said {
    let before = space.files("");
    let mut command = space.command(arguments);
    command.arg("--force").current_dir(space.path(folder));
    let said = said(&mut command).exits(2);
    assert!(space.files("") == before, "{arguments:?}");
    said
}

#[test]
fn where_somebody_is_nothing_is_replaced() {
    let space = space();
    std::fs::create_dir_all(space.path("work/deep")).unwrap();
    let linear = LINEAR.replace("one,", "../one,").replace("two,", "../two,");
    space.write("work/c.yml", linear.as_bytes());
    let absolute = space.path("work");
    for out in [".", "./", "../work", "deep/..", absolute.to_str().unwrap()] {
        for command in [
            &["merge", "c.yml", out][..],
            &["convert", "../one", out, "--to", "hugging-face"],
            &["convert", "../one", out, "--to", "trained-source"],
            &["extract", "../one", "../two", out, "--as", "dense"],
        ] {
            refused(&space, "work", command).complains("is the folder that you are in");
        }
    }
    for out in ["..", "../", "../work/.."] {
        refused(&space, "work", &["merge", "c.yml", out]).complains("the folder that you are in");
        let convert = ["convert", "../one", out, "--to", "hugging-face"];
        refused(&space, "work", &convert).complains("the folder that you are in");
    }
    // Neither is it suggested.
    let said = space.studbook(&["merge", "c.yml", "."]).exits(2);
    assert!(!said.err.contains("--force"), "{}", said.err);
}

#[test]
fn no_input_is_replaced_by_any_command() {
    let space = space();
    space.studbook(&["extract", "one", "two", "d.sbl", "--as", "low-rank", "--rank", "2"]).exits(0);
    space.write("box/c.yml", b"");
    std::fs::rename(space.path("one"), space.path("box/one")).unwrap();
    std::os::unix::fs::symlink("box/one", space.path("one")).unwrap();
    for out in ["one", "box/one", "kept/../box/one", "box/one/model.safetensors", "box/one/config.json"] {
        refused(&space, "", &["merge", "c.yml", out]).complains("input one");
        refused(&space, "", &["extract", "one", "two", out, "--as", "dense"]).complains("input one");
        refused(&space, "", &["extract", "two", "one", out, "--as", "dense"]).complains("input one");
        for to in ["hugging-face", "safetensors"] {
            refused(&space, "", &["convert", "one", out, "--to", to]).complains("input one");
            refused(&space, "", &["convert", "one+d.sbl", out, "--to", to]).complains("input one");
        }
    }
    let holds = "box holds one, which is an input";
    refused(&space, "", &["merge", "c.yml", "box"]).complains(holds);
    refused(&space, "", &["convert", "one", "box", "--to", "hugging-face"]).complains(holds);
    refused(&space, "", &["convert", "one+d.sbl", "d.sbl", "--to", "safetensors"]).complains("input d.sbl");
    refused(&space, "", &["convert", "d.sbl", "one", "--base", "one"]).complains("input one");
    refused(&space, "", &["convert", "two", "one.slm", "--tokenizer", "one.slm"]).complains("input one.slm");
    // The configuration is one, also where a receipt would go.
    refused(&space, "", &["merge", "c.yml", "c.yml"]).complains("c.yml is the input c.yml");
    space.write("models/c.yml", LINEAR.as_bytes());
    refused(&space, "", &["merge", "models/c.yml", "models"]).complains("models holds models/c.yml");
    let files = LINEAR.replace("one,", "a.safetensors,").replace("two,", "aa.safetensors,");
    for (model, file) in [("one", "a.safetensors"), ("two", "aa.safetensors")] {
        space.studbook(&["convert", model, file]).exits(0);
    }
    space.write("b.safetensors.receipt.json", files.as_bytes());
    refused(&space, "", &["merge", "b.safetensors.receipt.json", "b.safetensors"]).complains("is the input");
}

/// A model that was put into an input's folder is none of its files.
#[test]
fn another_model_in_an_inputs_folder_is_replaced() {
    let space = space();
    for _ in 0..2 {
        let mut command = space.command(&["convert", ".", "one.gguf", "--force"]);
        said(command.current_dir(space.path("one"))).exits(0);
    }
}

#[test]
fn only_a_models_folder_is_replaced() {
    let space = space();
    let merge = |code| space.studbook(&["merge", "c.yml", "out", "--force"]).exits(code);
    for _ in 0..2 {
        merge(0);
    }
    for (stranger, named) in [
        ("out/notes.txt", "it holds \"notes.txt\", which is no file of a model's folder"),
        ("out/.git/config", "it holds \".git/config\""),
        ("out/checkpoint/model.safetensors", "it holds \"checkpoint/model.safetensors\""),
    ] {
        space.write(stranger, b"mine");
        let said = refused(&space, "", &["merge", "c.yml", "out"]).complains(named);
        said.complains("or remove the folder by hand");
        for to in ["hugging-face", "trained-source"] {
            refused(&space, "", &["convert", "one", "out", "--to", to]).complains(named);
        }
        let path = space.path(stranger);
        std::fs::remove_file(&path).unwrap();
    }
    refused(&space, "", &["merge", "c.yml", "kept"]).complains("it holds \"precious.txt\"");
    std::fs::remove_file(space.path("kept/precious.txt")).unwrap();
    space.studbook(&["merge", "c.yml", "kept/", "--force"]).exits(0);
    assert!(space.path("kept/model.safetensors").exists());
    // A file is no folder, a folder no file.
    space.write("taken", b"");
    refused(&space, "", &["merge", "c.yml", "taken"])
        .complains("it is a file, and a folder is to be written");
    refused(&space, "", &["convert", "one", "two", "--to", "safetensors"]).complains("it is a folder");
    refused(&space, "", &["extract", "one.slm", "two.slm", "two", "--as", "dense"])
        .complains("it is a folder");
    // All that is written here can be written again; a trained source is known by its own list.
    for (to, what) in [("trained-source", "t"), ("hugging-face", "t"), ("trained-source", "t")] {
        space.studbook(&["convert", "one.slm", what, "--to", to, "--force"]).exits(0);
    }
    space.write("t/tensors/mine.f32", b"mine");
    refused(&space, "", &["convert", "one.slm", "t", "--to", "trained-source"]).complains("tensors/mine.f32");
}

#[test]
fn a_dossier_takes_the_place_of_a_dossier_only() {
    let space = Space::new();
    space.studbook(&["run", "plan.toml"]).exits(3);
    let export = ["export", "plan.toml", "average", "--out"];
    let to = |out| [&export[..], &[out]].concat();
    space.studbook(&to("out")).exits(0);
    space.studbook(&to("out")).exits(2).complains("--force");
    space.studbook(&[&to("out")[..], &["--force"]].concat()).exits(0);
    space.write("out/records/mine.json", b"mine");
    refused(&space, "", &to("out")).complains("it holds \"records/mine.json\"");
    space.write("other/SHA256SUMS", b"00  mine.txt\n");
    space.write("other/mine.txt", b"mine");
    refused(&space, "", &to("other")).complains("it holds \"SHA256SUMS\"");
    refused(&space, "", &to(".")).complains("is the folder that you are in");
    refused(&space, "", &to(".studbook")).complains("is the input");
}

/// Whoever proves an entry again has no use for the earlier proof, but for any other file.
#[test]
fn a_proof_takes_the_place_of_a_proof_only() {
    let space = Space::new();
    space.studbook(&["run", "plan.toml"]).exits(3);
    let prove = |entry, out| space.studbook(&["ledger", "prove", "plan.toml", entry, "--out", out]);
    prove("0", "plan.toml").exits(2).complains("plan.toml is the input plan.toml");
    space.write("notes.txt", b"mine");
    prove("0", "notes.txt").exits(2).complains("notes.txt is already there and is no earlier proof");
    assert_eq!(space.read("notes.txt"), "mine");
    prove("0", "a.tlog-proof").exits(0);
    let first = space.read("a.tlog-proof");
    prove("1", "a.tlog-proof").exits(0);
    assert_ne!(space.read("a.tlog-proof"), first);
}

/// Killed before or after the names are exchanged, one of the two is there whole.
#[test]
fn a_crash_leaves_the_old_one_or_the_new_one() {
    for point in REPLACING {
        for kind in ["kill", "full"] {
            let space = space();
            space.studbook(&["convert", "two", "out", "--to", "hugging-face"]).exits(0);
            let old = space.files("out");
            let mut command = space.command(&["merge", "c.yml", "out", "--force"]);
            let status = command.env("STUDBOOK_FAULT", format!("{point}:1:{kind}")).output().unwrap().status;
            assert!(status.signal() == Some(6) || status.code() == Some(5), "{point}: {status}");
            let is_old = space.files("out") == old;
            assert_eq!(is_old, *point == "folder-filled", "{point} {kind}");
            open_package(&space.path("out")).unwrap();
            assert!(is_old || space.path("out/studbook-receipt.json").exists());
            // Nothing that is left is in the way, and nothing stays when the same is made again.
            space.studbook(&["merge", "c.yml", "out", "--force"]).exits(0);
            let entries = std::fs::read_dir(space.path("")).unwrap().map(|entry| entry.unwrap().file_name());
            let left: Vec<_> = entries.filter(|name| name.to_string_lossy().starts_with(".tmp-")).collect();
            assert!(left.is_empty(), "{point} {kind}: {left:?}");
        }
    }
}
