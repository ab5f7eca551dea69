//! Which model the harness loaded, and that it ran that model and no other one made of it.
//!
//! The path it was loaded from must have the model's SHA-256 as one of its parts. That is worth nothing if
//! an adapter was put on it, its weights were rounded or another revision was fetched; so only arguments are
//! taken that are known to leave the model as it is, and a new one is refused until it is known, too.

use serde_json::{Map, Value, json};

use super::refuse;
use crate::base::digest::Sha256;
use crate::evaluate::EvaluateError;

/// Where and how fast it was run.
const HARMLESS: &[&str] = &[
    "pretrained",
    "backend",
    "batch_size",
    "max_batch_size",
    "device",
    "device_map",
    "device_map_option",
    "parallelize",
    "max_memory_per_gpu",
    "max_cpu_memory",
    "low_cpu_mem_usage",
    "offload_folder",
    "use_fast_tokenizer",
    "logits_cache",
    "attn_implementation",
    "tensor_parallel_size",
    "data_parallel_size",
    "gpu_memory_utilization",
    "swap_space",
    "enforce_eager",
    "seed",
];

/// How it was asked: two models are compared only if these are the same for both.
const ASKING: &[&str] = &["dtype", "add_bos_token", "max_length", "max_model_len", "truncation"];

/// Members of `config` that name what was put on the model.
const PUT_ON: &[&str] = &["peft_sha", "delta_sha"];

/// Refuses results of another model; how this one was asked.
pub(super) fn settings(results: &Value, artifact: &Sha256) -> Result<Value, EvaluateError> {
    let config = &results["config"];
    let arguments = arguments(&config["model_args"])?;
    let nothing = Value::Null;
    is(arguments.get("pretrained").unwrap_or(&nothing), artifact)?;
    let mut settings = Map::new();
    for (name, value) in arguments {
        if ASKING.contains(&name.as_str()) {
            settings.insert(name, value);
        } else if !HARMLESS.contains(&name.as_str()) && !is_off(&value) {
            return refuse(format!(
                "the model was loaded with `{name}={}`, which is not known to leave it as it is: measure the \
                 model itself, without `{name}`",
                plain(&value)
            ));
        }
    }
    if let Some(name) = PUT_ON.iter().find(|name| !is_off(&config[**name])) {
        return refuse(format!("the results are of the model with something put on it (`config.{name}`)"));
    }
    for name in ["gen_kwargs", "system_instruction_sha", "chat_template_sha", "fewshot_as_multiturn"] {
        let value = if config[name].is_null() { &results[name] } else { &config[name] };
        if !is_off(value) {
            settings.insert(name.to_owned(), value.clone());
        }
    }
    Ok(Value::Object(settings))
}

/// The arguments by name: a text `a=b,c=d`, or an object.
fn arguments(given: &Value) -> Result<Map<String, Value>, EvaluateError> {
    match given {
        Value::Object(members) => Ok(members.clone()),
        Value::String(text) => {
            let mut found = Map::new();
            for part in text.split(',').filter(|part| !part.is_empty()) {
                let (name, value) = part.split_once('=').unwrap_or((part, ""));
                if found.insert(name.trim().to_owned(), json!(value)).is_some() {
                    return refuse(format!("the results name the model's `{name}` twice"));
                }
            }
            Ok(found)
        }
        _ => refuse("the results do not say which model was loaded (`config.model_args`)"),
    }
}

/// The path has the digest as a part, and no other digest.
fn is(path: &Value, artifact: &Sha256) -> Result<(), EvaluateError> {
    let text = path.as_str().unwrap_or_default();
    let wanted = artifact.to_string();
    let is_digest = |part: &&str| part.len() == 64 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut parts = text.split(['/', '\\', '.', ':']).filter(is_digest);
    match parts.next() {
        Some(found) if found == wanted && parts.next().is_none() => Ok(()),
        Some(found) if found != wanted => {
            refuse(format!("the results are of the model {found}, not of {wanted}"))
        }
        Some(_) => refuse("the results name several models"),
        None => refuse(format!(
            "nothing says that the results are of this model: load it from a path with {wanted} in it"
        )),
    }
}

/// What stands for an argument that was not used.
fn is_off(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => matches!(text.as_str(), "" | "False" | "false" | "None" | "null"),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{artifact, refused, results, samples, take};
    use super::*;

    /// Results of a model that was loaded with these arguments as well.
    fn loaded(more: &str) -> Value {
        let mut with = results();
        with["config"]["model_args"] = json!(format!("pretrained=out/{},{more}", artifact()));
        with
    }

    #[test]
    fn the_threat_of_results_of_another_model() {
        let other = Sha256::of(b"other");
        refused(
            |r, _| r["config"]["model_args"] = json!(format!("pretrained=out/{other}")),
            "are of the model",
        );
        refused(|r, _| r["config"]["model_args"] = json!("pretrained=gpt2"), "nothing says");
        refused(|r, _| r["config"]["model_args"] = json!({"dtype": "float32"}), "nothing says");
        refused(|r, _| r["config"]["model_args"] = json!(null), "do not say which model");
        refused(
            |r, _| r["config"]["model_args"] = json!(format!("pretrained={other}/{}", artifact())),
            "are of the model",
        );
        refused(
            |r, _| r["config"]["model_args"] = json!(format!("pretrained={}/{other}", artifact())),
            "several models",
        );
        refused(|r, _| *r = loaded(&format!("pretrained={other}")), "twice");
    }

    #[test]
    fn the_threat_of_another_model_made_of_this_one_while_it_was_loaded() {
        for (name, value) in [
            ("peft", "/x/lora"),
            ("delta", "/x/delta"),
            ("load_in_4bit", "True"),
            ("load_in_8bit", "True"),
            ("autogptq", "True"),
            ("gptqmodel", "True"),
            ("gguf_file", "model-q2_k.gguf"),
            ("revision", "step1000"),
            ("subfolder", "other"),
            ("tokenizer", "gpt2"),
            ("trust_remote_code", "True"),
            ("quantization_config", "bnb"),
            ("something_of_next_year", "1"),
        ] {
            refused(
                |r, _| *r = loaded(&format!("dtype=float32,{name}={value}")),
                &format!("`{name}={value}`"),
            );
            let object = json!({"pretrained": format!("x/{}", artifact()), name: value});
            refused(|r, _| r["config"]["model_args"] = object, &format!("`{name}={value}`"));
        }
        refused(|r, _| r["config"]["peft_sha"] = json!("abc"), "config.peft_sha");
        for off in ["peft=None", "load_in_4bit=False", "trust_remote_code=False,batch_size=8", ""] {
            assert!(take(&loaded(off), &samples()).is_ok(), "{off}");
        }
        let mut object = results();
        object["config"]["model_args"] = json!({
            "pretrained": format!("x/{}", artifact()), "dtype": "float32", "peft": null, "parallelize": true,
        });
        assert!(take(&object, &samples()).is_ok());
    }
}
