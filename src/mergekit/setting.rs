//! Parameter settings: a value, a gradient over depth, or either for tensors whose name contains a word.
//!
//! ```yaml
//! weight: 0.5
//! t: [0, 0.5, 1]              # over the layers of a slice, interpolated
//! density:
//!   - filter: mlp             # the first filter that the tensor's name contains
//!     value: [0.2, 0.8]
//!   - value: 0.5              # all others
//! ```
//!
//! A gradient of numbers is interpolated linearly at the layer's depth, `index / (layers - 1)` within its
//! slice, one where a slice has a single layer, zero for tensors outside of the layers
//! ([`crate::operator::depth::interpolate`]). A gradient of flags takes the entry at
//! `floor(depth (entries - 1))`. A setting no filter of which matches says nothing, and the next wider
//! scope is asked: a model's own parameters, then its slice's, then those of the whole merge.

use std::collections::BTreeMap;

use crate::base::located::Located;
use crate::operator::depth::interpolate;

/// The settings of one scope, by parameter.
pub type Settings = BTreeMap<String, Located<Setting>>;

/// What one parameter is set to in one scope.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// In written order; the first whose filter matches counts.
    pub arms: Vec<Arm>,
}

/// A value for some tensors.
#[derive(Debug, Clone, PartialEq)]
pub struct Arm {
    /// Part of the names of the tensors it is for; nothing for all.
    pub filter: Option<String>,
    /// The value.
    pub value: Gradient,
}

/// Values over depth; one value is the same at every depth.
#[derive(Debug, Clone, PartialEq)]
pub enum Gradient {
    /// On or off.
    Flags(Vec<bool>),
    /// Numbers.
    Numbers(Vec<f64>),
}

/// A value for one tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Given {
    /// On or off.
    Flag(bool),
    /// A number.
    Number(f64),
}

impl Gradient {
    /// The value at a depth in `[0, 1]`; nothing if the gradient is empty.
    pub fn at(&self, depth: f64) -> Option<Given> {
        match self {
            Self::Flags(flags) => {
                let place = (depth * (flags.len().max(1) - 1) as f64) as usize;
                flags.get(place).copied().map(Given::Flag)
            }
            Self::Numbers(numbers) if numbers.is_empty() => None,
            Self::Numbers(numbers) => Some(Given::Number(interpolate(numbers, depth))),
        }
    }
}

impl Arm {
    /// Whether it is for every tensor.
    pub fn is_for_all(&self) -> bool {
        self.filter.is_none()
    }
}

impl Setting {
    /// Whether any of its numbers lies outside of these bounds.
    pub fn goes_beyond(&self, min: f64, max: f64) -> bool {
        self.arms.iter().any(|arm| match &arm.value {
            Gradient::Flags(_) => false,
            Gradient::Numbers(numbers) => numbers.iter().any(|number| !(min..=max).contains(number)),
        })
    }

    /// The value for a tensor at a depth, if this setting has one for it.
    pub fn at(&self, tensor: &str, depth: f64) -> Option<Given> {
        let is_meant = |arm: &&Arm| arm.filter.as_deref().is_none_or(|part| tensor.contains(part));
        self.arms.iter().find(is_meant)?.value.at(depth)
    }
}

/// The value of a parameter for a tensor: from the first scope that has one.
pub fn evaluate(scopes: &[&Settings], parameter: &str, tensor: &str, depth: f64) -> Option<Given> {
    scopes.iter().filter_map(|scope| scope.get(parameter)).find_map(|setting| setting.value.at(tensor, depth))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(numbers: &[f64]) -> Gradient {
        Gradient::Numbers(numbers.to_vec())
    }

    fn arm(filter: &str, value: Gradient) -> Arm {
        Arm { filter: (!filter.is_empty()).then(|| filter.to_owned()), value }
    }

    fn scope(arms: Vec<Arm>) -> Settings {
        Settings::from([("t".to_owned(), Located::new(Setting { arms }, 0..0))])
    }

    /// Numbers by hand from the field's rule: place = t (n - 1), then (1 - frac) a + frac b.
    #[test]
    fn gradients_are_interpolated_over_depth() {
        let gradient = numbers(&[0.0, 0.5, 0.3, 0.7, 1.0]);
        // Thirteen layers: layer 4 is at 4/12, place 4/3, a third of the way from 0.5 to 0.3.
        let at = |layer: f64| match gradient.at(layer / 12.0) {
            Some(Given::Number(number)) => number,
            other => panic!("{other:?}"),
        };
        assert_eq!((at(0.0), at(3.0), at(6.0), at(12.0)), (0.0, 0.5, 0.3, 1.0));
        assert!((at(4.0) - (0.5 - 0.2 / 3.0)).abs() < 1e-15);
        assert!((at(1.0) - 0.5 / 3.0).abs() < 1e-15);
        assert_eq!(numbers(&[0.25]).at(0.7), Some(Given::Number(0.25)));
        assert_eq!(numbers(&[]).at(0.0), None);
        let flags = Gradient::Flags(vec![true, false, true]);
        let at = |depth| flags.at(depth);
        assert_eq!(at(0.0), Some(Given::Flag(true)));
        assert_eq!(at(0.499), Some(Given::Flag(true)));
        assert_eq!(at(0.5), Some(Given::Flag(false)));
        assert_eq!(at(1.0), Some(Given::Flag(true)));
    }

    #[test]
    fn the_first_filter_counts_and_the_rest_falls_through() {
        let own = scope(vec![arm("self_attn", numbers(&[0.1])), arm("mlp", numbers(&[0.0, 1.0]))]);
        let global = scope(vec![arm("mlp.up", numbers(&[9.0])), arm("", numbers(&[0.5]))]);
        let at = |tensor: &str, depth| evaluate(&[&own, &global], "t", tensor, depth);
        assert_eq!(at("model.layers.0.self_attn.q_proj.weight", 0.0), Some(Given::Number(0.1)));
        assert_eq!(at("model.layers.2.mlp.up_proj.weight", 0.25), Some(Given::Number(0.25)));
        assert_eq!(at("model.norm.weight", 0.0), Some(Given::Number(0.5)));
        assert_eq!(evaluate(&[&own], "t", "model.norm.weight", 0.0), None);
        assert_eq!(evaluate(&[&own, &global], "weight", "model.norm.weight", 0.0), None);
    }
}
