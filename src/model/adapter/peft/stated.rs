//! Which base an adapter's settings name, and whether that is evidently another one than the model at hand.
//!
//! `base_model_name_or_path` is a name of somebody's choice: of a hub, of a folder, of a copy of either. So it
//! proves nothing, and another name is no evidence. But some names are of models that are of one network
//! whoever copies them, and a model says in its own files which network it is of. Where the two contradict
//! each other, shapes fit by chance: matrices of Mistral 7B and Llama 3 8B have the same ones.
//!
//! A warning that is wrong is worse than none. So a name says something only by whole words of it (`gemma-2b`
//! is no Gemma 2), only if they are of one family (a "llamafied" Qwen is a llama), and not at all for families
//! that are around as other networks: Falcon 3, Phi 3 and Phi 4 are, or were copied as, llamas. And a model
//! whose network is none of those that are listed is one that nobody here knows: a picture model around a
//! Llama, or a mixture made of several.

use serde::Deserialize;

use crate::model::huggingface::{CONFIG, HfConfig};
use crate::model::package::Package;

/// How the networks (`model_type`, or GGUF's architecture) begin of models that have one of these in their
/// names.
type Said = (&'static [&'static str], &'static [&'static str]);

/// Families by the word that their models have in their names, and what those names say for certain. The
/// first that fits counts.
const FAMILIES: [(&str, &[Said]); 11] = [
    (
        "llama",
        &[
            (&["llama 4 scout", "llama 4 maverick"], &["llama4"]),
            (
                &[
                    "llama 2",
                    "llama 3",
                    "llama2",
                    "llama3",
                    "llama 7b",
                    "llama 8b",
                    "llama 13b",
                    "llama 70b",
                    "codellama",
                    "tinyllama",
                ],
                &["llama"],
            ),
        ],
    ),
    (
        "stral",
        &[(&["mistral 7b", "mistral nemo", "mistral small", "mistral large", "ministral 8b"], MISTRALS)],
    ),
    ("mixtral", &[]),
    ("smollm", &[(&["smollm3"], &["smollm3"]), (&["smollm", "smollm2"], &["llama"])]),
    ("qwen", &[(&["qwen3"], &["qwen3"]), (&["qwen2", "qwen1"], &["qwen2"]), (&["qwen"], &["qwen"])]),
    (
        "gemma",
        &[
            (
                &["gemma 3 270m", "gemma 3 1b", "gemma 3 4b", "gemma 3 12b", "gemma 3 27b", "gemma3"],
                &["gemma3"],
            ),
            (&["gemma 2 2b", "gemma 2 9b", "gemma 2 27b", "gemma2"], &["gemma2"]),
            (&["gemma"], &["gemma"]),
        ],
    ),
    ("phi", &[]),
    ("gpt2", &[(&["gpt2"], &["gpt2"])]),
    ("pythia", &[(&["pythia"], &["gptneox"])]),
    ("gptneox", &[(&["gpt neox"], &["gptneox"])]),
    ("olmo", &[(&["olmo"], &["olmo"])]),
];

/// In GGUF files they are of the architecture `llama`; a folder says which of them it is.
const MISTRALS: &[&str] = &["mistral", "ministral"];

/// Networks of text alone that a model says it is of, and that a name can contradict.
const NETWORKS: [&str; 17] = [
    "llama",
    "llama4",
    "mistral",
    "mistral3",
    "ministral",
    "smollm3",
    "qwen",
    "qwen2",
    "qwen3",
    "gemma",
    "gemma2",
    "gemma3",
    "gemma3text",
    "phi",
    "gpt2",
    "gptneox",
    "olmo2",
];

#[derive(Deserialize)]
struct Stated {
    base_model_name_or_path: Option<String>,
}

/// The model that settings name as the one they are for, if they name one.
pub(super) fn base(settings: &[u8]) -> Option<String> {
    serde_json::from_slice::<Stated>(settings).ok()?.base_model_name_or_path
}

