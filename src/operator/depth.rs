//! Depth: parameters that change from the first layer to the last.
//!
//! A ramp is a list of numbers spread evenly over depth and interpolated linearly: `[0, 1]` goes from
//! zero at the first layer to one at the last, `[0, 1, 0]` peaks in the middle. A layer's depth is
//! `index / (layers - 1)`, and 1 where there is only one. Tensors outside of the layers (embeddings,
//! the last norm, the output matrix) take the ramp's first number. That is how the field's recipes
//! read their gradients, so they carry over.
//!
//! A model may number its layers in several places, as `visual.blocks.0` to `visual.blocks.5` and
//! `model.layers.0` to `model.layers.2`: a ramp goes from the first layer to the last in each of them, and
//! layers of one number in two places are two layers.

use std::collections::{BTreeMap, BTreeSet};

use super::parameter::{Parameters, Value};

/// The number that a part of a name is.
fn number(part: &str) -> Option<usize> {
    let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if digits { part.parse().ok() } else { None }
}

/// Where a tensor's layer is numbered (what it is called up to the number), and its number there:
/// `model.layers` and 3 of `model.layers.3.mlp.up_proj.weight`.
pub fn place_of(tensor: &str) -> Option<(&str, usize)> {
    let mut end = 0;
    for part in tensor.split('.') {
        if let Some(number) = number(part) {
            return Some((tensor[..end].trim_end_matches('.'), number));
        }
        end += part.len() + 1;
    }
    None
}

/// The layer a tensor belongs to: the first number among the parts of its name, as in
/// `layers.3.wq.weight` and `model.layers.3.mlp.up_proj.weight`.
pub fn layer_of(tensor: &str) -> Option<usize> {
    place_of(tensor).map(|(_, layer)| layer)
}

/// Every place where layers are numbered.
pub fn stems<'a>(tensors: impl IntoIterator<Item = &'a str>) -> BTreeSet<&'a str> {
    tensors.into_iter().filter_map(place_of).map(|(stem, _)| stem).collect()
}

/// What tensors before the layers have in a part of their names: embeddings of tokens and of positions.
const BEFORE: &[&str] = &["emb", "wte", "wpe"];

/// What has the same letters and lies behind: the output matrix.
const BEHIND: &[&str] = &["embed_out", "unembed"];

/// Whether a tensor outside of the layers lies before them: the embeddings do.
pub fn is_before_layers(tensor: &str) -> bool {
    let has = |words: &[&str]| words.iter().any(|word| tensor.contains(word));
    has(BEFORE) && !has(BEHIND)
}

/// The name of a layer's tensor with another number.
pub fn renumbered(tensor: &str, other: usize) -> String {
    let mut done = false;
    let part = |part: &str| {
        let is_it = number(part).is_some() && !std::mem::replace(&mut done, true);
        if is_it { other.to_string() } else { part.to_owned() }
    };
    // The closure must see the parts in order, and only the first number changes.
    tensor.split('.').map(part).collect::<Vec<_>>().join(".")
}

/// Where the layers of a model lie between the first of their place, 0, and its last, 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Depth {
    /// How many layers each place has, by its stem.
    layers: BTreeMap<String, usize>,
}

impl Depth {
    /// The depth of a model with these tensors.
    pub fn of<'a>(tensors: impl IntoIterator<Item = &'a str>) -> Self {
        let mut layers: BTreeMap<String, usize> = BTreeMap::new();
        for (stem, layer) in tensors.into_iter().filter_map(place_of) {
            let count = layer.saturating_add(1);
            match layers.get_mut(stem) {
                Some(most) => *most = count.max(*most),
                None => drop(layers.insert(stem.to_owned(), count)),
            }
        }
        Self { layers }
    }

    /// How many layers there are, in the place that has most.
    pub fn layers(&self) -> usize {
        self.layers.values().copied().max().unwrap_or(0)
    }

    /// How deep a tensor lies, in `[0, 1]`.
    pub fn at(&self, tensor: &str) -> f64 {
        let Some((stem, layer)) = place_of(tensor) else { return 0.0 };
        match self.layers.get(stem) {
            None | Some(0 | 1) => 1.0,
            Some(layers) => layer as f64 / (layers - 1) as f64,
        }
    }
}

/// A ramp's number at a depth in `[0, 1]`; ramps have at least one.
pub fn interpolate(ramp: &[f64], depth: f64) -> f64 {
    let place = depth * (ramp.len() - 1) as f64;
    let before = (place as usize).min(ramp.len() - 1);
    let after = (before + 1).min(ramp.len() - 1);
    let share = place - before as f64;
    (1.0 - share) * ramp[before] + share * ramp[after]
}

/// The parameters at a depth: no ramps any more.
pub fn resolve(parameters: &Parameters, depth: f64) -> Parameters {
    let value = |value: &Value| match value {
        Value::Ramp { ramp } => Value::Number(interpolate(ramp, depth)),
        Value::Ramps { ramps } => {
            Value::PerParent(ramps.iter().map(|ramp| interpolate(ramp, depth)).collect())
        }
        plain => plain.clone(),
    };
    parameters.iter().map(|(name, given)| (name.clone(), value(given))).collect()
}

