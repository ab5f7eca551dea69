//! What mergekit 0.1.5 made of the same configurations, from `tests/fixtures/mergekit_merges.py`.
//!
//! Where the definition leaves no choice the numbers are equal to the last bit. Where they are not, the
//! reason stands beside the bound.

use std::path::Path;

use studbook::model::{Package, open_package};

use crate::space::Space;

/// Equal but for the last bits. Numbers here are of about one, so the bounds are in steps of 2^-24, the
/// most that one rounding to f32 can be off by.
const NEAR: [(&str, u32); 28] = [
    // mergekit multiplies and adds in one step where the processor can, with one rounding; here there
    // are two, on every processor.
    ("linear", 3),
    ("linear_filters", 3),
    ("linear_not_normalized", 3),
    ("linear_slices", 3),
    ("linear_slices_filters", 3),
    ("linear_base", 3),
    ("tokens_linear", 3),
    ("tokens_union", 3),
    ("tokens_grown", 3),
    // A mean of rows from sums in f32 there, in f64 here.
    ("tokens_grown_padded", 3),
    ("tokens_base_padded", 3),
    // A quotient there is a product with a rounded reciprocal.
    ("nearswap", 3),
    ("nearswap_filters", 3),
    // Lengths, angles and weights from sums in f32 there, in f64 here.
    ("ties_slice_rescale", 8),
    ("slerp", 8),
    ("slerp_gradient", 8),
    ("nuslerp", 8),
    ("nuslerp_base", 8),
    ("nuslerp_columns", 8),
    ("nuslerp_rows", 8),
    ("model_stock", 16),
    ("model_stock_filter_wise", 16),
    ("karcher", 16),
    ("karcher_base", 16),
    ("multislerp", 8),
    ("multislerp_base", 8),
    ("sce", 8),
    ("sce_whole", 8),
];

/// Drawn elements: each model's draws are its program's own.
const DRAWN: [(&str, f32); 4] =
    [("drawn_dare_linear", 0.5), ("drawn_dare_ties", 0.5), ("drawn_della", 1.0), ("drawn_della_linear", 0.5)];

fn space() -> (Space, Vec<String>) {
    let space = Space::empty();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/mergekit");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&fixtures).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            for entry in std::fs::read_dir(&path).unwrap() {
                let file = entry.unwrap().file_name().into_string().unwrap();
                space.write(&format!("{name}/{file}"), &std::fs::read(path.join(&file)).unwrap());
            }
        } else {
            space.write(&name, &std::fs::read(&path).unwrap());
            names.extend(name.strip_suffix(".yml").map(str::to_owned));
        }
    }
    names.sort();
    (space, names)
}

fn open(space: &Space, name: &str) -> Package {
    open_package(&space.path(name)).unwrap().package
}

/// Both programs' children.
fn children(space: &Space, name: &str) -> [Package; 2] {
    let out = format!("out_{name}");
    space.studbook(&["merge", &format!("{name}.yml"), &out]).exits(0);
    [open(space, &format!("{name}.safetensors")), open(space, &out)]
}

/// The largest difference; `None` if all bits are equal.
fn difference(theirs: &Package, ours: &Package, name: &str) -> Option<f32> {
    assert_eq!(theirs.weights.infos().len(), ours.weights.infos().len(), "{name}");
    let mut largest = None;
    for their in theirs.weights.tensors() {
        let our = ours.weights.tensor(their.name).unwrap_or_else(|| panic!("{name} lacks {}", their.name));
        assert_eq!((their.dtype, their.shape), (our.dtype, our.shape), "{name}: {}", their.name);
        for (their, our) in their.to_f32().iter().zip(our.to_f32()) {
            if their.to_bits() != our.to_bits() {
                largest = Some(largest.unwrap_or(0.0_f32).max((their - our).abs()));
            }
        }
    }
    largest
}

