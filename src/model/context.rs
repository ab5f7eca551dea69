//! What bounds a model's context: the words of its files for it.

use super::gguf;
use super::huggingface::HfConfig;
use super::package::Package;
use super::{huggingface, slm1};

/// Which key of which file says how many tokens a model sees, for people; nothing where its network is not known.
pub fn bounded_by(package: &Package) -> Option<String> {
    let context = package.config.as_ref().ok()?.max_context;
    let key = |key: &str| format!("`{key}` of {}", huggingface::CONFIG);
    if let Some(said) = HfConfig::of(package) {
        let positions = said.max_position_embeddings;
        return Some(match said.sliding_window {
            Some(window) if context == window && window < positions => {
                format!("{}, of {positions} positions", key("sliding_window"))
            }
            _ if said.dynamic_factor().is_some() => {
                let all = key("max_position_embeddings");
                format!("{all}, beyond which its `rope_scaling` `dynamic` would change frequencies")
            }
            _ => key("max_position_embeddings"),
        });
    }
    match &package.facts {
        Some(facts) => {
            let architecture = gguf::meaning::architecture(facts).ok()?;
            Some(format!("the fact `{}.context_length`", architecture.name()))
        }
        None if package.weights.format() == slm1::NAME => Some("`max_context` of its header".to_owned()),
        None => Some("`max_context` of its manifest".to_owned()),
    }
}

/// That two models see differently far, for people; nothing if they do not, or one does not say.
pub fn contexts_differ((here, ours): (&str, &Package), (there, theirs): (&str, &Package)) -> Option<String> {
    let of = |package: &Package| Some((package.config.as_ref().ok()?.max_context, bounded_by(package)?));
    let ((ours, our_key), (theirs, their_key)) = (of(ours)?, of(theirs)?);
    (ours != theirs).then(|| {
        format!(
            "`{here}` has a context of {ours} tokens ({our_key}), `{there}` one of {theirs} ({their_key})"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::config::tests::tiny;
    use crate::model::gguf::{Architecture, meaning};
    use crate::model::package::Companion;
    use crate::model::weights::Weights;

    fn bound(more: &str) -> String {
        let config = format!(
            r#"{{"model_type": "mistral", "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 4,
                "intermediate_size": 16, "vocab_size": 32, "max_position_embeddings": 64,
                "rms_norm_eps": 1e-6{more}}}"#
        );
        let mut package = Package::of_weights(Weights::none());
        package.config = HfConfig::parse(config.as_bytes()).unwrap().unwrap().network();
        package.companions = vec![Companion { name: "config.json".to_owned(), bytes: config.into_bytes() }];
        bounded_by(&package).unwrap()
    }

    #[test]
    fn the_key_that_bounds_it_is_named() {
        assert_eq!(bound(""), "`max_position_embeddings` of config.json");
        assert_eq!(bound(r#", "sliding_window": 24"#), "`sliding_window` of config.json, of 64 positions");
        assert_eq!(bound(r#", "sliding_window": 64"#), "`max_position_embeddings` of config.json");
        let dynamic = bound(r#", "rope_scaling": {"type": "dynamic", "factor": 2}"#);
        assert!(
            dynamic.starts_with("`max_position_embeddings`") && dynamic.contains("`dynamic`"),
            "{dynamic}"
        );
        let mut package = Package::of_weights(Weights::none());
        assert_eq!(bounded_by(&package), None);
        package.config = Ok(tiny());
        assert_eq!(bounded_by(&package).unwrap(), "`max_context` of its manifest");
        package.facts = Some(std::sync::Arc::new(meaning::facts(Architecture::Qwen2, &tiny(), None)));
        assert_eq!(bounded_by(&package).unwrap(), "the fact `qwen2.context_length`");
    }
}
