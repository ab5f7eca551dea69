//! `sparse_task_delta`: task arithmetic on differences that were cut by magnitude first.
//!
//! Most elements of a difference `d_i = x_i - b` matter little, and dropping them makes room for
//! the other parents (the first step of Yadav et al., "TIES-Merging", 2023). With `gamma` the very
//! largest are dropped as well, because outliers disturb the other tasks most: the field calls what
//! is left in between breadcrumbs (Davari and Belilovsky, "Model Breadcrumbs", 2023).
//!
//! Of the n elements of a tensor each `d_i` keeps the `max(1, floor(density n))` largest magnitudes;
//! a density of zero keeps none, of one all. With `gamma` the `floor(gamma n)` largest are dropped
//! and the `floor(density n)` next are kept; where fewer would remain, fewer are dropped from above,
//! and a density of one keeps all whatever `gamma` is. On a tie the lower flat index stays
//! ([`super::trim`]).
//!
//! `rescale = "l1"` or `"l2"` multiplies what is kept by the norm before over the norm after. Then
//! as in [`super::task_delta`]; with `elect`, as in [`super::sign_merge`]: breadcrumbs and TIES at
//! once.

use super::combine::{Combine, ELECT, NORMALIZE};
use super::contract::{Kernel, Operator, TensorInputs};
use super::error::OperatorError;
use super::parameter::{Kind, Parameter, Parameters};
use super::rescale::{Norm, factors};
use super::sign_merge::DENSITY;
use super::task_delta::{LAMBDA, WEIGHT};
use super::trim::{Band, Trimmed, cuts, kept, share};

/// The operator.
pub struct SparseTaskDelta;

const PARAMETERS: &[Parameter] = &[
    WEIGHT,
    DENSITY,
    Parameter {
        name: "gamma",
        doc: "Share of each difference's elements that is dropped from the top, the largest first.",
        kind: Kind::PerParent { min: 0.0, max: 1.0, default: Some(0.0) },
    },
    Parameter {
        name: "rescale",
        doc: "Which norm of each difference is given back to what is kept of it.",
        kind: Kind::Choice { options: &["none", "l1", "l2"], default: "none" },
    },
    NORMALIZE,
    LAMBDA,
    ELECT,
];

impl Operator for SparseTaskDelta {
    fn name(&self) -> &'static str {
        "sparse_task_delta"
    }

    fn version(&self) -> u32 {
        1
    }

    fn summary(&self) -> &'static str {
        "base plus weighted differences cut by magnitude \
         (trimming, Yadav et al. 2023; breadcrumbs, Davari and Belilovsky 2023)"
    }

    fn parents(&self) -> std::ops::RangeInclusive<usize> {
        1..=usize::MAX
    }

    fn needs_base(&self) -> bool {
        true
    }

    fn parameters(&self) -> &'static [Parameter] {
        PARAMETERS
    }

    fn kernel<'a>(
        &self,
        tensor: &'a TensorInputs<'a>,
        _survey: &'a Parameters,
    ) -> Result<Box<dyn Kernel + 'a>, OperatorError> {
        let bands: Vec<Band<'_>> = (0..tensor.parents.len()).map(|parent| band_of(tensor, parent)).collect();
        let cuts = cuts(Some(tensor.base()), tensor.shape.elements(), &bands);
        let trimmed = Trimmed(cuts);
        let norm = Norm::named(tensor.values.choice("rescale"));
        let factors = norm.map(|norm| factors(norm, tensor, &trimmed));
        let (kept, thresholds) = (trimmed.kept(), trimmed.thresholds());
        let kernel = Combine::new(tensor, trimmed).found("kept", kept).found("threshold", thresholds);
        Ok(Box::new(match factors {
            Some(factors) => kernel.rescaled(factors),
            None => kernel,
        }))
    }
}

/// What one parent keeps.
fn band_of<'a>(tensor: &'a TensorInputs<'_>, parent: usize) -> Band<'a> {
    let elements = tensor.shape.elements();
    let (density, gamma) =
        (tensor.values.per_parent("density")[parent], tensor.values.per_parent("gamma")[parent]);
    let source = &*tensor.parents[parent];
    if gamma > 0.0 {
        Band { source, drop: share(gamma, elements), keep: share(density, elements) }
    } else {
        Band { source, drop: 0, keep: kept(density, elements) }
    }
}
