//! How a tensor is cut: into blocks that travel, and blocks into pieces that kernels see.
//!
//! ```text
//! tensor   | row | row | row | row | row | row | row | row | row |
//! blocks   |           one task            |       one task      |   size: a setting
//! pieces   |  one call |  one call |  call |  call     |  call   |   size: from the shape alone
//! ```
//!
//! A piece is as many whole rows as fit [`PIECE`] elements, or a stretch of that many elements in a
//! longer row. A block is whole pieces, and whole rows wherever a row shares a scale, so that
//! encodings never meet half a row.

use std::ops::Range;

use crate::tensor::dtype::DType;
use crate::tensor::shape::Shape;

use super::source::PIECE;

/// Elements of a usual block: 1 MiB of f32.
pub(super) const BLOCK: usize = 1 << 18;

/// The blocks of a tensor, as flat ranges in order; about `target` elements each.
pub(super) fn blocks(shape: &Shape, dtype: DType, target: usize) -> impl Iterator<Item = Range<usize>> {
    let (columns, elements) = (shape.columns(), shape.elements());
    let rows_in_piece = rows_in_piece(columns);
    let step = if columns > target.max(PIECE) && dtype == DType::F32 {
        // Part of a row, in whole pieces.
        (target / PIECE).max(1) * PIECE
    } else {
        (target / (rows_in_piece * columns)).max(1) * rows_in_piece * columns
    };
    let in_row = if step < columns { columns } else { elements };
    let mut first = 0;
    std::iter::from_fn(move || {
        let row_end = (first / in_row + 1) * in_row;
        let range = first..(first + step).min(row_end).min(elements);
        first = range.end;
        (!range.is_empty()).then_some(range)
    })
}

/// The pieces of a block, as flat ranges in order.
pub(super) fn pieces(columns: usize, block: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let mut first = block.start;
    std::iter::from_fn(move || {
        let end = if columns >= PIECE {
            (first / columns * columns + columns).min(first + PIECE)
        } else {
            first + rows_in_piece(columns) * columns
        };
        let range = first..end.min(block.end);
        first = range.end;
        (!range.is_empty()).then_some(range)
    })
}

/// The number of the piece that an element is in, and where that begins.
pub(super) fn piece_of(columns: usize, element: usize) -> (usize, usize) {
    if columns >= PIECE {
        let (row, in_row) = (element / columns, element % columns / PIECE);
        (row * columns.div_ceil(PIECE) + in_row, row * columns + in_row * PIECE)
    } else {
        let step = rows_in_piece(columns) * columns;
        (element / step, element / step * step)
    }
}

/// How many pieces a tensor has.
pub(super) fn count(shape: &Shape) -> usize {
    shape.elements().checked_sub(1).map_or(0, |last| piece_of(shape.columns(), last).0 + 1)
}

fn rows_in_piece(columns: usize) -> usize {
    (PIECE / columns).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut(shape: &Shape, dtype: DType, target: usize) -> Vec<Range<usize>> {
        blocks(shape, dtype, target).flat_map(|block| pieces(shape.columns(), block)).collect()
    }

    proptest! {
        #[test]
        fn pieces_do_not_depend_on_blocks(
            rows in 1_usize..40,
            columns in prop_oneof![1_usize..100, 3000_usize..20_000],
            target in 1_usize..70_000,
            dtype in prop::sample::select(DType::ALL.to_vec()),
        ) {
            let shape = Shape::new(vec![rows, columns]).unwrap();
            let expected = cut(&shape, DType::Q8_0, usize::MAX / 4);
            let found = cut(&shape, dtype, target);
            prop_assert_eq!(&found, &expected);
            prop_assert!(found.iter().all(|piece| piece.len() <= PIECE));
            prop_assert_eq!(found[0].start, 0);
            prop_assert!(found.windows(2).all(|pair| pair[0].end == pair[1].start));
            prop_assert_eq!(found[found.len() - 1].end, shape.elements());
            prop_assert_eq!(found.len(), count(&shape));
            for (number, piece) in found.iter().enumerate() {
                for element in [piece.start, piece.end - 1] {
                    prop_assert_eq!(piece_of(columns, element), (number, piece.start));
                }
            }
            for block in blocks(&shape, dtype, target) {
                prop_assert!(dtype == DType::F32 || block.start % columns == 0 && block.end % columns == 0);
                prop_assert!(block.len() <= target.max(PIECE) || block.len() == columns);
            }
        }
    }
}
