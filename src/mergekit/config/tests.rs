//! Configurations as people write them, and their mistakes.

use super::*;
use crate::mergekit::setting::{Given, evaluate};

const TIES: &str = "\
models:
  - model: base
  - model: one
    parameters: {density: 0.5, weight: [0, 1]}
  - model: two
    parameters:
      density: [{filter: mlp, value: 0.3}, {value: 0.9}]
      weight: 0.5
merge_method: ties
base_model: base
parameters: {normalize: true, int8_mask: true}
dtype: float32
out_dtype: bfloat16
tokenizer_source: base
";

#[test]
fn a_recipe_as_people_write_it() {
    let config = parse(TIES).unwrap();
    assert_eq!((config.method.name, config.dtype), ("ties", Some(DType::BF16)));
    let Slices::Whole(models) = &config.slices else { panic!() };
    assert_eq!(models.len(), 3);
    let at = |tensor, depth| evaluate(&[&models[2].settings], "density", tensor, depth);
    assert_eq!(at("model.layers.0.mlp.up_proj.weight", 0.0), Some(Given::Number(0.3)));
    assert_eq!(at("lm_head.weight", 0.0), Some(Given::Number(0.9)));
    assert!(!config.settings.contains_key("int8_mask"));
    let plain = "merge_method: linear\nmodels: [{model: a}]\nparameters: {weight: 1, int8_mask: true}\n";
    assert_eq!(parse(plain).unwrap().settings.keys().collect::<Vec<_>>(), ["weight"]);
}

#[test]
fn slices_are_read() {
    let text = "merge_method: passthrough\nslices:\n  - sources: [{model: a, layer_range: [0, 2]}]\n  \
                - sources: [{model: b, layer_range: [1, 4]}]\n";
    let Slices::Stacked(slices) = parse(text).unwrap().slices else { panic!() };
    assert_eq!(slices[1].sources[0].layers, Some(1..4));
}

#[test]
fn models_are_texts_or_mappings() {
    let of = |model: &str| {
        let text = TIES.replace("model: one", &format!("model: {model}"));
        let Slices::Whole(models) = parse(&text).unwrap().slices else { panic!() };
        models[1].model.value.clone()
    };
    assert_eq!(of("one+lora"), "one+lora");
    assert_eq!(of("{path: one}"), "one");
    assert_eq!(of("{model: {path: one}}"), "one");
    assert_eq!(of("{model: one, lora: {path: two}}"), "one+two");
    let revision = TIES.replace("model: one", "model: {model: {path: one, revision: main}}");
    assert_eq!(refused(&revision), ["a path has no `revision` here"]);
}

fn refused(text: &str) -> Vec<String> {
    parse(text).unwrap_err().into_iter().map(|mistake| mistake.message).collect()
}

#[test]
fn what_is_not_supported_is_named() {
    assert_eq!(refused(&TIES.replace("ties", "tise")), ["`tise` is no merge method"]);
    assert_eq!(refused(&TIES.replace("base_model: base\n", "")), ["`ties` needs a base model"]);
    assert_eq!(refused(&TIES.replace("density: 0.5", "densty: 0.5")), ["`ties` has no parameter `densty`"]);
    assert_eq!(refused(&TIES.replace("source: base", "source: [a]")), ["`model` is a list"]);
    let with = |more: &str| {
        let tokenizer = format!("tokenizer: {{source: base, {more}}}");
        refused(&TIES.replace("tokenizer_source: base", &tokenizer))
    };
    for (tokens, message) in [
        ("[a]", "`tokens` is a list"),
        ("{a: {force: true}}", "`force` has no row to force"),
        ("{a: {source: one, force: maybe}}", "`force` is the text \"maybe\""),
        ("{a: {source: {kind: mean}}}", "this is no source of a row"),
        ("{a: {source: {kind: model_token, model: one}}}", "this names no row of a model"),
        (
            "{a: {source: {kind: model_token, model: one, token: b, token_id: 3}}}",
            "there are `token` and `token_id`",
        ),
        ("{a: {source: {kind: model_token, model: one, token_id: -3}}}", "`token_id` is -3"),
        ("{a: {source: {kind: zero, model: one}}}", "a row of zeros has no `model` here"),
        ("{\"\": {source: one}}", "a token is empty"),
    ] {
        assert_eq!(with(&format!("tokens: {tokens}")), [message]);
    }
    assert_eq!(with("pad_to_multiple_of: 0"), ["`pad_to_multiple_of` is 0"]);
    assert_eq!(with("pad_to_multiple_of: [8]"), ["`pad_to_multiple_of` is a list"]);
    assert_eq!(refused(&TIES.replace("float32", "int8")), ["`dtype` cannot be `int8`"]);
    assert_eq!(
        refused(&TIES.replace("dtype: float32", "lazy: true")),
        ["the configuration has no `lazy` here"]
    );
    assert_eq!(refused(&TIES.replace("weight: 0.5", "weight: much")), ["`weight` is the text \"much\""]);
    assert_eq!(refused("merge_method: linear\n"), ["no model is named"]);
    let misplaced = TIES.replace("weight: 0.5", "normalize: true");
    assert_eq!(
        refused(&misplaced),
        ["`normalize` is one for all models, and changes nothing under one of them"]
    );
    let rescale = TIES.replace("weight: 0.5", "rescale: true");
    assert_eq!(refused(&rescale), ["`rescale` is one for all models, and changes nothing under one of them"]);
    assert_eq!(refused(&TIES.replace("model: two", "model: one")), ["`one` is named twice"]);
    assert_eq!(refused(&TIES.replace("normalize: true", "normalize: [1, 0.5]")), ["`normalize` is 0.5"]);
    assert_eq!(refused(&TIES.replace("int8_mask: true", "int8_mask: [x]")), ["`int8_mask` is a list"]);
    let both = TIES.replace("weight: 0.5", "weight: much").replace("ties", "tise");
    assert_eq!(refused(&both).len(), 2, "all at once");
}

/// On or off over depth is not interpolated, however it is written.
#[test]
fn flags_may_be_numbers() {
    let config = parse(&TIES.replace("normalize: true", "normalize: [1, 0, 1]")).unwrap();
    let at = |depth| evaluate(&[&config.settings], "normalize", "t", depth);
    let found = [0.0, 0.4, 0.5, 0.9, 1.0].map(at);
    assert_eq!(found, [true, true, false, false, true].map(|on| Some(Given::Flag(on))));
}