/// What speaks against an adapter with these settings being for this model; nothing if nothing does.
pub(super) fn doubt(settings: &[u8], model: &Package) -> Option<String> {
    let stated = base(settings)?;
    let (network, is_gguf) = network(model)?;
    // The folder it lay in says nothing of the model.
    let name = stated.trim_end_matches('/').rsplit('/').next().unwrap_or(&stated);
    let starts = said(name)?;
    let found = plain(&network);
    let fits = starts.iter().any(|start| found.starts_with(start))
        || is_gguf && starts == MISTRALS && found == "llama"
        || !NETWORKS.contains(&found.as_str());
    (!fits).then(|| {
        format!(
            "the adapter says that it was trained for {stated:?} (`base_model_name_or_path`), and this model's \
             network is `{network}`: its shapes fit, but by chance"
        )
    })
}

/// The network that a model says it is of, and whether a GGUF file says it.
fn network(base: &Package) -> Option<(String, bool)> {
    if let Some(facts) = &base.facts {
        return facts.text("general.architecture").map(|name| (name.to_owned(), true));
    }
    HfConfig::model_type(&base.companion(CONFIG)?.bytes).map(|name| (name, false))
}

/// Letters and digits alone, in small letters.
fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// How the networks begin that models of this name are of, if it says that for certain.
fn said(name: &str) -> Option<&'static [&'static str]> {
    let letters = plain(name);
    let mut families = FAMILIES.iter().filter(|(word, _)| letters.contains(word));
    let (Some((_, said)), None) = (families.next(), families.next()) else { return None };
    let words: Vec<String> = name.split(|c: char| !c.is_ascii_alphanumeric()).map(plain).collect();
    let words = format!(" {} ", words.join(" "));
    let has = |part: &str| words.contains(&format!(" {part} "));
    said.iter().find(|(parts, _)| parts.iter().any(|part| has(part))).map(|(_, starts)| *starts)
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
            ("openai-community/gpt2", "llama", true),
            ("google/gemma-3-270m", "gemma3_text", false),
            ("google/gemma-3-270m", "gemma2", true),
            ("Qwen/Qwen3-0.6B", "gemma3_text", true),
            ("google/gemma-2b", "gemma", false),
            ("google/gemma-2-2b", "gemma", true),
            ("somebody/my-qwen-3b", "qwen2", false),
            ("TinyLlama/TinyLlama-1.1B-Chat-v1.0", "llama", false),
            ("TinyLlama/TinyLlama-1.1B-Chat-v1.0", "qwen2", true),
            ("codellama/CodeLlama-7b-hf", "mistral", true),
            // Families that are around as other networks, or have their name on models of several.
            ("tiiuae/Falcon3-7B-Base", "llama", false),
            ("tiiuae/Falcon-E-1B-Base", "llama", false),
            ("microsoft/Phi-4-mini-instruct", "phi3", false),
            ("unsloth/phi-4", "llama", false),
            ("unsloth/Phi-3-mini-4k-instruct", "mistral", false),
            ("HuggingFaceH4/zephyr-7b-beta", "mistral", false),
            ("01-ai/Yi-6B", "llama", false),
            ("google/recurrentgemma-2b", "recurrent_gemma", false),
            ("somebody/merged-llama-factory", "qwen2", false),
            ("somebody/llama-4bit", "llama", false),
            // Networks around one of these, and made of several.
            ("xtuner/llava-llama-3-8b", "llava", false),
            ("nvidia/Llama-3_1-Nemotron-51B-Instruct", "nemotron-nas", false),
            ("somebody/TinyLlama-4x1.1B-MoE", "mixtral", false),
            ("somebody/Qwen2-7B-llamafied", "llama", false),
            // Of names that say no family, and of two families, nothing is known.
            ("somebody/my-model", "llama", false),
            ("somebody/llama-to-mistral", "mistral", false),
        ] {
            assert_eq!(is_doubted(stated, network), doubted, "{stated} on {network}");
        }
        assert_eq!(doubt(b"{}", &Package::of_weights(Weights::none())), None);
    }
}
