//! Files that are not what they seem: pipes, devices and links, headers that lie. Each is refused by name, by
//! the real binary, at once.

use std::fs::{create_dir, write};
use std::os::unix::fs::symlink;
use std::process::Command;

use studbook::model::tokenizer::Tokenizer;
use studbook::tensor::dtype::DType;

use crate::space::{Space, config, model};

/// A safetensors file with this header and so many zeros.
fn safetensors(header: &str, data: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![0; data]].concat()
}

fn one(entry: &str) -> Vec<u8> {
    safetensors(&format!("{{\"a\":{entry}}}"), 8)
}

#[test]
fn headers_that_lie() {
    let space = Space::empty();
    let entry = r#"{"dtype":"F32","shape":[2],"data_offsets":[0,8]}"#;
    let two = |b: &str, data| safetensors(&format!("{{\"a\":{entry},\"b\":{b}}}"), data);
    let f16 = |begin, end| format!(r#"{{"dtype":"F16","shape":[1],"data_offsets":[{begin},{end}]}}"#);
    let deep = format!("{{\"a\":{}", "[".repeat(1 << 20));
    let many = |i: u32| format!("\"{i}\":{{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}");
    let many = format!("{{{}}}", (0..200_000).map(many).collect::<Vec<_>>().join(","));
    let cases: [(Vec<u8>, &[&str]); 15] = [
        ([&u64::MAX.to_le_bytes()[..], b"{}"].concat(), &["18446744073709551615", "at most 100000000"]),
        ([&1000_u64.to_le_bytes()[..], b"{}"].concat(), &["1000 bytes at byte 8", "cut short"]),
        (safetensors(&deep, 0), &["invalid type: sequence"]),
        (safetensors(&many, 4), &["inside tensor"]),
        (safetensors(&format!("{{\"a\":{entry},\"a\":{entry}}}"), 8), &["tensor \"a\" has two entries"]),
        (two(&f16(4, 6), 8), &["tensor \"b\" begins at", "inside tensor \"a\""]),
        (two(&f16(10, 12), 12), &["belong to no tensor; tensor \"b\""]),
        (two(&f16(8, 10), 16), &["the file's end, belong to no tensor"]),
        (two(&f16(8, 10), 9), &["tensor \"b\" ends at", "cut short"]),
        (one(r#"{"dtype":"F32","shape":[4294967296,4294967296,4]}"#), &["tensor \"a\"", "too many"]),
        (one(r#"{"dtype":"F32","shape":[0,18446744073709551615]}"#), &["\"a\" has a dimension of zero"]),
        (one(r#"{"dtype":"F31","shape":[2]}"#), &["the dtype \"F31\""]),
        (one(r#"{"dtype":"F8_E4M3","shape":[8],"data_offsets":[0,8]}"#), &["tensor \"a\" is F8_E4M3"]),
        (safetensors("{\"__metadata__\":{\"a\":1}}", 0), &["expected a string"]),
        (vec![1, 2, 3], &["has 3 bytes", "8 bytes of its header's length"]),
    ];
    for (bytes, parts) in &cases {
        space.write("x.safetensors", bytes);
        let mut said = space.studbook(&["inspect", "x.safetensors"]).exits(2).complains("x.safetensors");
        for part in *parts {
            said = said.complains(part);
        }
    }
    space.write("y.gguf", b"GGUG");
    space.studbook(&["inspect", "y.gguf"]).exits(2).complains("does not begin");
    space.write("y.model", b"GGUG");
    space.studbook(&["inspect", "y.model"]).exits(2).complains("known formats: slm1 (.slm)");
}

#[test]
fn weights_that_are_no_numbers_have_a_place() {
    let space = Space::empty();
    let mut bytes = one(r#"{"dtype":"F32","shape":[2],"data_offsets":[0,8]}"#);
    let at = bytes.len() - 4;
    bytes[at..].copy_from_slice(&f32::NAN.to_le_bytes());
    space.write("a.safetensors", &bytes);
    space.studbook(&["inspect", "a.safetensors"]).exits(0).says("tensor a, element 1").says("NaN");
    space.write("b.safetensors", &one(r#"{"dtype":"F32","shape":[2],"data_offsets":[0,8]}"#));
    space.write(
        "m.yml",
        b"merge_method: linear\nmodels:\n  - {model: a.safetensors, parameters: {weight: 1}}\n  \
          - {model: b.safetensors, parameters: {weight: 1}}\n",
    );
    let said = space.studbook(&["merge", "m.yml", "out.safetensors"]).complains("a.safetensors");
    let said = said.complains("element 1").complains("NaN");
    assert_ne!(said.code, Some(0));
    assert!(!space.path("out.safetensors").exists());
}

/// A named pipe that nobody writes to: whoever opens it waits for ever.
fn pipe(space: &Space, name: &str) {
    let made = Command::new("mkfifo").arg(space.path(name)).status().expect("mkfifo is there");
    assert!(made.success());
}

#[test]
fn nobody_waits_for_a_pipe_or_reads_a_device() {
    let space = Space::empty();
    space.write("base.slm", &model(&config(), "base", DType::F32));
    pipe(&space, "pipe");
    symlink("/dev/zero", space.path("zero")).unwrap();
    for name in ["pipe", "zero"] {
        let refused = |arguments: &[&str]| {
            space.studbook(arguments).exits(2).complains(name).complains("is not a regular file")
        };
        refused(&["inspect", name]);
        refused(&["diff", "base.slm", name]);
        refused(&["convert", name, "out.slm"]);
        refused(&["merge", name, "out"]);
        refused(&["check", name]);
        refused(&["extract", "base.slm", name, "out.sbd", "--as", "dense"]);
        for (folder, file) in
            [("hf", "config.json"), ("hf", "model.safetensors"), ("trained", "source.manifest")]
        {
            let inner = space.path(folder);
            create_dir(&inner).unwrap();
            std::fs::rename(space.path(name), inner.join(file)).unwrap();
            if file == "config.json" {
                write(inner.join("model.safetensors"), safetensors("{}", 0)).unwrap();
            }
            let said = space.studbook(&["inspect", folder]);
            assert_ne!(said.code, Some(0), "{file} {}", said.out);
            said.complains(file);
            std::fs::rename(inner.join(file), space.path(name)).unwrap();
            std::fs::remove_dir_all(&inner).unwrap();
        }
    }
}

#[test]
fn nobody_waits_for_a_pipe_in_the_place_of_a_lock() {
    let space = Space::new();
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    let revoke = ["revoke", "average", "--plan", "plan.toml", "--reason", "bad"];
    for (lock, command) in [
        (".studbook/heads.lock", &["ledger", "check", "plan.toml"][..]),
        (".studbook/ledger/lock", &revoke),
        (".studbook/runs/tiny/.lock", &["run", "plan.toml"]),
        (".studbook/registry/tiny/.lock", &["run", "plan.toml"]),
    ] {
        // A run that finds everything in its place has nothing to lock.
        space.write(".studbook/runs/tiny/stray", b"");
        if lock.contains("registry") {
            space.edit(".studbook/registry/tiny/style.css", "a", "b");
        }
        let _ = std::fs::remove_file(space.path(lock));
        pipe(&space, lock);
        let said = space.studbook(command);
        assert!(said.code.is_some_and(|code| code != 0 && code != 3), "{lock}: {:?}", said.code);
        assert!((said.out + &said.err).contains(&format!("{lock}: is not a regular file")), "{lock}");
        std::fs::remove_file(space.path(lock)).unwrap();
        if command != revoke {
            let after = space.studbook(command);
            assert!(matches!(after.code, Some(0 | 3)), "{}", after.err);
        }
    }
}

#[test]
fn nobody_waits_for_a_pipe_in_the_place_of_evidence() {
    let space = Space::new();
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    space.studbook(&["attest", "plan.toml", "ties", "--gate", "release", "--by", "ada"]).exits(0);
    let evidence = space.files(".studbook/evidence").into_keys().next().unwrap();
    let path = format!(".studbook/evidence/{evidence}");
    std::fs::remove_file(space.path(&path)).unwrap();
    pipe(&space, &path);
    let why = format!("{evidence}: is not a regular file");
    space.studbook(&["plan", "plan.toml"]).says(&why);
    space.studbook(&["run", "plan.toml"]).exits(5).complains(&why);
}

#[test]
fn a_source_manifest_that_is_no_file_is_not_taken_for_none() {
    let space = Space::new();
    pipe(&space, "one.source.toml");
    create_dir(space.path("two.source.toml")).unwrap();
    symlink("gone", space.path("three.source.toml")).unwrap();
    let said = space.studbook(&["check", "plan.toml"]).exits(2);
    said.complains("one.source.toml is no regular file")
        .complains("two.source.toml is a folder")
        .complains("three.source.toml does not exist");
}

#[test]
fn a_folder_in_the_place_of_an_object_is_damage() {
    let space = Space::new();
    space.studbook(&["run", "plan.toml", "--quiet"]).exits(3);
    for name in space.files(".studbook/objects").into_keys() {
        let path = space.path(".studbook/objects").join(name);
        std::fs::remove_file(&path).unwrap();
        create_dir(&path).unwrap();
    }
    let said = space.studbook(&["run", "plan.toml"]);
    let told = said.out + &said.err;
    assert!(told.contains("Is a directory") && !told.contains("name a file inside that folder"), "{told}");
    assert!(told.contains("hint: the store is damaged: a folder is in the place of that file"), "{told}");
}

#[test]
fn nothing_leads_out_of_a_folder() {
    let space = Space::empty();
    space.write("base.slm", &model(&config(), "base", DType::F32));
    space.studbook(&["convert", "base.slm", "trained", "--to", "trained-source"]).exits(0);
    space.studbook(&["inspect", "trained"]).exits(0).says("trained-source");
    let text = space.read("trained/source.manifest");
    for (path, why) in [("../tokenizer", "goes up"), ("/etc/passwd", "is absolute")] {
        let line = text.lines().find(|line| line.starts_with("tokenizer=")).unwrap();
        space.write("trained/source.manifest", text.replace(line, &format!("tokenizer={path}")).as_bytes());
        space.studbook(&["inspect", "trained"]).exits(2).complains(path).complains(why);
    }
    space.write("trained/source.manifest", text.as_bytes());
    space.write("section", &Tokenizer::Btok.to_section());
    let own = text.lines().find_map(|line| line.strip_prefix("tokenizer=")).unwrap();
    std::fs::remove_file(space.path("trained").join(own)).unwrap();
    symlink(space.path("section"), space.path("trained").join(own)).unwrap();
    space.studbook(&["inspect", "trained"]).exits(2).complains("is a symbolic link");

    space.studbook(&["convert", "base.slm", "hf", "--to", "hugging-face"]).exits(0);
    space.studbook(&["inspect", "hf"]).exits(0).says("huggingface").says("tokenizer.json");
    let weights = space.path("hf/model.safetensors");
    std::fs::rename(&weights, space.path("outside.safetensors")).unwrap();
    symlink(space.path("outside.safetensors"), &weights).unwrap();
    space.studbook(&["inspect", "hf"]).exits(2).complains("leads out of the model's folder");
    std::fs::remove_file(&weights).unwrap();
    for name in ["../outside.safetensors", "/etc/x.safetensors", "a/../b.safetensors"] {
        let index = format!("{{\"weight_map\":{{\"a\":\"{name}\"}}}}");
        space.write("hf/model.safetensors.index.json", index.as_bytes());
        space.studbook(&["inspect", "hf"]).exits(2).complains("index.json").complains(name);
    }
}

#[test]
fn names_that_differ_by_case_or_composition_are_different() {
    let space = Space::empty();
    let entry =
        |begin: u32| format!(r#"{{"dtype":"F32","shape":[1],"data_offsets":[{begin},{}]}}"#, begin + 4);
    // A name as one character and as two, and in capitals: four tensors, none lost.
    let names = ["caf\u{e9}", "cafe\u{301}", "CAF\u{c9}", "cafe"];
    let header = (0..).step_by(4).zip(names).map(|(at, name)| format!("\"{name}\":{}", entry(at)));
    let header = format!("{{{}}}", header.collect::<Vec<_>>().join(","));
    space.write("a.safetensors", &safetensors(&header, 16));
    let found = space.studbook(&["inspect", "a.safetensors", "--format", "json"]).exits(0).json();
    let found: Vec<_> = found["tensors"].as_array().unwrap().iter().map(|row| row["name"].clone()).collect();
    assert_eq!(found.len(), 4);
    assert!(names.iter().all(|name| found.iter().any(|found| found == name)), "{found:?}");
    // Models that differ in nothing else do not fit.
    let other = header.replacen("caf\u{e9}", "cafx", 1);
    space.write("b.safetensors", &safetensors(&other, 16));
    space.write(
        "m.yml",
        b"merge_method: linear\nmodels:\n  - {model: a.safetensors, parameters: {weight: 1}}\n  \
          - {model: b.safetensors, parameters: {weight: 1}}\n",
    );
    space.studbook(&["merge", "m.yml", "out.safetensors"]).exits(2).complains("`cafx`");
}
