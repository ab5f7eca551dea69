//! One walk over an action, two listeners: the hash that is the key, and the text that explains it.
//!
//! Whatever [`WriteKey::write_key`] names is hashed and printed alike, so `why` cannot drift from
//! what the cache compares. Fields are length-prefixed; nothing runs together.

use crate::base::digest::ActionKey;

/// Hears every field of an action in a fixed order.
pub trait KeyListener {
    /// One field: where it is (`param.weight`, `input.receipt`) and what it says.
    fn field(&mut self, path: &str, value: &str);
}

/// A thing that has a key.
pub trait WriteKey {
    /// Names every field that decides the outcome, in a fixed order.
    fn write_key(&self, listener: &mut dyn KeyListener);

    /// The key: BLAKE3 over all fields.
    fn action_key(&self) -> ActionKey {
        let mut hash = HashListener::default();
        self.write_key(&mut hash);
        ActionKey::from_bytes(*hash.hasher.finalize().as_bytes())
    }

    /// The fields as (path, value), in order.
    fn explain(&self) -> Vec<(String, String)> {
        let mut explain = ExplainListener::default();
        self.write_key(&mut explain);
        explain.fields
    }
}

/// The derivation context: a key can never be mistaken for the digest of a blob.
const CONTEXT: &str = "studbook 2026-11-24 action key v1";

struct HashListener {
    hasher: blake3::Hasher,
}

impl Default for HashListener {
    fn default() -> Self {
        Self { hasher: blake3::Hasher::new_derive_key(CONTEXT) }
    }
}

impl KeyListener for HashListener {
    fn field(&mut self, path: &str, value: &str) {
        for text in [path, value] {
            self.hasher.update(&(text.len() as u64).to_le_bytes());
            self.hasher.update(text.as_bytes());
        }
    }
}

#[derive(Default)]
struct ExplainListener {
    fields: Vec<(String, String)>,
}

impl KeyListener for ExplainListener {
    fn field(&mut self, path: &str, value: &str) {
        self.fields.push((path.to_owned(), value.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Pair(&'static str, &'static str);
    impl WriteKey for Pair {
        fn write_key(&self, listener: &mut dyn KeyListener) {
            listener.field(self.0, self.1);
        }
    }

    #[test]
    fn fields_do_not_run_together() {
        assert_ne!(Pair("ab", "c").action_key(), Pair("a", "bc").action_key());
        assert_eq!(Pair("a", "b").explain(), [("a".to_owned(), "b".to_owned())]);
    }
}