#[test]
fn configurations_make_what_mergekit_makes_of_them() {
    let (space, names) = space();
    let mut equal = 0;
    for name in names.iter().filter(|name| !name.starts_with("drawn_")) {
        let [theirs, ours] = children(&space, name);
        let found = difference(&theirs, &ours, name);
        match NEAR.iter().find(|(near, _)| near == name) {
            Some((_, steps)) => {
                let bound = *steps as f32 / 2_f32.powi(24);
                assert!(
                    found.is_none_or(|found| found <= bound),
                    "{name}: {found:?}, expected at most {bound}"
                );
            }
            None => {
                assert_eq!(found, None, "{name}");
                equal += 1;
            }
        }
    }
    assert_eq!(
        equal, 24,
        "passthrough, task arithmetic, TIES, breadcrumbs, fusion, RAM and two linear merges"
    );
}

#[test]
fn what_is_drawn_is_made_of_the_same_parts() {
    let (space, _) = space();
    let (base, parent) = (open(&space, "base"), open(&space, "a"));
    for (name, weight) in DRAWN {
        let (mut kept, mut elements) = ([0, 0], 0);
        let children = children(&space, name);
        for origin in base.weights.tensors() {
            let origin_values = origin.to_f32();
            let parents = parent.weights.tensor(origin.name).unwrap().to_f32();
            let deltas: Vec<f32> = parents.iter().zip(&origin_values).map(|(x, b)| x - b).collect();
            elements += deltas.len();
            for (child, kept) in children.iter().zip(&mut kept) {
                let child = child.weights.tensor(origin.name).unwrap().to_f32();
                let moved: Vec<f32> = child.iter().zip(&origin_values).map(|(x, b)| x - b).collect();
                let norm = |values: &[f32]| values.iter().map(|value| value.abs()).sum::<f32>();
                // An element has its difference times one factor, or none.
                let survivors: Vec<usize> = (0..moved.len()).filter(|i| moved[*i] != 0.0).collect();
                *kept += survivors.len();
                let whole: f32 = survivors.iter().map(|i| deltas[*i].abs()).sum();
                let factor = norm(&moved) / whole;
                for i in survivors {
                    let expected = factor * deltas[i];
                    assert!((moved[i] - expected).abs() < 1e-6, "{name} {}: {i}", origin.name);
                }
                // The factor gives back the norm of what was dropped: mergekit's rule.
                let expected = weight * norm(&deltas);
                assert!((norm(&moved) / expected - 1.0).abs() < 1e-4, "{name} {}", origin.name);
            }
        }
        for kept in kept {
            let share = kept as f64 / elements as f64;
            assert!((share - 0.6).abs() < 0.06, "{name}: {share} are kept");
        }
    }
}

const TWO: &str = "merge_method: linear\nmodels:\n  - {model: tokens, parameters: {weight: 0.5}}\n  \
                   - {model: tokens_moved, parameters: {weight: 0.25}}\n";

