//! Which base an adapter's settings name, and whether that is evidently another one than the model at hand.
//!
//! `base_model_name_or_path` is a name of somebody's choice: of a hub, of a folder, of a copy of either. So it
//! proves nothing, and another name is no evidence. But most names say a family, and a model of that name
//! says in its own files which network it is of. Where the two contradict each other, shapes fit by chance:
//! matrices of Mistral 7B and Llama 3 8B have the same ones.

use serde::Deserialize;

use crate::model::huggingface::CONFIG;
use crate::model::package::Package;

/// Words of names, and how the networks (`model_type`, or GGUF's architecture) of such models begin. A longer
/// word comes before one that is a part of it.
const FAMILIES: [(&str, &[&str]); 24] = [
    ("codellama", &["llama"]),
    ("tinyllama", &["llama"]),
    ("llama4", &["llama4"]),
    ("llama", &["llama", "mllama"]),
    ("mixtral", &["mixtral", "llama"]),
    ("ministral", &["mistral", "ministral", "llama"]),
    ("mistral", &["mistral", "llama"]),
    ("smollm3", &["smollm3"]),
    ("smollm", &["llama"]),
    ("qwen3", &["qwen3"]),
    ("qwen25", &["qwen2"]),
    ("qwen2", &["qwen2"]),
    ("qwen", &["qwen"]),
    ("gemma3", &["gemma3"]),
    ("gemma2", &["gemma2"]),
    ("gemma", &["gemma"]),
    ("phi4", &["phi3", "phi4"]),
    ("phi3", &["phi3"]),
    ("phi2", &["phi", "phi2"]),
    ("gpt2", &["gpt2"]),
    ("pythia", &["gptneox"]),
    ("gptneox", &["gptneox"]),
    ("falcon", &["falcon"]),
    ("olmo", &["olmo"]),
];

/// Families whose GGUF files are of the architecture `llama`; a folder says which of them it is.
const LLAMAS: [&str; 3] = ["mixtral", "ministral", "mistral"];

#[derive(Deserialize)]
struct Stated {
    base_model_name_or_path: Option<String>,
}

/// What speaks against an adapter with these settings being for this model; nothing if nothing does.
pub(super) fn doubt(settings: &[u8], base: &Package) -> Option<String> {
    let stated = serde_json::from_slice::<Stated>(settings).ok()?.base_model_name_or_path?;
    let (network, is_gguf) = network(base)?;
    // The folder it lay in says nothing of the model.
    let name = stated.trim_end_matches('/').rsplit('/').next().unwrap_or(&stated);
    let expected = families(&plain(name));
    let begins = |family: &str, starts: &&[&str]| {
        let by_folder = !is_gguf && LLAMAS.contains(&family);
        starts.iter().any(|start| !(by_folder && *start == "llama") && plain(&network).starts_with(start))
    };
    let fits = expected.is_empty() || expected.iter().any(|(family, starts)| begins(family, starts));
    (!fits).then(|| {
        format!(
            "the adapter says that it was trained for {stated:?} (`base_model_name_or_path`), and this model's \
             network is `{network}`: its shapes fit, but by chance"
        )
    })
}

/// The network that a model says it is of, and whether a GGUF file says it.
fn network(base: &Package) -> Option<(String, bool)> {
    #[derive(Deserialize)]
    struct Network {
        model_type: Option<String>,
    }
    if let Some(facts) = &base.facts {
        return facts.text("general.architecture").map(|name| (name.to_owned(), true));
    }
    let config = serde_json::from_slice::<Network>(&base.companion(CONFIG)?.bytes).ok()?;
    config.model_type.map(|name| (name, false))
}

/// Letters and digits alone, in small letters.
fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// The families that a name says. A word within a longer one is no other family.
fn families(name: &str) -> Vec<(&'static str, &'static [&'static str])> {
    let mut rest = name.to_owned();
    let mut found = Vec::new();
    for (word, starts) in FAMILIES {
        if rest.contains(word) {
            rest = rest.replace(word, " ");
            found.push((word, starts));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::package::Companion;
    use crate::model::weights::Weights;

    fn is_doubted(stated: &str, network: &str) -> bool {
        let mut base = Package::of_weights(Weights::none());
        let bytes = format!("{{\"model_type\": \"{network}\"}}").into_bytes();
        base.companions.push(Companion { name: CONFIG.to_owned(), bytes });
        let settings = serde_json::json!({ "base_model_name_or_path": stated }).to_string();
        doubt(settings.as_bytes(), &base).is_some()
    }

    #[test]
    fn another_family_is_evident_and_another_name_is_not() {
        for (stated, network, doubted) in [
            ("mistralai/Mistral-7B-v0.1", "llama", true),
            ("mistralai/Mistral-7B-v0.1", "mistral", false),
            ("/home/me/models/llama/Mistral-7B/", "llama", true),
            ("meta-llama/Llama-2-7b-hf", "mistral", true),
            ("unsloth/llama-3-8b-bnb-4bit", "llama", false),
            ("HuggingFaceTB/SmolLM2-135M", "llama", false),
            ("HuggingFaceTB/SmolLM3-3B", "llama", true),
            ("Qwen/Qwen2.5-7B", "qwen2", false),
            ("Qwen/Qwen3-8B", "qwen2", true),
            ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", "qwen2", false),
            ("deepseek-ai/DeepSeek-R1-Distill-Llama-8B", "qwen2", true),
            ("EleutherAI/pythia-70m", "gpt_neox", false),
            ("google/gemma-2-2b", "gemma2", false),
            // Of names that say no family, and of two families, nothing is known.
            ("somebody/my-model", "llama", false),
            ("somebody/llama-to-mistral", "mistral", false),
        ] {
            assert_eq!(is_doubted(stated, network), doubted, "{stated} on {network}");
        }
        assert_eq!(doubt(b"{}", &Package::of_weights(Weights::none())), None);
    }
}
