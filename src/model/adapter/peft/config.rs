//! `adapter_config.json`: what the factors mean, or why they cannot be used.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;

/// Settings of a LoRA whose delta is `scale * B A` and nothing else.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    rank: u64,
    alpha: f64,
    rank_pattern: Patterns,
    alpha_pattern: Patterns,
    rslora: bool,
    /// The modules it is for, where they are named.
    targets: Option<Targets>,
    /// Those of them that it is not for.
    excluded: Option<Targets>,
    /// The only layers that have factors, where they are listed.
    layers: Option<Vec<u64>>,
    /// Whether weights are said to be stored in x out.
    pub fan_in_fan_out: bool,
}

/// Other numbers for some modules, by patterns over their names.
#[derive(Debug, Clone)]
struct Patterns {
    key: &'static str,
    /// In the file's order: the first that matches counts.
    all: Vec<(fancy_regex::Regex, f64)>,
}

impl PartialEq for Patterns {
    fn eq(&self, other: &Self) -> bool {
        let text = |(pattern, value): &(fancy_regex::Regex, f64)| (pattern.as_str().to_owned(), *value);
        self.all.iter().map(text).eq(other.all.iter().map(text))
    }
}

impl Patterns {
    /// A pattern is one of whole names, or of what stands behind a dot in them, as in the library.
    fn new(key: &'static str, given: Option<Pairs>) -> Result<Self, SettingsError> {
        let compiled = |(pattern, value): (String, f64)| match fancy_regex::Regex::new(&format!(
            r"^(.*\.)?({pattern})$"
        )) {
            Ok(regex) => Ok((regex, value)),
            Err(error) => Err(SettingsError::Pattern { key, pattern, why: error.to_string() }),
        };
        let all = given.unwrap_or_default().0.into_iter().map(compiled).collect::<Result<_, _>>()?;
        Ok(Self { key, all })
    }

    /// The number for a module, if there is one of its own.
    fn of(&self, module: &str) -> Result<Option<f64>, SettingsError> {
        for (pattern, value) in &self.all {
            if held(pattern, module, self.key)? {
                return Ok(Some(*value));
            }
        }
        Ok(None)
    }
}

/// Whether a pattern matches a module. One that takes too long to match says neither.
fn held(pattern: &fancy_regex::Regex, module: &str, key: &'static str) -> Result<bool, SettingsError> {
    pattern.is_match(module).map_err(|error| SettingsError::Pattern {
        key,
        pattern: pattern.as_str().to_owned(),
        why: format!("it cannot be held against `{module}`: {error}"),
    })
}

/// The modules an adapter is for.
#[derive(Debug, Clone)]
enum Targets {
    /// Names, or endings of names.
    Listed(Vec<String>),
    /// A pattern of whole names, and as it was written.
    Pattern(Box<fancy_regex::Regex>, String),
}

impl Targets {
    /// Whether they name a module; `key` is where they stand.
    fn name(&self, module: &str, key: &'static str) -> Result<bool, SettingsError> {
        match self {
            Self::Listed(names) => Ok(names.iter().any(|name| is_or_ends_in(module, name))),
            Self::Pattern(pattern, _) => held(pattern, module, key),
        }
    }
}

impl PartialEq for Targets {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Listed(ours), Self::Listed(theirs)) => ours == theirs,
            (Self::Pattern(_, ours), Self::Pattern(_, theirs)) => ours == theirs,
            _ => false,
        }
    }
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// Not JSON, or a value of another type.
    #[error("is not a usable configuration: {0}")]
    Json(#[from] serde_json::Error),
    /// A setting without which there is no delta.
    #[error("has no {key}; expected {expected}")]
    Missing {
        /// The key.
        key: &'static str,
        /// What can be used.
        expected: &'static str,
    },
    /// A setting that changes weights in a way that is not known here, or that cannot be.
    #[error("{key} is {found}; expected {expected}")]
    Setting {
        /// The key.
        key: &'static str,
        /// Its value.
        found: String,
        /// What can be used.
        expected: &'static str,
    },
    /// A pattern that is none.
    #[error("{key} has the pattern {pattern:?}, which cannot be used: {why}")]
    Pattern {
        /// The key.
        key: &'static str,
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        why: String,
    },
}

