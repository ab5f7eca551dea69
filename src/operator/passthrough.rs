//! `passthrough`: one parent's tensors as they are.
//!
//! Nothing is computed unless `scale` says so: `out = x`, or `scale * x`; of a stored f64, x is the nearest
//! f32, as for every operator. Its use is in what surrounds it: slices of layers stacked into another model ([`super::slice`]), conversions to another file.

use super::contract::{Kernel, Operator, Piece, TensorInputs};
use super::error::OperatorError;
use super::parameter::{Kind, Parameter, Parameters};

/// The operator.
pub struct Passthrough;

const PARAMETERS: &[Parameter] = &[Parameter {
    name: "scale",
    doc: "Factor on every element.",
    kind: Kind::Number { min: -1e9, max: 1e9, default: Some(1.0) },
}];

impl Operator for Passthrough {
    fn name(&self) -> &'static str {
        "passthrough"
    }

    fn version(&self) -> u32 {
        1
    }

    fn summary(&self) -> &'static str {
        "one parent as it is, or scaled (layer stacking; Kim et al. 2023, SOLAR)"
    }

    fn parents(&self) -> std::ops::RangeInclusive<usize> {
        1..=1
    }

    fn needs_base(&self) -> bool {
        false
    }

    fn stacks(&self) -> bool {
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
        Ok(Box::new(Scaled(tensor.values.number("scale") as f32)))
    }
}

struct Scaled(f32);

impl Kernel for Scaled {
    fn piece(&self, piece: &Piece<'_>, out: &mut [f32]) {
        let Some(parent) = piece.parents.first() else { return };
        if self.0 == 1.0 {
            out.copy_from_slice(parent);
            return;
        }
        out.iter_mut().zip(*parent).for_each(|(out, x)| *out = self.0 * x);
    }

    fn stands_alone(&self) -> bool {
        true
    }
}