#[test]
fn models_with_other_tokens_are_refused_unless_somebody_says_what_to_do() {
    let (space, _) = space();
    space.write("two.yml", TWO.as_bytes());
    space
        .studbook(&["merge", "two.yml", "out"])
        .exits(2)
        .complains("two.yml:4:")
        .complains("tokens of `tokens` (here) and `tokens_moved` (there): 7 tokens with another id")
        .complains("\"d\": 3 and 4")
        .complains("`tokenizer_source: base`")
        .complains("`--rows-by-number`");
    space.studbook(&["merge", "two.yml", "by_number", "--rows-by-number"]).exits(0);
    space.write("by_token.yml", format!("{TWO}tokenizer: {{source: base}}\n").as_bytes());
    space.studbook(&["merge", "by_token.yml", "by_token"]).exits(0);
    let (by_number, by_token) = (open(&space, "by_number"), open(&space, "by_token"));
    for tensor in by_token.weights.tensors() {
        let same = by_number.weights.tensor(tensor.name).unwrap().data == tensor.data;
        assert_eq!(same, !tensor.name.contains("embed") && !tensor.name.contains("head"), "{}", tensor.name);
    }
    // A union that adds no token is the base's vocabulary.
    space.write("union.yml", format!("{TWO}tokenizer_source: union\n").as_bytes());
    space.studbook(&["merge", "union.yml", "union"]).exits(0);
    assert_eq!(difference(&by_token, &open(&space, "union"), "union"), None);
    let more = TWO.replace("tokens_moved", "tokens_more");
    space.write("union.yml", format!("{more}tokenizer_source: union\n").as_bytes());
    // Tokens nobody has, and a model that says none.
    space.write("more.yml", more.as_bytes());
    space.studbook(&["merge", "more.yml", "out"]).exits(2).complains("3 tokens only there");
    let three =
        format!("{more}  - {{model: tokens_moved, parameters: {{weight: 1}}}}\ntokenizer_source: base\n");
    space.write("three.yml", three.as_bytes());
    // Without a base, who lacks a token has the mean of those that have it: `d` of two, which is then that of all.
    space.studbook(&["merge", "three.yml", "three"]).exits(0);
    let [tokens, moved, child] = ["tokens", "tokens_moved", "three"].map(|name| {
        let matrix = open(&space, name).weights.tensor("lm_head.weight").unwrap().to_f32();
        matrix.chunks(8).map(<[f32]>::to_vec).collect::<Vec<_>>()
    });
    for column in 0..8 {
        let (first, second) = (tokens[3][column], moved[4][column]);
        let expected = (0.5 * first + 0.25 * (first + second) / 2.0 + second) / 1.75;
        assert!((child[3][column] - expected).abs() < 1e-6, "{} {expected}", child[3][column]);
    }
    // A base whose tokenizer cannot be added to, and slices, whose matrices have other models each.
    space.edit("tokens_padded/tokenizer.json", "\"l\": 11", "\"l\": 11, \"far\": 16");
    space.write(
        "far.yml",
        more.replace("{model: tokens,", "{model: tokens_padded,")
            .replace("models:", "tokenizer_source: union\nmodels:")
            .as_bytes(),
    );
    space.studbook(&["merge", "far.yml", "out"]).exits(2).complains("has ids without a row");
    let slices = "merge_method: passthrough\nslices:\n  - sources: [{model: tokens, layer_range: [0, 1]}]\n  \
                  - sources: [{model: tokens_more, layer_range: [1, 2]}]\ntokenizer_source: union\n";
    space.write("slices.yml", slices.as_bytes());
    space
        .studbook(&["merge", "slices.yml", "out"])
        .exits(2)
        .complains("`tokens` has no token \"x\", and slices have no model to stand in");
    let silent = TWO.replace("tokens_moved", "a");
    space.write("silent.yml", format!("{silent}tokenizer_source: base\n").as_bytes());
    space.studbook(&["merge", "silent.yml", "out"]).exits(2).complains("`a` does not say which tokens");
}

