//! A model read as if it had a child's names: other names, rows in another order, the rows of the
//! tokens that the child has. Nothing is made or stored; every piece is found when it is read.

use std::collections::HashMap;
use std::sync::OnceLock;

use super::shifted::Unshifted;
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
    /// The model whose gains are taken where both compute with the same.
    beside: Option<&'a dyn Tensors>,
}

/// The rows of a parent that has another vocabulary than the child.
pub struct Tokens<'a> {
    /// For each row of the child, where the parent has it from.
    pub rows: Vec<Row>,
    /// The matrices with a row for each token, in the child's names.
    pub matrices: Vec<String>,
    /// The models that stand in where the parent lacks a token; the model that the child is like is the first.
    pub others: Vec<&'a dyn Tensors>,
}

/// Where a parent has the row of one of the child's tokens from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// Its own row.
    Own(usize),
    /// The mean of rows of others, each by its place among them and its row there; of one that row, of none zeros.
    Of(Vec<(usize, usize)>),
    /// That of no token: the mean of all rows of tokens.
    Padding,
}

impl<'a> Tokens<'a> {
    /// The rows of a parent: where it lacks a token, that of the model that the child is like is taken, so that
    /// the parent changes nothing there.
    pub fn or_like(rows: Vec<Option<usize>>, matrices: Vec<String>, like: &'a dyn Tensors) -> Self {
        let row = |(at, own): (usize, Option<usize>)| own.map_or(Row::Of(vec![(0, at)]), Row::Own);
        Self { rows: rows.into_iter().enumerate().map(row).collect(), matrices, others: vec![like] }
    }
}

impl<'a> View<'a> {
    /// A model in the names of `naming`; `tensors` are its weights, or those with an adapter on them.
    ///
    /// # Errors
    ///
    /// As [`Task::named`].
    pub fn new(
        package: &'a Package,
        tensors: &'a dyn Tensors,
        naming: Option<Naming>,
        format: &'static str,
    ) -> Result<Self, ConvertError> {
        let moves = Task::named(package, naming, format)?.moves;
        let by_name = moves.iter().enumerate().map(|(i, step)| (step.to.clone(), i)).collect();
        Ok(Self { tensors, moves, by_name, tokens: None, beside: None })
    }

    /// What the tensor that the child calls `name` is called in the model.
    pub fn name_there(&self, name: &str) -> Option<&str> {
        self.step(name).map(|step| step.from.as_str())
    }

    /// To be held against `base`, in whose names it is read: gains that lie less one there have more bits than those
    /// that are computed with, and where the latter are the same they are the base's.
    #[must_use]
    pub fn beside(self, base: &'a dyn Tensors) -> Self {
        Self { beside: Some(base), ..self }
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
            let like = tokens.others.first().and_then(|like| like.shape(&step.to));
            if like.is_some_and(|shape| shape.columns() == columns)
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
        if let Some(base) = self.beside.filter(|_| step.shift < 0).and_then(|base| base.source(name)) {
            return Some(Box::new(Unshifted { own, base, by: f32::from(-step.shift) }));
        }
        let tokens = self.tokens.as_ref().filter(|tokens| tokens.matrices.iter().any(|m| m == name));
        let Some(tokens) = tokens else { return Some(own) };
        let others = tokens.others.iter().map(|other| other.source(name)).collect::<Option<Vec<_>>>()?;
        let (rows, columns) = (&tokens.rows[..], step.shape.columns());
        Some(Box::new(RowsOfTokens { own, others, rows, columns, mean: OnceLock::new() }))
    }
}

/// A matrix with the rows of other tokens.
struct RowsOfTokens<'a> {
    own: Box<dyn Source + 'a>,
    others: Vec<Box<dyn Source + 'a>>,
    rows: &'a [Row],
    columns: usize,
    /// The mean of all rows of tokens, once somebody asks for it.
    mean: OnceLock<Vec<f32>>,
}

impl RowsOfTokens<'_> {
    /// So many numbers of a row, from one column on.
    fn piece(&self, row: usize, column: usize, scratch: &mut [f32], out: &mut [f32]) {
        let scratch = &mut scratch[..out.len()];
        let at = |row: usize| row * self.columns + column;
        match &self.rows[row] {
            Row::Own(own) => out.copy_from_slice(self.own.read(at(*own), scratch)),
            Row::Of(rows) if rows.len() == 1 => {
                out.copy_from_slice(self.others[rows[0].0].read(at(rows[0].1), scratch));
            }
            Row::Of(rows) => {
                out.fill(0.0);
                for (other, row) in rows {
                    let there = self.others[*other].read(at(*row), scratch);
                    out.iter_mut().zip(there).for_each(|(sum, number)| *sum += number);
                }
                let count = rows.len().max(1) as f32;
                out.iter_mut().for_each(|sum| *sum /= count);
            }
            Row::Padding => {
                let mean = self.mean.get_or_init(|| self.mean());
                out.copy_from_slice(&mean[column..column + out.len()]);
            }
        }
    }

    fn mean(&self) -> Vec<f32> {
        let mut sums = vec![0.0_f64; self.columns];
        let (mut row, mut scratch) = (vec![0.0; self.columns], vec![0.0; self.columns]);
        let tokens = || (0..self.rows.len()).filter(|row| self.rows[*row] != Row::Padding);
        for token in tokens() {
            self.piece(token, 0, &mut scratch, &mut row);
            sums.iter_mut().zip(&row).for_each(|(sum, number)| *sum += f64::from(*number));
        }
        let count = tokens().count() as f64;
        sums.into_iter().map(|sum| (sum / count) as f32).collect()
    }
}

impl Source for RowsOfTokens<'_> {
    fn read<'s>(&'s self, first: usize, scratch: &'s mut [f32]) -> &'s [f32] {
        let end = first + scratch.len();
        let mut at = first;
        let mut piece = vec![0.0; self.columns.min(scratch.len())];
        while at < end {
            let (row, column) = (at / self.columns, at % self.columns);
            let length = (self.columns - column).min(end - at);
            self.piece(row, column, &mut piece, &mut scratch[at - first..at - first + length]);
            at += length;
        }
        scratch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::testing::Count;

    #[test]
    fn any_run_of_rows_of_tokens() {
        let of = |places: &[(usize, usize)]| Row::Of(places.to_vec());
        let rows = [Row::Own(2), of(&[(0, 1)]), Row::Own(0), of(&[(0, 0), (1, 3)]), of(&[]), Row::Padding];
        let own: Box<dyn Source> = Box::new(Count(0.0));
        let others: Vec<Box<dyn Source>> = vec![Box::new(Count(100.0)), Box::new(Count(200.0))];
        let source = RowsOfTokens { own, others, rows: &rows, columns: 3, mean: OnceLock::new() };
        let all = source.read(0, &mut [0.0; 18]).to_vec();
        assert_eq!(all[..9], [6.0, 7.0, 8.0, 103.0, 104.0, 105.0, 0.0, 1.0, 2.0]);
        // (100 + 209) / 2, and the mean of all five above.
        assert_eq!(all[9..], [154.5, 155.5, 156.5, 0.0, 0.0, 0.0, 52.7, 53.5, 54.3]);
        for first in 0..18 {
            for end in first..=18 {
                assert_eq!(source.read(first, &mut vec![0.0; end - first]), &all[first..end]);
            }
        }
    }
}
