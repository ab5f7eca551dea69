//! Which ids begin a sequence and end an answer, as the files beside the weights say.
//!
//! An answer whose end is not known goes on until it has no more room, so what cannot be read as ids is
//! refused by its key, as the libraries that save such folders refuse it. `null` says nothing. -1 is what some
//! write for a model that has no such token; the libraries look for the token -1 and never find it, so it
//! stands for none here as there.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::folder::{CONFIG, GENERATION};
use crate::model::gguf::vocabulary;
use crate::model::package::Package;
use crate::model::tokenizer::json::{self, JsonTokenizerError};
use crate::model::tokenizer::{EOS, HfTokenizer, Tokenizer};

/// Why a file does not say which ids.
#[derive(Debug, thiserror::Error)]
pub enum IdsError {
    /// Not JSON, or one of the keys twice.
    #[error("is not a usable configuration: {0}")]
    Json(#[from] serde_json::Error),
    /// A value that is none of a token's.
    #[error("has {key} {found}; expected {expected}")]
    Id {
        /// The key.
        key: &'static str,
        /// What stands there.
        found: Value,
        /// What can be used.
        expected: &'static str,
    },
}

/// What the files of a folder say together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ids {
    /// The id that begins a sequence: the first that is said.
    pub begin: Option<u32>,
    /// The ids that end an answer, in the order in which they are said: where a format has room for one, it is the
    /// first. Nothing if no file says a word about it.
    pub ends: Option<Vec<u32>>,
}

/// Both keys of one file.
#[derive(Deserialize)]
struct Said {
    bos_token_id: Option<Value>,
    eos_token_id: Option<Value>,
}

impl Ids {
    /// Takes what one file says.
    ///
    /// # Errors
    ///
    /// [`IdsError::Json`] of what is no JSON object, or has a key twice; [`IdsError::Id`] of a value that is no
    /// id of a token.
    pub fn take(&mut self, file: &[u8]) -> Result<(), IdsError> {
        let Said { bos_token_id, eos_token_id } = serde_json::from_slice(file)?;
        if let Some(found) = bos_token_id {
            let expected = "an id from 0 to 4294967295, or null where there is none";
            let begin = id(&found).ok_or(IdsError::Id { key: "bos_token_id", found, expected })?;
            self.begin = self.begin.or(begin);
        }
        if let Some(found) = eos_token_id {
            let expected = "an id from 0 to 4294967295, a list of such, or null where there is none";
            let said = match &found {
                Value::Array(all) => all.iter().map(id).collect::<Option<Vec<_>>>(),
                one => id(one).map(|id| vec![id]),
            };
            let said = said.ok_or(IdsError::Id { key: "eos_token_id", found, expected })?;
            let ends = self.ends.get_or_insert_default();
            for end in said.into_iter().flatten() {
                if !ends.contains(&end) {
                    ends.push(end);
                }
            }
        }
        Ok(())
    }

    /// What a model's own files say, whatever its tokenizer is.
    ///
    /// # Errors
    ///
    /// As [`Self::take`] of either file.
    pub fn of_package(package: &Package) -> Result<Self, IdsError> {
        let mut ids = Self::default();
        for file in [CONFIG, GENERATION].into_iter().filter_map(|name| package.companion(name)) {
            ids.take(&file.bytes)?;
        }
        if let Some(facts) = &package.facts {
            let ends = vocabulary::ends(facts);
            ids.ends = (!ends.is_empty()).then_some(ends);
            ids.begin = vocabulary::begin(facts);
        }
        Ok(ids)
    }

    /// A tokenizer for a model whose own these ids are: what that one says goes before what the tokenizer says.
    ///
    /// # Errors
    ///
    /// If it is one of SLM1's, answers end otherwise, and a `tokenizer.json` cannot say what it is.
    pub fn on(self, tokenizer: Tokenizer) -> Result<Tokenizer, JsonTokenizerError> {
        let own = match &tokenizer {
            Tokenizer::HuggingFace(own) => own.as_ref().clone(),
            _ if self.end_as_slm1() => return Ok(tokenizer),
            slm1 => HfTokenizer::from_json(&json::to_json(slm1)?)
                .map_err(|error| JsonTokenizerError::Inexpressible(error.to_string()))?,
        };
        let own = match self.ends {
            Some(ends) => own.with_ends(ends),
            None => own,
        };
        let begin = self.begin.or(own.begin());
        Ok(Tokenizer::HuggingFace(Arc::new(own.with_begin(begin))))
    }

