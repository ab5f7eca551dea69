//! The public keys that go along: a trust file for us, PEM files for everybody else.

use crate::trust::{Trust, TrustedKey};

/// The one spelling of a dossier's trust file.
pub(super) fn to_text(keys: &Trust) -> String {
    keys.keys().iter().map(entry).collect()
}

fn entry(key: &TrustedKey) -> String {
    let mut text = Trust::entry(key.name.as_str(), key.role, &key.public);
    if key.claims != key.role.claims() {
        let records: Vec<String> = key.claims.iter().map(|claim| format!("{:?}", claim.word())).collect();
        text += &format!("records = [{}]\n", records.join(", "));
    }
    text
}

/// Every key's name and PEM file.
pub(super) fn pems(keys: &Trust) -> Vec<(String, String)> {
    keys.keys().iter().map(|key| (key.name.to_string(), key.public.to_pem())).collect()
}
