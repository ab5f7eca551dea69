//! What an operator is: a declaration, checks, and per tensor a kernel that makes elements.
//!
//! ```text
//! relations(values)     do the parameters make sense together?            before anything is read
//! survey(tensors)       one look over all tensors, if the operator needs it: a global threshold, drawn weights
//! kernel(tensor)        one look over one tensor, if needed: a cut by magnitude; then a pure kernel
//! kernel.piece(piece)   the elements of one piece, from the same elements of base and parents
//! ```
//!
//! A kernel must not know which thread or block it runs in. What is random comes from
//! [`TensorInputs::random`], addressed by element or unit index, so that it does not depend on
//! order either. The engine around it ([`super::apply()`]) reads, checks for finite numbers, rounds
//! once to the output encoding, measures and writes.

use std::ops::RangeInclusive;

use crate::base::rng::Philox;
use crate::tensor::dtype::DType;
use crate::tensor::shape::Shape;

use super::error::OperatorError;
use super::outline::Outlined;
use super::parameter::{Parameter, Parameters, Values};
use super::rule::matches;
use super::source::Source;

/// One way of making a child.
pub trait Operator: Sync {
    /// What plans call it.
    fn name(&self) -> &'static str;

    /// Goes up whenever the same inputs would give other bytes.
    fn version(&self) -> u32;

    /// One line for people: what it does, the field's name for it, the source.
    fn summary(&self) -> &'static str;

    /// How many parents it takes, the base not counted.
    fn parents(&self) -> RangeInclusive<usize>;

    /// Whether it works on differences from a base.
    fn needs_base(&self) -> bool;

    /// Whether a plan may name a base. Some work on differences from one only if it is there.
    fn takes_base(&self) -> bool {
        self.needs_base()
    }

    /// Whether its parent may be layers of several, stacked ([`super::slice`]).
    fn stacks(&self) -> bool {
        false
    }

    /// Its parameters.
    fn parameters(&self) -> &'static [Parameter];

    /// Refuses values that are fine one by one and senseless together.
    ///
    /// # Errors
    ///
    /// What is wrong with them together, as the rest of a sentence that begins with the operator.
    fn relations(&self, _values: &Values) -> Result<(), String> {
        Ok(())
    }

    /// The parameters that hold for the whole model: no rule and no ramp may give a tensor its own.
    fn whole(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether it works on some children only, so that [`Operator::suits`] is worth asking.
    fn minds_tensors(&self) -> bool {
        false
    }

    /// Refuses a child it cannot make: known before anything is read.
    ///
    /// # Errors
    ///
    /// The parameter that does not suit the tensors, and why. An operator that minds no tensors takes every
    /// child.
    fn suits(&self, _child: &[Outlined<'_>]) -> Result<(), (&'static str, String)> {
        Ok(())
    }

    /// Looks over all tensors before the first is made. What it finds or draws is given to every
    /// kernel and written into the receipt.
    ///
    /// # Errors
    ///
    /// [`OperatorError::Relation`] if a parameter that holds for the whole model differs between tensors, or
    /// what is asked for does not suit them all.
    fn survey(&self, _tensors: &[TensorInputs<'_>]) -> Result<Parameters, OperatorError> {
        Ok(Parameters::new())
    }

    /// The kernel for one tensor. It may read the tensor's sources first, with rayon.
    ///
    /// # Errors
    ///
    /// [`OperatorError::Relation`] if it cannot be made of this tensor: directions that cancel, say, or rows
    /// too long to be ranked.
    fn kernel<'a>(
        &self,
        tensor: &'a TensorInputs<'a>,
        survey: &'a Parameters,
    ) -> Result<Box<dyn Kernel + 'a>, OperatorError>;
}

/// Makes elements of one tensor: a pure function of the piece and of what was prepared.
pub trait Kernel: Send + Sync {
    /// Fills `out` with the child's elements `piece.first..piece.first + out.len()`.
    ///
    /// A piece is at most [`super::source::PIECE`] elements: several whole rows, or part of a row
    /// cut at a multiple of that number. Where pieces begin depends on the shape alone. Each piece
    /// is asked for once: a kernel may count what it does, and nothing else.
    fn piece(&self, piece: &Piece<'_>, out: &mut [f32]);

    /// Whether every element follows from the same element of the inputs, and at most from where it is: then
    /// it may be asked for a piece in shorter runs, all that is read for which lies in a core's first cache.
    fn stands_alone(&self) -> bool {
        false
    }

    /// What was found or drawn for this tensor: kept counts, thresholds, shares. Asked when all of
    /// its pieces are made.
    fn realised(&self) -> Parameters {
        Parameters::new()
    }
}

/// The same run of elements of every input.
#[derive(Debug, Clone, Copy)]
pub struct Piece<'a> {
    /// Flat index of the first element.
    pub first: usize,
    /// The base's elements; empty without one.
    pub base: &'a [f32],
    /// The parents' elements, in parent order.
    pub parents: &'a [&'a [f32]],
}

/// What an operator knows of one tensor.
pub struct TensorInputs<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its dimensions, the same in every input.
    pub shape: &'a Shape,
    /// How the child stores it.
    pub dtype: DType,
    /// The base's tensor.
    pub base: Option<Box<dyn Source + 'a>>,
    /// What the plan calls the base; empty without one.
    pub base_name: &'a str,
    /// The parents' tensors, in parent order.
    pub parents: Vec<Box<dyn Source + 'a>>,
    /// What the plan calls the parents.
    pub parent_names: Vec<&'a str>,
    /// The parameters for this tensor, rules applied.
    pub values: Values,
    /// What randomness is keyed by, without the tensor's name: seed, operator, candidate.
    pub purpose: [&'a str; 3],
}

impl TensorInputs<'_> {
    /// What of it is known before anything is read.
    pub fn outlined(&self) -> Outlined<'_> {
        Outlined { name: self.name, shape: self.shape, values: &self.values }
    }

    /// The random stream of this tensor.
    pub fn random(&self) -> Philox {
        let [seed, operator, candidate] = self.purpose;
        Philox::for_purpose(&[seed, operator, candidate, self.name])
    }

    /// The random stream of this tensor for one parent: independent of the others and of
    /// [`TensorInputs::random`].
    pub fn random_for(&self, parent: usize) -> Philox {
        let [seed, operator, candidate] = self.purpose;
        Philox::for_purpose(&[seed, operator, candidate, self.name, &parent.to_string()])
    }

    /// Whether a pattern parameter ([`super::parameter::Kind::Pattern`]) means this tensor. The empty
    /// pattern means tensors with two dimensions: weights, not norms and biases.
    pub fn is_meant_by(&self, parameter: &str) -> bool {
        is_meant(self.name, self.shape, self.values.choice(parameter))
    }

    /// The base's tensor, for operators that need one: the engine has checked that it is there.
    pub fn base(&self) -> &dyn Source {
        self.base.as_deref().expect("an operator that needs a base is given one")
    }
}

/// Whether a pattern parameter means a tensor; see [`TensorInputs::is_meant_by`].
pub(super) fn is_meant(name: &str, shape: &Shape, pattern: &str) -> bool {
    match pattern {
        "" => shape.dims().len() == 2,
        pattern => matches(pattern, name),
    }
}