    /// Whether answers end as an SLM1 tokenizer says. What such a tokenizer puts before a text, its file puts
    /// there in either form.
    pub fn end_as_slm1(&self) -> bool {
        self.ends.as_ref().is_none_or(|ends| *ends == [EOS])
    }
}

/// An id, or the -1 that stands for none; nothing for anything else.
fn id(value: &Value) -> Option<Option<u32>> {
    match value.as_i64()? {
        -1 => Some(None),
        id => u32::try_from(id).ok().map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(files: &[&str]) -> Result<Ids, String> {
        let mut ids = Ids::default();
        files.iter().try_for_each(|file| ids.take(file.as_bytes())).map_err(|error| error.to_string())?;
        Ok(ids)
    }

    /// A model's own ids end its answers whichever tokenizer reads its prompts.
    #[test]
    fn a_models_ids_stay_with_another_tokenizer() {
        let ends = |tokenizer: &Tokenizer| match tokenizer {
            Tokenizer::HuggingFace(own) => own.ends().to_vec(),
            _ => vec![EOS],
        };
        let file = json::to_json(&Tokenizer::Btok).unwrap();
        let other = HfTokenizer::from_json(&file).unwrap().with_ends(vec![5]).with_begin(Some(7));
        let other = Tokenizer::HuggingFace(Arc::new(other));
        let said = |begin, ends: Option<&[u32]>| Ids { begin, ends: ends.map(<[u32]>::to_vec) };
        let on = |ids: Ids, tokenizer: &Tokenizer| ends(&ids.on(tokenizer.clone()).unwrap());
        assert_eq!(on(said(None, None), &other), [5], "of a model that says none");
        assert_eq!(on(said(None, Some(&[2, 3])), &other), [2, 3]);
        assert_eq!(on(said(None, Some(&[])), &other), [0; 0], "it says that there is none");
        assert_eq!(said(None, Some(&[EOS])).on(Tokenizer::Btok).unwrap(), Tokenizer::Btok);
        assert_eq!(on(said(None, Some(&[2])), &Tokenizer::Btok), [2]);
        let mut package = Package::of_weights(crate::model::Weights::none());
        assert_eq!(Ids::of_package(&package).unwrap(), Ids::default());
        let mut facts = crate::model::gguf::facts::Facts::default();
        facts.push("tokenizer.ggml.eos_token_id", crate::model::gguf::facts::Fact::Unsigned(9));
        package.facts = Some(Arc::new(facts));
        assert_eq!(Ids::of_package(&package).unwrap(), said(None, Some(&[9])));
    }

    #[test]
    fn what_real_folders_say() {
        for (files, begin, ends) in [
            (&["{}", r#"{"eos_token_id": null}"#][..], None, None),
            (&[r#"{"bos_token_id": 1, "eos_token_id": 2}"#], Some(1), Some(vec![2])),
            (
                &[r#"{"eos_token_id": 2}"#, r#"{"bos_token_id": 5, "eos_token_id": [3, 2]}"#],
                Some(5),
                Some(vec![2, 3]),
            ),
            (&[r#"{"eos_token_id": 7}"#, r#"{"eos_token_id": [3, 7]}"#], None, Some(vec![7, 3])),
            (&[r#"{"bos_token_id": -1, "eos_token_id": -1}"#], None, Some(vec![])),
            (&[r#"{"eos_token_id": [2, -1]}"#], None, Some(vec![2])),
        ] {
            assert_eq!(of(files), Ok(Ids { begin, ends }), "{files:?}");
        }
    }

    /// As transformers 5 does, apart from ids below -1 and above 32 bits, which it never finds.
    #[test]
    fn what_is_no_id_is_refused_by_key() {
        for wrong in ["[2, null]", "\"2\"", "2.0", "true", "{}", "-2", "4294967296", "[[2]]"] {
            let error = of(&[&format!("{{\"eos_token_id\": {wrong}}}")]).unwrap_err();
            assert!(error.starts_with("has eos_token_id ") && error.contains("a list of such"), "{error}");
        }
        for wrong in ["[1]", "\"<s>\"", "-2"] {
            let error = of(&[&format!("{{\"bos_token_id\": {wrong}}}")]).unwrap_err();
            assert!(error.starts_with("has bos_token_id "), "{error}");
        }
        assert!(of(&["{\"eos_token_id\": 2, \"eos_token_id\": 3}"]).unwrap_err().contains("duplicate field"));
        assert!(of(&["{"]).unwrap_err().contains("is not a usable configuration"));
    }
}
