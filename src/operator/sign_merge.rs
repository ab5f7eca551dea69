//! `sign_merge`: trims differences from a base, elects a sign for every element, averages those
//! that agree.
//!
//! The field calls it TIES: trim, elect sign, merge (Yadav et al., "TIES-Merging: Resolving
//! Interference When Merging Models", 2023). Parents that pull an element in opposite directions
//! no longer cancel each other.
//!
//! Each `d_i = x_i - b` keeps its largest magnitudes ([`super::trim`]) and is then weighted. The
//! elected sign is that of the sum of the weighted differences, or of the sum of their signs with
//! `elect = "count"`; zero elects plus. Weighted differences of that sign are summed, exact zeros
//! never count, and the sum is divided by the sum of the kept weights, with their signs (one where
//! that is zero). All sums are f32 in list order from zero; `out = b + lambda * s`. The election
//! itself is in `combine`, for all operators that hold one.

use super::combine::Combine;
use super::contract::{Kernel, Operator, TensorInputs};
use super::error::OperatorError;
use super::parameter::{Kind, Parameter, Parameters};
use super::task_delta::{LAMBDA, WEIGHT};
use super::trim::{Band, Trimmed, cuts, kept};

/// The operator.
pub struct SignMerge;

/// The share of elements that trimming keeps.
pub(super) const DENSITY: Parameter = Parameter {
    name: "density",
    doc: "Share of each difference's elements that is kept, the largest magnitudes first.",
    kind: Kind::PerParent { min: 0.0, max: 1.0, default: Some(1.0) },
};

const PARAMETERS: &[Parameter] = &[
    WEIGHT,
    DENSITY,
    LAMBDA,
    Parameter {
        name: "normalize",
        doc: "Divide each element's sum by the sum of the weights that were kept for it.",
        kind: Kind::Flag { default: true },
    },
    Parameter {
        name: "elect",
        doc: "Whether a sign is elected by the sum of the differences or by the count of their signs.",
        kind: Kind::Choice { options: &["sum", "count"], default: "sum" },
    },
];

impl Operator for SignMerge {
    fn name(&self) -> &'static str {
        "sign_merge"
    }

    fn version(&self) -> u32 {
        1
    }

    fn summary(&self) -> &'static str {
        "trim differences, elect a sign per element, average those that agree (TIES; Yadav et al. 2023)"
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
        let elements = tensor.shape.elements();
        let densities = tensor.values.per_parent("density");
        let keeps = densities.iter().map(|density| kept(*density, elements));
        let bands: Vec<Band<'_>> = tensor
            .parents
            .iter()
            .zip(keeps)
            .map(|(parent, keep)| Band { source: &**parent, drop: 0, keep })
            .collect();
        let trimmed = Trimmed(cuts(Some(tensor.base()), elements, &bands));
        let kept = trimmed.kept();
        Ok(Box::new(Combine::new(tensor, trimmed).found("kept", kept)))
    }
}
