//! The same work on many cores or on one.
//!
//! Arithmetic on floats is not associative, so a sum whose order follows the threads changes with
//! the machine. Nothing here therefore reduces anything: work is cut into pieces whose borders come
//! from sizes alone, every piece is computed as if it were alone, and results come back in the order
//! of the pieces. Whoever needs a total adds them up in that order.
//!
//! With the feature `engine` pieces run on the rayon pool the caller is in; without it, one by one.

use std::ops::Range;

#[cfg(feature = "engine")]
use rayon::prelude::*;

/// Cuts `0..len` into pieces of `size`; the last may be shorter.
pub fn ranges(len: usize, size: usize) -> Vec<Range<usize>> {
    let size = size.max(1);
    (0..len.div_ceil(size)).map(|piece| piece * size..len.min((piece + 1) * size)).collect()
}

/// `work(index, item)` of every item, in order.
pub fn map<T, R, F>(items: &[T], work: F) -> Vec<R>
where
    T: Sync,
    R: Send,
    F: Fn(usize, &T) -> R + Sync,
{
    #[cfg(feature = "engine")]
    {
        items.par_iter().enumerate().with_max_len(1).map(|(index, item)| work(index, item)).collect()
    }
    #[cfg(not(feature = "engine"))]
    {
        items.iter().enumerate().map(|(index, item)| work(index, item)).collect()
    }
}

/// Like [`map`], for work that may fail.
///
/// # Errors
///
/// If `work` fails of an item. Of several failures the one of the lowest index is reported, whoever was first.
pub fn try_map<T, R, E, F>(items: &[T], work: F) -> Result<Vec<R>, E>
where
    T: Sync,
    R: Send,
    E: Send,
    F: Fn(usize, &T) -> Result<R, E> + Sync,
{
    map(items, work).into_iter().collect()
}

/// `work(index, piece)` on consecutive pieces of `size` elements; the last may be shorter.
pub fn for_each_chunk<T, F>(data: &mut [T], size: usize, work: F)
where
    T: Send,
    F: Fn(usize, &mut [T]) + Sync,
{
    let size = size.max(1);
    #[cfg(feature = "engine")]
    {
        data.par_chunks_mut(size).enumerate().for_each(|(index, piece)| work(index, piece));
    }
    #[cfg(not(feature = "engine"))]
    {
        data.chunks_mut(size).enumerate().for_each(|(index, piece)| work(index, piece));
    }
}

/// `work(item)` on every item; `spread` allows other threads to help.
pub fn for_each<T, F>(items: &mut [T], spread: bool, work: F)
where
    T: Send,
    F: Fn(&mut T) + Send + Sync,
{
    #[cfg(feature = "engine")]
    if spread && items.len() > 1 {
        items.par_iter_mut().with_max_len(1).for_each(work);
        return;
    }
    let _ = spread;
    items.iter_mut().for_each(work);
}

/// Does all of some work inside the pool: threads that help with its parts are woken once and not for each.
pub fn inside<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    #[cfg(feature = "engine")]
    {
        rayon::scope(|_| work())
    }
    #[cfg(not(feature = "engine"))]
    {
        work()
    }
}

/// How many pieces can run at once.
pub fn workers() -> usize {
    #[cfg(feature = "engine")]
    {
        rayon::current_num_threads()
    }
    #[cfg(not(feature = "engine"))]
    {
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_everything_once() {
        assert_eq!(ranges(7, 3), vec![0..3, 3..6, 6..7]);
        assert_eq!(ranges(0, 3), Vec::<Range<usize>>::new());
        assert_eq!(ranges(2, 0), vec![0..1, 1..2]);
    }

    #[test]
    fn results_keep_the_order_of_the_pieces() {
        let items: Vec<usize> = (0..1000).collect();
        let squares = map(&items, |index, item| index * item);
        assert!(squares.iter().enumerate().all(|(i, square)| *square == i * i));
    }

    #[test]
    fn the_first_failure_by_index_is_reported() {
        let items: Vec<usize> = (0..1000).collect();
        let result: Result<Vec<()>, usize> =
            try_map(&items, |_, item| if item % 100 == 17 { Err(*item) } else { Ok(()) });
        assert_eq!(result, Err(17));
    }

    #[test]
    fn chunks_know_their_place() {
        let mut data = vec![0_usize; 10];
        for_each_chunk(&mut data, 4, |index, piece| piece.fill(index));
        assert_eq!(data, [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]);
    }
}