impl Settings {
    /// Reads the settings.
    ///
    /// # Errors
    ///
    /// [`SettingsError::Json`] of what is no JSON object, or has a value of another type;
    /// [`SettingsError::Missing`] without `r` or `lora_alpha`; [`SettingsError::Setting`] of one that makes
    /// another thing than a plain LoRA, or cannot be; [`SettingsError::Pattern`] of a pattern that is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, SettingsError> {
        let raw: Raw = serde_json::from_slice(bytes)?;
        raw.refuse_what_is_more()?;
        let rank = need(raw.r, "r", RANK)?;
        let alpha = need(raw.lora_alpha, "lora_alpha", ALPHA)?;
        let settings = Self {
            rank,
            alpha,
            rank_pattern: Patterns::new("rank_pattern", raw.rank_pattern)?,
            alpha_pattern: Patterns::new("alpha_pattern", raw.alpha_pattern)?,
            rslora: raw.use_rslora.unwrap_or(false),
            targets: read("target_modules", raw.target_modules.as_ref())?,
            excluded: read("exclude_modules", raw.exclude_modules.as_ref())?,
            layers: raw.layers_to_transform.map(Layers::all),
            fan_in_fan_out: raw.fan_in_fan_out.unwrap_or(false),
        };
        expect(rank >= 1, "r", rank, RANK)?;
        expect(alpha.is_finite(), "lora_alpha", alpha, ALPHA)?;
        Ok(settings)
    }

    /// The rank of a module's factors.
    ///
    /// # Errors
    ///
    /// [`SettingsError::Pattern`] of a pattern that takes too long to be held against the module.
    pub fn rank(&self, module: &str) -> Result<u64, SettingsError> {
        let rank = self.rank_pattern.of(module)?;
        // A rank that is no whole number is one that no factor has.
        Ok(rank.map_or(self.rank, |rank| rank as u64))
    }

    /// The factor on a module's product, as the library computes it: in f64.
    ///
    /// # Errors
    ///
    /// As [`Self::rank`].
    pub fn scale(&self, module: &str) -> Result<f64, SettingsError> {
        let alpha = self.alpha_pattern.of(module)?.unwrap_or(self.alpha);
        let rank = self.rank(module)? as f64;
        Ok(if self.rslora { alpha / rank.sqrt() } else { alpha / rank })
    }

    /// Why a module cannot have factors; nothing if it can.
    ///
    /// # Errors
    ///
    /// As [`Self::rank`].
    pub fn forbids(&self, module: &str) -> Result<Option<&'static str>, SettingsError> {
        let names = |targets: &Option<Targets>, key| match targets {
            Some(targets) => targets.name(module, key).map(Some),
            None => Ok(None),
        };
        if names(&self.excluded, "exclude_modules")? == Some(true) {
            return Ok(Some("exclude_modules leaves it out"));
        }
        if names(&self.targets, "target_modules")? == Some(false) {
            return Ok(Some("target_modules does not list it"));
        }
        let layers = self.layers.as_ref().filter(|layers| !layers.is_empty());
        let among = |layers: &Vec<u64>| layer_of(module).is_some_and(|layer| layers.contains(&layer));
        Ok(layers.is_some_and(|layers| !among(layers)).then_some("layers_to_transform leaves its layer out"))
    }

    /// A name in the list that none of these modules has, though it is not left out on purpose.
    pub fn missing(&self, modules: &[&str]) -> Option<&str> {
        let Some(Targets::Listed(names)) = &self.targets else { return None };
        let is_there = |name: &&String| modules.iter().any(|module| is_or_ends_in(module, name));
        let is_excluded = |name: &&String| match &self.excluded {
            None => false,
            Some(Targets::Listed(excluded)) => {
                excluded.iter().any(|one| is_or_ends_in(one, name) || is_or_ends_in(name, one))
            }
            // Which of the base's modules a pattern leaves out, only whoever has the base can say.
            Some(Targets::Pattern(..)) => true,
        };
        names.iter().find(|name| !is_there(name) && !is_excluded(name)).map(String::as_str)
    }
}

