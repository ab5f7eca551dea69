//! Secrets that stay where they are.

use super::*;

#[test]
fn no_dossier_holds_a_secret() {
    let space = &fixture().space;
    for role in ["producer", "evaluator", "promoter", "log", "registry", "model"] {
        let pem = space.read(&format!("keys/{role}.pem"));
        let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        // Well past what every such file begins with, well before the public half.
        let secret = &body[if role == "model" { 50..86 } else { 24..60 }];
        let raw = studbook::base::base64::decode(&body).unwrap();
        let raw = &raw[if role == "model" { 38..60 } else { 18..40 }];
        for (name, bytes) in space.files("ties").into_iter().chain(space.files(".studbook")) {
            let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
            assert!(!holds(secret.as_bytes()) && !holds(raw), "{name} holds the {role} key");
        }
    }
}
