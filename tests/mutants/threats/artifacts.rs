//! Artifacts, and the files and folders they lie in.

use super::*;

#[test]
fn artifact_swapped_after_hashing() {
    let place = written(&fixture().good.documents);
    place.write(
        "d/model/ties.slm",
        &std::fs::read(fixture().space.path("average/model/average.slm")).unwrap(),
    );
    refused_in(&place, "artifact: the SHA-256 of the model is");
    // And the signature over all files is of the other one.
    refused_in(&place, "model signature: the files that were signed are not those of this folder");
}

#[test]
fn same_contents_renamed() {
    let place = written(&fixture().good.documents);
    std::fs::rename(place.path("d/model/ties.slm"), place.path("d/model/other.slm")).unwrap();
    refused_in(&place, "the model is called \"other.slm\"");
}

#[test]
fn hidden_and_extra_files() {
    refused(
        |all| drop(all.insert(".hidden".to_owned(), vec![1])),
        "\".hidden\" does not belong to the dossier",
    );
    refused(
        |all| drop(all.insert("bundles/more.json".to_owned(), vec![1])),
        "does not belong to the dossier",
    );
}

#[test]
fn hard_linked_files() {
    let place = written(&fixture().good.documents);
    std::fs::hard_link(place.path("d/model/ties.slm"), place.path("second")).unwrap();
    refused_in(&place, "has another name elsewhere (a hard link)");
}

#[test]
fn fifos() {
    let place = written(&fixture().good.documents);
    assert!(std::process::Command::new("mkfifo").arg(place.path("d/pipe")).status().unwrap().success());
    refused_in(&place, "\"pipe\" is not a plain file");
}

#[test]
fn symlink_in_place_of_a_file_or_a_parent_folder() {
    for name in ["model/ties.slm", "records", "records/09-admission", "SHA256SUMS"] {
        let place = written(&fixture().good.documents);
        std::fs::rename(place.path(&format!("d/{name}")), place.path("aside")).unwrap();
        std::os::unix::fs::symlink(place.path("aside"), place.path(&format!("d/{name}"))).unwrap();
        refused_in(&place, "is a symbolic link");
    }
}

#[test]
fn absolute_and_parent_names_in_a_list_of_files() {
    for name in ["/etc/passwd", "../up", "a/../../b", "a//b", "./a", "a\\b", ""] {
        let file =
            ListedFile { name: name.to_owned(), bytes: 1, blake3: studbook::base::digest::Digest::of(b"x") };
        assert!(Listing::new(vec![file]).is_err(), "{name:?}");
    }
}
