//! What the networks of two models do not have in common, so that no plan makes a child of both.
//!
//! A compatibility report refuses it, and says it in the words of its record. It follows from what the models say
//! of themselves, so people are told before a run, in a phrase for each difference.

use super::arithmetic::{Bearing, unlike};
use super::context::contexts_differ;
use super::identity::architecture_differences;
use super::package::Package;

/// The field of the number of tokens: a child may have those of one of them all the same.
const TOKENS: &str = "architecture.vocab_size";
/// That of the context, for which there is a phrase that says what bounds it.
const CONTEXT: &str = "architecture.max_context";

/// Every difference as a phrase, the context's first; none if children can be made of both, or one of the two does
/// not say what it is. The child is like the first model; `tokens_of_base` is whether it has that one's tokens,
/// whatever the other's are.
pub fn networks_differ(
    (here, ours): (&str, &Package),
    (there, theirs): (&str, &Package),
    tokens_of_base: bool,
) -> Vec<String> {
    let mut told: Vec<String> = contexts_differ((here, ours), (there, theirs)).into_iter().collect();
    let differ = |(field, one, other): (String, String, String)| {
        let field = field.split_once('.').map_or(&*field, |(_, field)| field);
        format!("`{field}` of `{here}` is {one}, that of `{there}` {other}")
    };
    let known = known_differ(ours, theirs);
    let of_others = unlike(ours, theirs).into_iter().filter(|found| {
        found.bearing == Bearing::Network && !known.iter().any(|(field, ..)| *field == found.field)
    });
    let of_others = of_others.map(|found| (found.field, found.ours, found.theirs));
    let all = known.iter().cloned().chain(of_others);
    told.extend(
        all.filter(|(field, ..)| *field != CONTEXT && !(tokens_of_base && field == TOKENS)).map(differ),
    );
    told
}

/// The fields in which two networks that are known here differ. A model without an output matrix of its own gives
/// its embedding matrix where the child has one.
fn known_differ(ours: &Package, theirs: &Package) -> Vec<(String, String, String)> {
    let (Ok(one), Ok(other)) = (&ours.config, &theirs.config) else { return Vec::new() };
    let mut other = other.clone();
    other.tied_output &= one.tied_output;
    let differences = architecture_differences(one, &other).into_iter();
    differences.map(|found| (found.field, found.ours, found.theirs)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::huggingface::{CONFIG, HfConfig};
    use crate::model::package::Companion;
    use crate::model::weights::Weights;

    const GEMMA3: &str = r#"{"model_type": "gemma3_text", "hidden_size": 8, "num_hidden_layers": 3,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 4, "intermediate_size": 16,
        "vocab_size": 32, "max_position_embeddings": 64, "sliding_window": 8, "rms_norm_eps": 1e-6,
        "rope_theta": 1e6}"#;

    fn package(config: &str) -> Package {
        let mut package = Package::of_weights(Weights::none());
        package.companions.push(Companion { name: CONFIG.to_owned(), bytes: config.as_bytes().to_vec() });
        if let Ok(Some(known)) = HfConfig::parse(config.as_bytes()) {
            package.config = known.network();
        }
        package
    }

    fn told(from: &str, to: &str, tokens_of_base: bool) -> Vec<String> {
        assert!(GEMMA3.contains(from), "{from}");
        let other = GEMMA3.replace(from, to);
        networks_differ(("a", &package(GEMMA3)), ("b", &package(&other)), tokens_of_base)
    }

    #[test]
    fn windows_and_frequencies_are_told() {
        assert_eq!(told("\"vocab", "\"torch_dtype\": \"bfloat16\", \"vocab", false), [""; 0]);
        let every = "frequencies of 10000, in every layer";
        assert_eq!(
            told("window\": 8", "window\": 9", false),
            [format!(
                "`sliding_window` of `a` is of 8 positions, {every}, that of `b` of 9 positions, {every}"
            )]
        );
        let pattern = told("\"rope_theta\"", "\"sliding_window_pattern\": 3, \"rope_theta\"", false);
        assert_eq!(pattern.len(), 1, "{pattern:?}");
        assert!(pattern[0].ends_with("frequencies of 10000, but in layers 2"), "{pattern:?}");
        assert_eq!(told("1e6", "1e5", false), ["`rope_theta` of `a` is 1000000, that of `b` 100000"]);
        let local = told("\"rope_theta\"", "\"rope_local_base_freq\": 500, \"rope_theta\"", false);
        assert!(local[0].ends_with("frequencies of 500, in every layer"), "{local:?}");
    }

    #[test]
    fn what_a_child_can_have_of_one_of_them_is_no_difference() {
        assert_eq!(told("\": 32", "\": 33", false), ["`vocab_size` of `a` is 32, that of `b` 33"]);
        assert_eq!(told("\": 32", "\": 33", true), [""; 0]);
        // That of gemma3 is tied; where the child's is not, that of a tied parent is its embedding matrix.
        let untied = GEMMA3.replace("\"vocab", "\"tie_word_embeddings\": false, \"vocab");
        let [tied, untied] = [GEMMA3, &untied].map(package);
        assert_eq!(networks_differ(("a", &untied), ("b", &tied), false), [""; 0]);
        assert_eq!(
            networks_differ(("a", &tied), ("b", &untied), false),
            ["`tied_output` of `a` is true, that of `b` false"]
        );
    }

    #[test]
    fn networks_that_are_not_known_differ_in_what_they_compute() {
        let config =
            |act: &str| package(&format!("{{\"model_type\": \"gpt2\", \"activation_function\": {act}}}"));
        let (one, other) = (config("\"gelu_new\""), config("\"relu\""));
        assert_eq!(
            networks_differ(("a", &one), ("b", &other), false),
            ["`activation_function` of `a` is gelu_new, that of `b` relu"]
        );
        assert_eq!(
            networks_differ(("a", &one), ("b", &Package::of_weights(Weights::none())), false),
            [""; 0]
        );
    }
}