/// Which modules are meant: names, or a pattern that a whole name must match. Of `all-linear` the factors
/// say which modules those were.
fn read(key: &'static str, value: Option<&Value>) -> Result<Option<Targets>, SettingsError> {
    let Some(value) = value else { return Ok(None) };
    let wrong = |found: &Value| SettingsError::Setting {
        key,
        found: found.to_string(),
        expected: "a list of names, or a pattern",
    };
    match value {
        Value::String(word) if word == "all-linear" => Ok(None),
        Value::String(pattern) => match fancy_regex::Regex::new(&format!("^(?:{pattern})$")) {
            Ok(regex) => Ok(Some(Targets::Pattern(Box::new(regex), pattern.clone()))),
            Err(_) => Err(wrong(value)),
        },
        Value::Array(names) => {
            let name = |name: &Value| name.as_str().map(str::to_owned).ok_or_else(|| wrong(name));
            names.iter().map(name).collect::<Result<_, _>>().map(|names| Some(Targets::Listed(names)))
        }
        Value::Null => Ok(None),
        other => Err(wrong(other)),
    }
}

/// Which layer a module is of: the last number that stands alone between dots, behind a name.
fn layer_of(module: &str) -> Option<u64> {
    let parts: Vec<&str> = module.split('.').collect();
    let inner = parts.get(2..parts.len().checked_sub(1)?)?;
    inner.iter().rev().find_map(|part| part.parse().ok())
}

/// Whether a module has this name, or ends in it after a dot.
fn is_or_ends_in(module: &str, name: &str) -> bool {
    module.strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

const RANK: &str = "1 or more";
const ALPHA: &str = "a number";

fn need<T>(found: Option<T>, key: &'static str, expected: &'static str) -> Result<T, SettingsError> {
    found.ok_or(SettingsError::Missing { key, expected })
}

fn expect(
    holds: bool,
    key: &'static str,
    found: impl ToString + Copy,
    expected: &'static str,
) -> Result<(), SettingsError> {
    if holds { Ok(()) } else { Err(SettingsError::Setting { key, found: found.to_string(), expected }) }
}

/// Every key that matters; `null` is as good as nothing, other keys mean nothing for the weights.
#[derive(Deserialize)]
struct Raw {
    peft_type: Option<String>,
    r: Option<u64>,
    lora_alpha: Option<f64>,
    use_rslora: Option<bool>,
    rank_pattern: Option<Pairs>,
    alpha_pattern: Option<Pairs>,
    target_modules: Option<Value>,
    exclude_modules: Option<Value>,
    layers_to_transform: Option<Layers>,
    layers_pattern: Option<Value>,
    target_parameters: Option<Vec<String>>,
    fan_in_fan_out: Option<bool>,
    bias: Option<String>,
    modules_to_save: Option<Vec<String>>,
    use_dora: Option<bool>,
    use_qalora: Option<bool>,
    lora_bias: Option<bool>,
    layer_replication: Option<Value>,
    alora_invocation_tokens: Option<Value>,
    trainable_token_indices: Option<Value>,
    init_lora_weights: Option<Value>,
}

/// One layer, or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Layers {
    One(u64),
    Several(Vec<u64>),
}

impl Layers {
    fn all(self) -> Vec<u64> {
        match self {
            Self::One(layer) => vec![layer],
            Self::Several(layers) => layers,
        }
    }
}

/// Ways to begin that take something out of the base's own weights.
const CHANGES_THE_BASE: [&str; 5] = ["pissa", "olora", "corda", "loftq", "lora_ga"];

