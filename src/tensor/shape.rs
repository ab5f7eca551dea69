//! Dimensions, rows first. Every product is checked: a header can claim anything.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Most dimensions a tensor may have.
pub const MAX_RANK: usize = 8;

/// At most [`MAX_RANK`] non-zero dimensions whose product fits. A scalar has none, and is one row of
/// one element.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<usize>", into = "Vec<usize>")]
pub struct Shape {
    dims: Vec<usize>,
    elements: usize,
}

/// Why dimensions are no shape.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// More than [`MAX_RANK`] dimensions.
    #[error("has {0} dimensions; at most {MAX_RANK} are possible")]
    Rank(usize),
    /// A dimension of zero.
    #[error("has a dimension of zero: {0:?}")]
    Zero(Vec<usize>),
    /// The number of elements does not fit.
    #[error("has too many elements to count: {0:?}")]
    Overflow(Vec<usize>),
}

impl Shape {
    /// Checks dimensions.
    ///
    /// # Errors
    ///
    /// [`ShapeError`] if there are more than [`MAX_RANK`] dimensions, if one of them is 0, or if they make more
    /// elements than a sixteenth of [`isize::MAX`].
    pub fn new(dims: Vec<usize>) -> Result<Self, ShapeError> {
        if dims.len() > MAX_RANK {
            return Err(ShapeError::Rank(dims.len()));
        }
        if dims.contains(&0) {
            return Err(ShapeError::Zero(dims));
        }
        // Bytes are counted in isize at most; eight bytes an element is the widest encoding kept here.
        let elements = dims
            .iter()
            .try_fold(1_usize, |product, dim| product.checked_mul(*dim))
            .filter(|elements| *elements <= isize::MAX as usize / 16);
        match elements {
            Some(elements) => Ok(Self { dims, elements }),
            None => Err(ShapeError::Overflow(dims)),
        }
    }

    /// The dimensions.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// The number of elements.
    pub fn elements(&self) -> usize {
        self.elements
    }

    /// Width of a row: the last dimension. A vector is one row.
    pub fn columns(&self) -> usize {
        self.dims.last().copied().unwrap_or(1)
    }

    /// Number of rows: all elements over the row width.
    pub fn rows(&self) -> usize {
        self.elements / self.columns()
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.dims.is_empty() {
            return f.pad("scalar");
        }
        let dims: Vec<_> = self.dims.iter().map(ToString::to_string).collect();
        f.pad(&dims.join("x"))
    }
}

impl TryFrom<Vec<usize>> for Shape {
    type Error = ShapeError;
    fn try_from(dims: Vec<usize>) -> Result<Self, ShapeError> {
        Self::new(dims)
    }
}

impl From<Shape> for Vec<usize> {
    fn from(shape: Shape) -> Self {
        shape.dims
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_columns_and_refusals() {
        let shape = Shape::new(vec![3, 4, 5]).unwrap();
        assert_eq!((shape.rows(), shape.columns(), shape.elements()), (12, 5, 60));
        assert_eq!(Shape::new(vec![7]).unwrap().rows(), 1);
        assert_eq!(shape.to_string(), "3x4x5");
        let scalar = Shape::new(vec![]).unwrap();
        assert_eq!((scalar.rows(), scalar.columns(), scalar.elements()), (1, 1, 1));
        assert_eq!(scalar.to_string(), "scalar");
        assert!(matches!(Shape::new(vec![1; 9]), Err(ShapeError::Rank(9))));
        assert!(matches!(Shape::new(vec![0, usize::MAX]), Err(ShapeError::Zero(_))));
        assert!(matches!(Shape::new(vec![1 << 40, 1 << 40]), Err(ShapeError::Overflow(_))));
    }
}