/// The depths at which a ramp of these parameters bends, the ends among them. A value is between its
/// neighbours here, so what is within bounds here is within bounds everywhere.
pub fn bends(parameters: &Parameters) -> Vec<f64> {
    let mut bends = vec![0.0];
    let mut add = |ramp: &[f64]| {
        bends.extend((1..ramp.len()).map(|i| i as f64 / (ramp.len() - 1) as f64));
    };
    for value in parameters.values() {
        match value {
            Value::Ramp { ramp } => add(ramp),
            Value::Ramps { ramps } => ramps.iter().for_each(|ramp| add(ramp)),
            Value::Flag(_) | Value::Number(_) | Value::Choice(_) | Value::PerParent(_) | Value::Table(_) => {}
        }
    }
    bends.sort_by(f64::total_cmp);
    bends.dedup();
    bends
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_found_by_number() {
        assert_eq!(layer_of("layers.12.wq.weight"), Some(12));
        assert_eq!(layer_of("model.layers.3.mlp.up_proj.weight"), Some(3));
        assert_eq!(layer_of("tok_embeddings.weight"), None);
        assert_eq!(layer_of("w1.weight"), None);
        assert_eq!(layer_of("x..99999999999999999999999.y"), None);
    }

    #[test]
    fn places_end_where_numbers_begin() {
        assert_eq!(place_of("model.layers.3.mlp.0.weight"), Some(("model.layers", 3)));
        assert_eq!(place_of("3.weight"), Some(("", 3)));
        assert_eq!(place_of("model.norm.weight"), None);
        let names = ["b.0.w", "a.1.w", "b.2.w", "norm.w"];
        assert_eq!(stems(names).into_iter().collect::<Vec<_>>(), ["a", "b"]);
        // What is no number for one is none for the other.
        let name = "x.99999999999999999999999.y.4.w";
        assert_eq!(place_of(name), Some(("x.99999999999999999999999.y", 4)));
        assert_eq!(renumbered(name, 5), "x.99999999999999999999999.y.5.w");
    }

    /// Names as the field's networks have them.
    #[test]
    fn embeddings_lie_before_the_layers() {
        for name in [
            "model.embed_tokens.weight",
            "transformer.wte.weight",
            "wpe.weight",
            "tok_embeddings.weight",
            "token_embd.weight",
            "gpt_neox.embed_in.weight",
            "transformer.word_embeddings.weight",
        ] {
            assert!(is_before_layers(name), "{name}");
        }
        for name in [
            "model.norm.weight",
            "lm_head.weight",
            "transformer.ln_f.bias",
            "embed_out.weight",
            "output.weight",
        ] {
            assert!(!is_before_layers(name), "{name}");
        }
    }

    #[test]
    fn depth_goes_from_the_first_layer_to_the_last() {
        let names: Vec<String> = (0..5).map(|i| format!("layers.{i}.w")).collect();
        let depth = Depth::of(names.iter().map(String::as_str).chain(["norm.weight"]));
        let depths: Vec<f64> = names.iter().map(|name| depth.at(name)).collect();
        assert_eq!(depths, [0.0, 0.25, 0.5, 0.75, 1.0]);
        assert_eq!(depth.at("norm.weight"), 0.0);
        assert_eq!(Depth::of(["layers.0.w"]).at("layers.0.w"), 1.0);
    }

    #[test]
    fn each_place_has_a_first_layer_and_a_last() {
        let names =
            |stem: &str, count: usize| (0..count).map(|i| format!("{stem}.{i}.w")).collect::<Vec<_>>();
        let all = [names("visual.blocks", 5), names("model.layers", 3), names("head", 1)].concat();
        let depth = Depth::of(all.iter().map(String::as_str));
        let depths = |stem: &str, count: usize| -> Vec<f64> {
            names(stem, count).iter().map(|name| depth.at(name)).collect()
        };
        assert_eq!(depths("visual.blocks", 5), [0.0, 0.25, 0.5, 0.75, 1.0]);
        assert_eq!(depths("model.layers", 3), [0.0, 0.5, 1.0]);
        assert_eq!(depths("head", 1), [1.0]);
        assert_eq!(depth.layers(), 5);
    }

    #[test]
    fn ramps_are_interpolated() {
        let ramp = [0.0, 1.0, 0.5];
        let found: Vec<f64> = [0.0, 0.25, 0.5, 0.75, 1.0].iter().map(|at| interpolate(&ramp, *at)).collect();
        assert_eq!(found, [0.0, 0.5, 1.0, 0.75, 0.5]);
        assert_eq!(interpolate(&[0.3], 0.7), 0.3);
    }

    #[test]
    fn bends_are_where_ramps_have_numbers() {
        let parameters = Parameters::from([
            ("a".to_owned(), Value::Ramp { ramp: vec![0.0, 1.0, 0.0] }),
            ("b".to_owned(), Value::Ramps { ramps: vec![vec![1.0], vec![0.0, 1.0]] }),
            ("c".to_owned(), Value::Number(3.0)),
        ]);
        assert_eq!(bends(&parameters), [0.0, 0.5, 1.0]);
        let middle = resolve(&parameters, 0.5);
        assert_eq!(middle["a"], Value::Number(1.0));
        assert_eq!(middle["b"], Value::PerParent(vec![1.0, 0.5]));
        assert_eq!(middle["c"], Value::Number(3.0));
    }
}
