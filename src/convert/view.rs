//! A model read as if it had a child's names: other names, rows in another order, the rows of the
//! tokens that the child has. Nothing is made or stored; every piece is found when it is read.

use std::collections::HashMap;

use super::task::{ConvertError, Move, Task};
use crate::model::Package;
use crate::model::naming::Naming;
use crate::operator::{Source, Tensors};
use crate::tensor::shape::Shape;

/// A model in the names of a child.
pub struct View<'a> {
    tensors: &'a dyn Tensors,
    moves: Vec<Move>,
    /// Only ever asked, never walked.
    by_name: HashMap<String, usize>,
    tokens: Option<Tokens<'a>>,
}

/// The rows of a parent that has another vocabulary than the child.
pub struct Tokens<'a> {
    /// For each row of the child, the parent's row of the same token; none if it has no such token.
    pub rows: Vec<Option<usize>>,
    /// The matrices with a row for each token, in the child's names.
    pub matrices: Vec<String>,
    /// The model that the child is like: where the parent lacks a token, its row is taken, so that the
    /// parent changes nothing there.
    pub like: &'a dyn Tensors,
}

impl<'a> View<'a> {
    /// A model in the names of `naming`; `tensors` are its weights, or those with an adapter on them.
    pub fn new(
        package: &'a Package,
        tensors: &'a dyn Tensors,
        naming: Option<Naming>,
        format: &'static str,
    ) -> Result<Self, ConvertError> {
        let moves = Task::named(package, naming, format)?.moves;
        let by_name = moves.iter().enumerate().map(|(i, step)| (step.to.clone(), i)).collect();
        Ok(Self { tensors, moves, by_name, tokens: None })
    }

    /// What the tensor that the child calls `name` is called in the model.
    pub fn name_there(&self, name: &str) -> Option<&str> {
        self.step(name).map(|step| step.from.as_str())
    }

    /// With an output matrix: where there is none, the embedding matrix, which is what a model without
    /// one computes with. `naming` is the child's; of other names nothing is known.
    pub fn with_output(mut self, naming: Option<Naming>) -> Self {
        let Some([embedding, output]) = naming.map(Naming::token_matrices) else { return self };
        if self.step(&output).is_none()
            && let Some(step) = self.step(&embedding)
        {
            self.moves.push(Move { to: output.clone(), ..step.clone() });
            self.by_name.insert(output, self.moves.len() - 1);
        }
        self
    }

    /// With one row for each of the child's tokens. A matrix of another width keeps its shape, so that
    /// whoever compares shapes says so.
    pub fn with_tokens(mut self, tokens: Tokens<'a>) -> Self {
        for step in self.moves.iter_mut().filter(|step| tokens.matrices.contains(&step.to)) {
            let columns = step.shape.columns();
            if tokens.like.shape(&step.to).is_some_and(|shape| shape.columns() == columns)
                && let Ok(shape) = Shape::new(vec![tokens.rows.len(), columns])
            {
                step.shape = shape;
            }
        }
        self.tokens = Some(tokens);
        self
    }

    fn step(&self, name: &str) -> Option<&Move> {
        self.by_name.get(name).map(|index| &self.moves[*index])
    }
}

impl Tensors for View<'_> {
    fn shapes(&self) -> Box<dyn Iterator<Item = (&str, &Shape)> + '_> {
        Box::new(self.moves.iter().map(|step| (step.to.as_str(), &step.shape)))
    }

    fn shape(&self, name: &str) -> Option<&Shape> {
        self.step(name).map(|step| &step.shape)
    }

    fn source(&self, name: &str) -> Option<Box<dyn Source + '_>> {
        let step = self.step(name)?;
        let own = step.source(self.tensors)?;
        let tokens = self.tokens.as_ref().filter(|tokens| tokens.matrices.iter().any(|m| m == name));
        let Some(tokens) = tokens else { return Some(own) };
        let like = tokens.like.source(name)?;
        Some(Box::new(RowsOfTokens { own, like, rows: &tokens.rows, columns: step.shape.columns() }))
    }
}

/// A matrix with the rows of other tokens.
struct RowsOfTokens<'a> {
    own: Box<dyn Source + 'a>,
    like: Box<dyn Source + 'a>,
    rows: &'a [Option<usize>],
    columns: usize,
}

impl Source for RowsOfTokens<'_> {
    fn read<'s>(&'s self, first: usize, scratch: &'s mut [f32]) -> &'s [f32] {
        let end = first + scratch.len();
        let mut at = first;
        let mut piece = vec![0.0; self.columns.min(scratch.len())];
        while at < end {
            let (row, column) = (at / self.columns, at % self.columns);
            let length = (self.columns - column).min(end - at);
            let (source, row) = match self.rows[row] {
                Some(own) => (&self.own, own),
                None => (&self.like, row),
            };
            let out = &mut scratch[at - first..at - first + length];
            out.copy_from_slice(source.read(row * self.columns + column, &mut piece[..length]));
            at += length;
        }
        scratch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Count(f32);
    impl Source for Count {
        fn read<'s>(&'s self, first: usize, scratch: &'s mut [f32]) -> &'s [f32] {
            scratch.iter_mut().enumerate().for_each(|(i, value)| *value = self.0 + (first + i) as f32);
            scratch
        }
    }

    #[test]
    fn any_run_of_rows_of_tokens() {
        let rows = [Some(2), None, Some(0)];
        let source =
            RowsOfTokens { own: Box::new(Count(0.0)), like: Box::new(Count(100.0)), rows: &rows, columns: 3 };
        let all = source.read(0, &mut [0.0; 9]).to_vec();
        assert_eq!(all, [6.0, 7.0, 8.0, 103.0, 104.0, 105.0, 0.0, 1.0, 2.0]);
        for first in 0..9 {
            for end in first..=9 {
                assert_eq!(source.read(first, &mut vec![0.0; end - first]), &all[first..end]);
            }
        }
    }
}