impl Raw {
    fn refuse_what_is_more(&self) -> Result<(), SettingsError> {
        let kind = self.peft_type.as_deref().unwrap_or("nothing");
        expect(kind == "LORA", "peft_type", kind, "\"LORA\"")?;
        let bias = self.bias.as_deref().unwrap_or("none");
        expect(bias == "none", "bias", bias, "\"none\": biases of the base are not changed here")?;
        let modules = self.modules_to_save.as_deref().unwrap_or_default().join(", ");
        let none = "none: modules saved whole are no low-rank deltas";
        expect(modules.is_empty(), "modules_to_save", &modules, none)?;
        let parameters = self.target_parameters.as_deref().unwrap_or_default().join(", ");
        let none = "none: factors for parameters that are no module's weight are not supported";
        expect(parameters.is_empty(), "target_parameters", &parameters, none)?;
        // Without layers that are listed, the pattern says nothing.
        let pattern = self.layers_pattern.as_ref().filter(|_| self.layers_to_transform.is_some());
        let usual =
            [Value::String("layers".to_owned()), serde_json::json!(["layers"]), serde_json::json!([])];
        if let Some(pattern) = pattern.filter(|pattern| !usual.contains(pattern)) {
            expect(false, "layers_pattern", &pattern.to_string(), "none, or \"layers\"")?;
        }
        let off = "off: it changes weights in a way that is not computed here";
        let flags =
            [("use_dora", self.use_dora), ("use_qalora", self.use_qalora), ("lora_bias", self.lora_bias)];
        for (key, flag) in flags {
            expect(flag != Some(true), key, "true", off)?;
        }
        let values = [
            ("layer_replication", &self.layer_replication),
            ("alora_invocation_tokens", &self.alora_invocation_tokens),
            ("trainable_token_indices", &self.trainable_token_indices),
        ];
        for (key, value) in values {
            let found = value.as_ref().map_or(String::new(), Value::to_string);
            expect(value.is_none(), key, &found, off)?;
        }
        let start = self.init_lora_weights.as_ref().and_then(Value::as_str).unwrap_or_default();
        // The library lets people write these names as they like.
        let way = start.to_ascii_lowercase();
        let changed = CHANGES_THE_BASE.iter().any(|known| way.starts_with(known));
        let expected = "one that leaves the base as it is: save the adapter converted to a plain LoRA";
        expect(!changed, "init_lora_weights", start, expected)
    }
}