/// The child has the tokens of a model that it is not like, that one's tokenizer and its special ids.
#[test]
fn the_tokenizer_may_be_that_of_another_model() {
    let (space, _) = space();
    space.edit("tokens/config.json", "\"vocab_size\"", "\"eos_token_id\": 3,\n  \"vocab_size\"");
    space.edit("tokens_more/config.json", "\"vocab_size\"", "\"eos_token_id\": 9,\n  \"vocab_size\"");
    space.write("tokens/generation_config.json", br#"{"eos_token_id": 3, "temperature": 0.5}"#);
    let more = TWO.replace("tokens_moved", "tokens_more");
    space.write("other.yml", format!("{more}base_model: tokens\ntokenizer_source: tokens_more\n").as_bytes());
    space.studbook(&["merge", "other.yml", "out"]).exits(0);
    assert_eq!(space.read("out/tokenizer.json"), space.read("tokens_more/tokenizer.json"));
    let json = |name: &str| -> serde_json::Value { serde_json::from_str(&space.read(name)).unwrap() };
    let config = json("out/config.json");
    assert_eq!((&config["eos_token_id"], &config["vocab_size"]), (&9.into(), &14.into()));
    let generation = json("out/generation_config.json");
    assert_eq!((&generation["eos_token_id"], &generation["temperature"]), (&9.into(), &0.5.into()));
    assert_eq!(json("out/studbook-receipt.json")["tokenizer_of"], "tokens_more");
    // Ids without a row stay the tokenizer's, and are named; without a source it is a union, as in mergekit.
    space.edit(
        "tokens_more/tokenizer.json",
        "\"added_tokens\": []",
        "\"added_tokens\": [{\"id\": 99, \
        \"content\": \"<far>\", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, \
        \"normalized\": false, \"special\": true}]",
    );
    let said = space.studbook(&["merge", "other.yml", "out", "--force"]).exits(0);
    said.complains("ids of no row of its model's: 1 token, \"<far>\"");
    space.write("union.yml", format!("{more}tokenizer: {{pad_to_multiple_of: 8}}\n").as_bytes());
    space.studbook(&["merge", "union.yml", "union"]).exits(0).complains("added to the tokenizer: 3 tokens");
    space.write("nobody.yml", format!("{more}tokenizer_source: a\n").as_bytes());
    space
        .studbook(&["merge", "nobody.yml", "other"])
        .exits(2)
        .complains("nobody.yml:5:19")
        .complains("`a` is none of the models that are merged");
}

/// Rows of single tokens: the child's tokenizer has the tokens, and a mistake is told at its place.
#[test]
fn rows_of_single_tokens_are_said() {
    let (space, _) = space();
    let more = TWO.replace("tokens_moved", "tokens_more");
    let merged = |tokens: &str| {
        let text = format!("{more}tokenizer:\n  source: base\n  tokens:\n    {tokens}\n");
        space.write("named.yml", text.as_bytes());
        space.studbook(&["merge", "named.yml", "out", "--force"])
    };
    // What mergekit cannot do with `base`: tokens that are new in all models.
    merged(
        "{<|im_start|>: {source: {kind: model_token, model: tokens_more, token: x}}, d: {source: tokens}}",
    )
    .exits(0);
    let matrix = |name: &str| {
        let rows = open(&space, name).weights.tensor("lm_head.weight").unwrap().to_f32();
        rows.chunks(8).map(<[f32]>::to_vec).collect::<Vec<_>>()
    };
    let (child, there) = (matrix("out"), matrix("tokens_more"));
    assert_eq!(child.len(), 13);
    // The same row in both models: their average is it, but for rounding.
    assert!(child[12].iter().zip(&there[8]).all(|(child, there)| (child - there).abs() < 1e-6));
    let tokenizer: serde_json::Value = serde_json::from_str(&space.read("out/tokenizer.json")).unwrap();
    assert_eq!(tokenizer["added_tokens"][0]["content"], "<|im_start|>");
    assert_eq!(tokenizer["added_tokens"][0]["id"], 12);
    assert!(space.read("out/config.json").contains("\"vocab_size\": 13"));
    for (tokens, place, message) in [
        ("new: {}", "named.yml:8:5", "`tokens` has no token \"new\", and nothing says whose row stands in"),
        ("new: {source: base}", "named.yml:8:19", "`base` is none of the models that are merged"),
        ("new: {source: tokens}", "named.yml:8:19", "`tokens` has no token \"new\""),
        (
            "new: {source: {kind: model_token, model: tokens, token_id: 12}}",
            "named.yml:8:19",
            "`tokens` has no row 12",
        ),
    ] {
        merged(tokens).exits(2).complains(place).complains(message);
    }
    let slices = "merge_method: passthrough\nslices:\n  - sources: [{model: tokens, layer_range: [0, 1]}]\n\
                  tokenizer: {source: base, tokens: {new: {source: {kind: zero}}}}\n";
    space.write("slices.yml", slices.as_bytes());
    space
        .studbook(&["merge", "slices.yml", "out", "--force"])
        .exits(2)
        .complains("slices have no rows of single tokens");
}

/// A union of other vocabularies: the base's tokens as they were, then the others' by their ids, plain ones before
/// added ones; the child's tokenizer has them all, and its texts have the rows of the models that had them.
#[test]
fn a_union_has_the_tokens_of_all_models() {
    let (space, _) = space();
    let entry = "\"single_word\": false, \"lstrip\": false, \"rstrip\": false, \"normalized\": false, \"special\": true";
    let added = format!("\"added_tokens\": [{{\"id\": 13, \"content\": \"z\", {entry}}}]");
    space.edit("tokens_more/tokenizer.json", "\"added_tokens\": []", &added);
    // Programs that find added tokens listed in another file believe that one.
    space.write("tokens/tokenizer_config.json", b"{\"added_tokens_decoder\": {}}");
    space.write("tokens/added_tokens.json", b"{}");
    let more = TWO.replace("tokens_moved", "tokens_more");
    space.write("union.yml", format!("{more}tokenizer_source: union\n").as_bytes());
    let said = space.studbook(&["merge", "union.yml", "out"]).exits(0);
    said.complains("added to the tokenizer: 3 tokens, \"x\", \"y\", \"z\"\n");
    let listed = |name: &str| -> serde_json::Value { serde_json::from_str(&space.read(name)).unwrap() };
    let added_tokens = &listed("out/studbook-receipt.json")["added_tokens"];
    assert_eq!(*added_tokens, serde_json::json!({ "count": 3, "first": ["x", "y", "z"] }));
    let settings = listed("out/tokenizer_config.json");
    let decoder = settings["added_tokens_decoder"].as_object().unwrap();
    assert_eq!(decoder.keys().collect::<Vec<_>>(), ["12", "13", "14"]);
    assert_eq!((&decoder["14"]["content"], &decoder["14"]["special"]), (&"z".into(), &true.into()));
    assert_eq!(listed("out/added_tokens.json"), serde_json::json!({ "x": 12, "y": 13, "z": 14 }));
    let (child, base, other) = (open(&space, "out"), open(&space, "tokens"), open(&space, "tokens_more"));
    assert_eq!(child.config.as_ref().unwrap().vocab_size, 15);
    let file: serde_json::Value = serde_json::from_str(&space.read("out/tokenizer.json")).unwrap();
    let added = file["added_tokens"].as_array().unwrap();
    let said: Vec<_> =
        added.iter().map(|token| (&token["id"], &token["content"], &token["special"])).collect();
    let expected = [(12, "x", false), (13, "y", false), (14, "z", true)].map(|(id, text, special)| {
        [serde_json::json!(id), serde_json::json!(text), serde_json::json!(special)]
    });
    assert_eq!(said, expected.iter().map(|[id, text, special]| (id, text, special)).collect::<Vec<_>>());
    let rows = |package: &Package| {
        let matrix = package.weights.tensor("lm_head.weight").unwrap().to_f32();
        matrix.chunks(8).map(<[f32]>::to_vec).collect::<Vec<_>>()
    };
    let (child, base, other) = (rows(&child), rows(&base), rows(&other));
    // `x` is the other's alone, in both models then; `e` is in both; `d` is the base's alone.
    let mean = |a: &[f32], b: &[f32]| -> Vec<f32> {
        a.iter().zip(b).map(|(a, b)| (0.5 * a + 0.25 * b) / 0.75).collect()
    };
    let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
    assert!(near(&child[12], &other[8]) && near(&child[14], &other[13]) && near(&child[3], &base[3]));
    assert!(near(&child[4], &mean(&base[4], &other[0])));
    let config = space.studbook(&["generate", "out", "--prompt", "axyz", "--max-tokens", "2"]);
    config.exits(0);
}

#[test]
fn a_child_with_fewer_rows_says_so() {
    let (space, _) = space();
    space.studbook(&["merge", "tokens_of_padded.yml", "out"]).exits(0);
    assert_eq!(open(&space, "out").config.unwrap().vocab_size, 12);
    assert_eq!(open(&space, "tokens_padded").config.unwrap().vocab_size, 16);
}

#[test]
fn a_matrix_that_is_tied_in_some_models_is_one_of_its_own_in_the_child() {
    let (space, _) = space();
    // The model that the child is like has no output matrix.
    let text = "merge_method: task_arithmetic\nbase_model: tied\nmodels:\n  \
                - {model: a, parameters: {weight: 1}}\ndtype: float32\n";
    space.write("m.yml", text.as_bytes());
    space.studbook(&["merge", "m.yml", "out"]).exits(0);
    let [tied, a, out] = ["tied", "a", "out"].map(|name| open(&space, name));
    let is_tied = |package: &Package| package.config.as_ref().unwrap().tied_output;
    assert!(is_tied(&tied) && !is_tied(&out));
    let values = |package: &Package, name: &str| package.weights.tensor(name).unwrap().to_f32();
    let (base, other) = (values(&tied, "model.embed_tokens.weight"), values(&a, "lm_head.weight"));
    let expected: Vec<f32> = base.iter().zip(&other).map(|(b, x)| b + (x - b)).collect();
    assert_eq!(values(&out, "lm_head.weight"), expected);
}
