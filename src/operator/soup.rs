//! `soup`: an average of a pool of parents whose weights nobody chose.
//!
//! Wortsman et al., "Model soups: averaging weights of multiple fine-tuned models improves accuracy
//! without increasing inference time", 2022, average with equal weights (`weighting = "uniform"`).
//! With `"seeded"` the weights are drawn, once for the whole model, from the symmetric Dirichlet
//! distribution of parameter `alpha` (`draw::dirichlet`); a sweep over seeds or alphas then
//! explores the space between the parents. The receipt holds the weights to the last digit.
//!
//! With `"greedy"` parents are added one by one, best first, while the average gets no worse on a suite:
//! the paper's recipe 1. Its steps are stages of a plan; what is computed is the equal average of those
//! that stayed.
//!
//! `out = sum w_i x_i` in list order from zero, every weight rounded to f32 once. Their f64 sum is 1;
//! nothing is divided afterwards.

use super::blend::Average;
use super::contract::{Kernel, Operator, TensorInputs};
use super::draw::dirichlet;
use super::error::OperatorError;
use super::parameter::{Kind, Parameter, Parameters, Value, Values};
use super::survey::{numbers, settings, stream};
use crate::base::rng::Philox;

/// The operator.
pub struct Soup;

/// The weighting whose parents are chosen by evaluations. Those are stages of a plan: whoever applies the
/// operator applies it to the chosen parents, with equal weights.
pub const GREEDY: &str = "greedy";

const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "weighting",
        doc: "Whether weights are drawn from the seed, equal, or equal for the parents that make it better.",
        kind: Kind::Choice { options: &["seeded", "uniform", GREEDY], default: "seeded" },
    },
    Parameter {
        name: "alpha",
        doc: "Seeded weights: above 1 they gather around equal ones, below 1 around single parents.",
        kind: Kind::Number { min: 1e-3, max: 1e6, default: Some(1.0) },
    },
    Parameter {
        name: "metric",
        doc: "Greedy soups: the metric that parents are ordered by and trials are judged by.",
        kind: Kind::Word { default: "" },
    },
    Parameter {
        name: "suite",
        doc: "Greedy soups: the suite the metric is measured on, which no gate of the candidate uses.",
        kind: Kind::Word { default: "" },
    },
];

impl Operator for Soup {
    fn name(&self) -> &'static str {
        "soup"
    }

    fn version(&self) -> u32 {
        1
    }

    fn summary(&self) -> &'static str {
        "average of a pool, weights drawn from the seed or equal (model soup; Wortsman et al. 2022)"
    }

    fn parents(&self) -> std::ops::RangeInclusive<usize> {
        2..=usize::MAX
    }

    fn needs_base(&self) -> bool {
        false
    }

    fn parameters(&self) -> &'static [Parameter] {
        PARAMETERS
    }

    fn relations(&self, values: &Values) -> Result<(), String> {
        let weighting = values.choice("weighting");
        if weighting != "seeded" && values.number("alpha") != 1.0 {
            return Err(
                "equal weights know no `alpha`; leave it out or set weighting = \"seeded\"".to_owned()
            );
        }
        let named = ["metric", "suite"].map(|name| !values.choice(name).is_empty());
        match (weighting == GREEDY, named) {
            (true, [true, true]) | (false, [false, false]) => Ok(()),
            (true, _) => Err("a greedy soup needs `metric` and `suite`".to_owned()),
            (false, _) => Err("`metric` and `suite` mean nothing unless weighting = \"greedy\"".to_owned()),
        }
    }

    fn whole(&self) -> &'static [&'static str] {
        &["weighting", "alpha"]
    }

    fn survey(&self, tensors: &[TensorInputs<'_>]) -> Result<Parameters, OperatorError> {
        let Some(values) = settings(self, tensors)? else {
            return Ok(Parameters::new());
        };
        if values.choice("weighting") == GREEDY {
            let message = "which parents are in a greedy soup is decided by a plan's evaluations".to_owned();
            return Err(OperatorError::Relation { operator: self.name(), message });
        }
        let parents = tensors[0].parents.len();
        let weights = weights(values.choice("weighting"), &stream(tensors), values.number("alpha"), parents);
        Ok(Parameters::from([("weights".to_owned(), Value::PerParent(weights))]))
    }

    fn kernel<'a>(
        &self,
        _tensor: &'a TensorInputs<'a>,
        survey: &'a Parameters,
    ) -> Result<Box<dyn Kernel + 'a>, OperatorError> {
        let weights = numbers(survey, "weights").iter().map(|weight| *weight as f32).collect();
        Ok(Box::new(Average { weights, divisor: None }))
    }
}

/// A weight for each parent, summing to one.
pub(super) fn weights(weighting: &str, stream: &Philox, alpha: f64, parents: usize) -> Vec<f64> {
    if weighting == "uniform" {
        vec![1.0 / parents as f64; parents]
    } else {
        dirichlet(stream, alpha, parents)
    }
}