/// A JSON object of numbers, in its own order.
#[derive(Debug, Default)]
struct Pairs(Vec<(String, f64)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Pairs;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with a number for each name")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(more: &str) -> Result<Settings, SettingsError> {
        let plain = "\"peft_type\":\"LORA\",\"r\":8,\"lora_alpha\":16,\"unheard_of\":[1]";
        Settings::parse(format!("{{{plain}{}{more}}}", if more.is_empty() { "" } else { "," }).as_bytes())
    }

    #[test]
    fn rank_and_scale_follow_patterns() {
        let module = "model.layers.1.self_attn.q_proj";
        let plain =
            settings("\"bias\":\"none\",\"modules_to_save\":null,\"init_lora_weights\":true").unwrap();
        assert_eq!((plain.rank(module).unwrap(), plain.scale(module).unwrap()), (8, 2.0));
        let stable = settings("\"use_rslora\":true").unwrap();
        assert_eq!(stable.scale(module).unwrap(), 16.0 / 8.0_f64.sqrt());
        let patterns = settings(
            "\"rank_pattern\":{\"q_proj\":4,\"^model.layers.0.self_attn.q_proj\":2},\
             \"alpha_pattern\":{\"layers.1.self_attn.q_proj\":2.5,\"j_proj\":3}",
        )
        .unwrap();
        assert_eq!((patterns.rank(module).unwrap(), patterns.scale(module).unwrap()), (4, 0.625));
        assert_eq!(patterns.rank("model.layers.1.self_attn.k_proj").unwrap(), 8);
        assert_eq!(patterns.rank("freq_proj").unwrap(), 8, "an ending begins after a dot");
    }

    /// What PEFT's `get_pattern_key` finds (tests/fixtures/adapters_patterns.py), with values in the place of keys.
    #[test]
    fn patterns_are_those_of_the_library() {
        let fixture: Value =
            serde_json::from_str(include_str!("../../../../tests/fixtures/adapters_patterns.json")).unwrap();
        let cases = fixture.as_array().unwrap();
        assert!(cases.len() >= 12);
        for case in cases {
            let patterns: Vec<&str> = case["patterns"]
                .as_array()
                .unwrap()
                .iter()
                .map(|pattern| pattern.as_str().unwrap())
                .collect();
            let pairs = patterns.iter().enumerate().map(|(i, pattern)| ((*pattern).to_owned(), i as f64));
            let patterns = Patterns::new("rank_pattern", Some(Pairs(pairs.collect()))).unwrap();
            let expected = case["found"].as_u64().map(|found| found as f64);
            assert_eq!(patterns.of(case["module"].as_str().unwrap()).unwrap(), expected, "{case}");
        }
        let error = settings("\"rank_pattern\":{\"(q_proj\":4}").unwrap_err().to_string();
        assert!(
            error.starts_with("rank_pattern has the pattern \"(q_proj\", which cannot be used"),
            "{error}"
        );
    }

    #[test]
    fn targets_are_names_or_endings() {
        let listed = settings("\"target_modules\":[\"q_proj\",\"mlp.up_proj\"]").unwrap();
        assert!(
            listed.forbids("model.layers.0.self_attn.q_proj").unwrap().is_none()
                && listed.forbids("q_proj").unwrap().is_none()
        );
        assert!(
            listed.forbids("model.mlp.up_proj").unwrap().is_none()
                && listed.forbids("model.up_proj").unwrap().is_some()
        );
        assert!(listed.forbids("freq_proj").unwrap().is_some());
        assert!(
            settings("\"target_modules\":\"all-linear\"").unwrap().forbids("anything").unwrap().is_none()
        );
        let modules = ["model.layers.0.self_attn.q_proj", "model.mlp.up_proj"];
        assert_eq!(listed.missing(&modules), None);
        assert_eq!(listed.missing(&modules[..1]), Some("mlp.up_proj"));
        // The library writes down what `all-linear` meant before modules were left out of it.
        let excluding = |what: &str| {
            let listed = "\"target_modules\":[\"q_proj\",\"mlp.up_proj\"],\"exclude_modules\":";
            let settings = settings(&format!("{listed}{what}")).unwrap();
            settings.missing(&modules[..1]).map(str::to_owned)
        };
        assert_eq!(excluding("[\"model.mlp.up_proj\"]"), None);
        assert_eq!(excluding("[\"mlp.up_proj\"]"), None);
        assert_eq!(excluding("\".*up_proj\""), None);
        assert_eq!(excluding("[\"down_proj\"]"), Some("mlp.up_proj".to_owned()));
        assert_eq!(excluding("null"), Some("mlp.up_proj".to_owned()));
        let forbids = |more: &str, module: &str| settings(more).unwrap().forbids(module).unwrap();
        let query = "model.layers.3.self_attn.q_proj";
        for excluded in ["[\"q_proj\"]", "[\"model.layers.3.self_attn.q_proj\"]", "\".*q_proj\""] {
            let found = forbids(&format!("\"exclude_modules\":{excluded}"), query);
            assert_eq!(found, Some("exclude_modules leaves it out"), "{excluded}");
        }
        assert_eq!(forbids("\"exclude_modules\":[\"k_proj\"]", query), None);
        for layers in ["3", "[1,3]", "[]", "null"] {
            assert_eq!(forbids(&format!("\"layers_to_transform\":{layers}"), query), None, "{layers}");
        }
        let left_out = Some("layers_to_transform leaves its layer out");
        assert_eq!(forbids("\"layers_to_transform\":[0,4],\"layers_pattern\":\"layers\"", query), left_out);
        assert_eq!(forbids("\"layers_to_transform\":0", "lm_head"), left_out);
        let error = settings("\"layers_to_transform\":0,\"layers_pattern\":\"h\"").unwrap_err().to_string();
        assert!(error.starts_with("layers_pattern is \"h\""), "{error}");
        // A pattern is one of whole names, as with `re.fullmatch`.
        let pattern = settings("\"target_modules\":\"model\\\\.layers\\\\.[0-3]\\\\..*q_proj\"").unwrap();
        let costly = settings("\"target_modules\":\"(?:a|a)*(?=(a))\\\\1c\"").unwrap();
        let error = costly.forbids(&"a".repeat(60)).unwrap_err().to_string();
        assert!(error.contains("target_modules") && error.contains("cannot be held against"), "{error}");
        assert!(pattern.forbids("model.layers.2.self_attn.q_proj").unwrap().is_none());
        assert!(pattern.forbids("model.layers.7.self_attn.q_proj").unwrap().is_some());
        assert!(pattern.forbids("model.layers.2.self_attn.q_proj.x").unwrap().is_some());
        assert_eq!(pattern.missing(&[]), None);
        for wrong in ["\"(\"", "7", "[1]"] {
            let error = settings(&format!("\"target_modules\":{wrong}")).unwrap_err().to_string();
            assert!(error.contains("target_modules"), "{error}");
        }
    }

    #[test]
    fn what_is_more_than_a_product_is_refused_by_name() {
        for (more, parts) in [
            ("\"use_dora\":true", ["use_dora is true", "not computed here"]),
            ("\"lora_bias\":true", ["lora_bias is true", "off"]),
            ("\"use_qalora\":true", ["use_qalora", "off"]),
            ("\"bias\":\"lora_only\"", ["bias is lora_only", "\"none\""]),
            ("\"modules_to_save\":[\"lm_head\",\"norm\"]", ["modules_to_save is lm_head, norm", "none"]),
            ("\"layer_replication\":[[0,4]]", ["layer_replication is [[0,4]]", "off"]),
            ("\"alora_invocation_tokens\":[1]", ["alora_invocation_tokens", "off"]),
            ("\"init_lora_weights\":\"pissa_niter_4\"", ["init_lora_weights is pissa_niter_4", "plain LoRA"]),
            ("\"init_lora_weights\":\"OLoRA\"", ["init_lora_weights is OLoRA", "plain LoRA"]),
            ("\"init_lora_weights\":\"lora_ga\"", ["init_lora_weights is lora_ga", "plain LoRA"]),
            ("\"target_parameters\":[\"experts.w1\"]", ["target_parameters is experts.w1", "not supported"]),
            ("\"r\":0", ["duplicate field", "r"]),
            ("\"rank_pattern\":[1]", ["expected an object with a number", "usable configuration"]),
        ] {
            let error = settings(more).unwrap_err().to_string();
            assert!(parts.iter().all(|part| error.contains(part)), "{parts:?} are not in {error}");
        }
        let refused = |text: &str| Settings::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(refused("{\"peft_type\":\"IA3\"}").contains("peft_type is IA3"));
        assert!(
            refused("{\"peft_type\":\"LORA\",\"lora_alpha\":1}").contains("has no r; expected 1 or more")
        );
        assert!(refused("{\"peft_type\":\"LORA\",\"r\":1}").contains("has no lora_alpha; expected a number"));
        assert!(refused("{\"peft_type\":\"LORA\",\"r\":0,\"lora_alpha\":1}").contains("r is 0"));
        assert!(settings("\"target_parameters\":[]").is_ok());
        assert!(refused("[").contains("usable configuration"));
        assert!(settings("\"init_lora_weights\":\"gaussian\"").is_ok());
    }
}
