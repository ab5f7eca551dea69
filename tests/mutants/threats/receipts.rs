//! Receipts that say something else, or are said by somebody else.

use super::*;

#[test]
fn receipt_with_a_byte_flipped() {
    refused(|all| all.get_mut(RECEIPT).unwrap()[40] ^= 1, "operator");
}

#[test]
fn receipt_with_a_parameter_changed() {
    refused(
        |all| say(all, RECEIPT, |it| it["body"]["operator"]["parameters"]["density"] = json!([0.9])),
        "other parameters than were promised",
    );
    // Promised, too: then the signatures on both are of other records.
    let both = |all: &mut Documents| {
        for path in [LINEAGE, RECEIPT] {
            say(all, path, |it| it["body"]["operator"]["parameters"]["lambda"] = json!(0.25));
        }
    };
    refused(both, "attestation of operator:ties: the statement is not the one that follows from the record");
}

#[test]
fn receipt_of_a_parent_that_is_missing() {
    refused(
        |all| drop(all.remove("records/01-source/one.json")),
        "the source record of the parent `one` is missing",
    );
}

#[test]
fn predicate_of_one_type_offered_as_another() {
    refused(
        |all| {
            drop(
                all.insert(
                    ADMISSION_BUNDLE.to_owned(),
                    all["bundles/08-promotion/ties.sigstore.json"].clone(),
                ),
            );
        },
        "attestation of admission:ties: the predicate is",
    );
}

#[test]
fn wrong_roles_key() {
    let sign = |all: &mut Documents| {
        let bundle = Bundle::sign(&statement(&all[ADMISSION_BUNDLE]), &key("producer")).unwrap();
        all.insert(ADMISSION_BUNDLE.to_owned(), bundle.to_bytes());
    };
    refused(sign, "the producer key `producer` may not sign admission records");
}

#[test]
fn one_key_counted_twice() {
    let twice = |all: &mut Documents| {
        let mut bundle: Value = serde_json::from_slice(&all[ADMISSION_BUNDLE]).unwrap();
        let signatures = bundle["dsseEnvelope"]["signatures"].as_array_mut().unwrap();
        signatures.push(signatures[0].clone());
        all.insert(ADMISSION_BUNDLE.to_owned(), canonical::to_vec(&bundle).unwrap());
    };
    refused(twice, "the envelope has 2 signatures, expected one");
}

#[test]
fn a_true_predicate_that_nobody_knows() {
    let unknown = |all: &mut Documents| {
        let mut statement = statement(&all[ADMISSION_BUNDLE]);
        statement.predicate_type = "https://example.com/approved/v9".to_owned();
        let bundle = Bundle::sign(&statement, &key("promoter")).unwrap();
        all.insert(ADMISSION_BUNDLE.to_owned(), bundle.to_bytes());
    };
    refused(unknown, "the predicate is \"https://example.com/approved/v9\"");
}
