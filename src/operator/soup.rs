//! `soup`: an average of a pool of parents whose weights nobody chose.
//!
//! Wortsman et al., "Model soups: averaging weights of multiple fine-tuned models improves accuracy
//! without increasing inference time", 2022, average with equal weights (`weighting = "uniform"`).
//! With `"seeded"` the weights are drawn, once for the whole model, from the symmetric Dirichlet
//! distribution of parameter `alpha` (`draw::dirichlet`); a sweep over seeds or alphas then
//! explores the space between the parents. The receipt holds the weights to the last digit.
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

const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "weighting",
        doc: "Whether weights are drawn from the seed or equal.",
        kind: Kind::Choice { options: &["seeded", "uniform"], default: "seeded" },
    },
    Parameter {
        name: "alpha",
        doc: "Seeded weights: above 1 they gather around equal ones, below 1 around single parents.",
        kind: Kind::Number { min: 1e-3, max: 1e6, default: Some(1.0) },
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
        if values.choice("weighting") == "uniform" && values.number("alpha") != 1.0 {
            return Err(
                "equal weights know no `alpha`; leave it out or set weighting = \"seeded\"".to_owned()
            );
        }
        Ok(())
    }

    fn survey(&self, tensors: &[TensorInputs<'_>]) -> Result<Parameters, OperatorError> {
        let Some(values) = settings(self.name(), tensors, &["weighting", "alpha"])? else {
            return Ok(Parameters::new());
        };
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
