//! `nearswap`: takes the second parent where it is near the first, and less of it the further it is.
//!
//! The field's name and definition (Goddard et al., "Arcee's MergeKit", 2024, after a merge that
//! alchemonaut published): small differences are taken over whole, and of large ones no more than
//! about `t`, so that the first parent keeps what sets it apart.
//!
//! With `a` the first parent and `b` the second,
//!
//! ```text
//! w   = min(1, t / max(|a - b|, 1e-6))
//! out = w * b + (1 - w) * a
//! ```
//!
//! element by element, all of it in f32.

use super::contract::{Kernel, Operator, Piece, TensorInputs};
use super::error::OperatorError;
use super::parameter::{Kind, Parameter, Parameters};
use crate::base::wide::wide;

/// The operator.
pub struct NearSwap;

/// Distances below this count as this.
const LEAST_DISTANCE: f32 = 1e-6;

const PARAMETERS: &[Parameter] = &[Parameter {
    name: "t",
    doc: "The distance up to which an element is taken from the second parent whole.",
    kind: Kind::Number { min: 0.0, max: 1e9, default: Some(1e-4) },
}];

impl Operator for NearSwap {
    fn name(&self) -> &'static str {
        "nearswap"
    }

    fn version(&self) -> u32 {
        1
    }

    fn summary(&self) -> &'static str {
        "the second parent where it is near the first (NearSwap; Goddard et al. 2024)"
    }

    fn parents(&self) -> std::ops::RangeInclusive<usize> {
        2..=2
    }

    fn needs_base(&self) -> bool {
        false
    }

    fn parameters(&self) -> &'static [Parameter] {
        PARAMETERS
    }

    fn kernel<'a>(
        &self,
        tensor: &'a TensorInputs<'a>,
        _survey: &'a Parameters,
    ) -> Result<Box<dyn Kernel + 'a>, OperatorError> {
        Ok(Box::new(Near { t: tensor.values.number("t") as f32 }))
    }
}

struct Near {
    t: f32,
}

wide! {
    fn swap<'a>(t: f32, a: &'a [f32], b: &'a [f32], out: &'a mut [f32]) {
        for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
            let share = (t / (a - b).abs().max(LEAST_DISTANCE)).min(1.0);
            *out = share * b + (1.0 - share) * a;
        }
    }
}

impl Kernel for Near {
    fn piece(&self, piece: &Piece<'_>, out: &mut [f32]) {
        if let [a, b] = piece.parents {
            swap(self.t, a, b, out);
        }
    }

    fn stands_alone(&self) -> bool {
        true
    }
}
