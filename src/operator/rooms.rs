//! Room for the runs that are handled together, so that none stands in another's way.
//!
//! A processor compares addresses by their last twelve bits before it knows more: what is read from one room
//! right after something was written at the same place of another's page looks as if it were that, and waits.
//! And what lies across two cache lines is read twice. So all rooms are one piece of memory: each begins with
//! a line, and each elsewhere in its page.

use super::source::PIECE;

/// Elements of a cache line.
const LINE: usize = 64 / size_of::<f32>();

/// From one room to the next: an odd number of lines, so that they take turns over all of a page's.
const STRIDE: usize = PIECE + 9 * LINE;

/// Rooms for a piece each.
#[derive(Default)]
pub(super) struct Rooms(Vec<f32>);

impl Rooms {
    /// So many of them, or more.
    pub(super) fn make(&mut self, count: usize) {
        let needed = count * STRIDE + LINE;
        if self.0.len() < needed {
            self.0.resize(needed, 0.0);
        }
    }

    /// All of them.
    pub(super) fn all(&mut self) -> Vec<&mut [f32]> {
        // Never more than a line, unless the system cannot tell: then they lie as they lie.
        let skipped = self.0.as_ptr().align_offset(64).min(LINE);
        let rooms = self.0.get_mut(skipped..).unwrap_or_default();
        rooms.chunks_exact_mut(STRIDE).map(|room| &mut room[..PIECE]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_begins_a_line_of_its_own_in_a_page() {
        let mut rooms = Rooms::default();
        assert!(rooms.all().is_empty());
        for count in [3, 12, 5] {
            rooms.make(count);
            let all = rooms.all();
            assert!(all.len() >= count, "{}", all.len());
            assert!(all.iter().all(|room| room.len() == PIECE));
            let places: Vec<usize> = all.iter().map(|room| room.as_ptr().addr() % 4096).collect();
            assert!(places.iter().all(|place| place % 64 == 0), "{places:?}");
            let distinct: std::collections::BTreeSet<_> = places.iter().collect();
            assert_eq!(distinct.len(), places.len(), "{places:?}");
        }
    }
}
