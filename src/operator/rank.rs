//! Ranks within a row: from 0 for the smallest magnitude; of equals the lower index ranks higher.
//!
//! A radix sort, byte by byte from the lowest: every pass keeps the order of equals, and the first one
//! takes the elements from the end.

use super::magnitudes::magnitude;

/// Passes, and values of a byte.
const BYTES: usize = 4;
const VALUES: usize = 256;
/// Rows shorter than this are sorted by comparing: counting values would cost more.
const SHORT: usize = 96;

/// Room to sort in, used again for every row.
#[derive(Default)]
pub(super) struct Room {
    keys: Vec<u64>,
    sorted: Vec<u64>,
}

/// Ranks one row of fewer than 2^31 elements.
pub(super) fn rank(row: &[f32], room: &mut Room, ranks: &mut [i32]) {
    let Room { keys, sorted } = room;
    keys.clear();
    let from_end = row.iter().enumerate().rev();
    if row.len() < SHORT {
        // The index from the end makes all keys differ: any sort gives one order.
        let last = row.len().saturating_sub(1);
        keys.extend(from_end.map(|(i, x)| key(*x, last - i)));
        keys.sort_unstable();
        for (rank, key) in keys.iter().enumerate() {
            ranks[last - index(*key)] = rank as i32;
        }
        return;
    }
    keys.extend(from_end.map(|(i, x)| key(*x, i)));
    sorted.resize(row.len(), 0);
    let mut starts = starts(keys);
    let [first @ .., last] = &mut starts;
    for (byte, starts) in first.iter_mut().enumerate() {
        for key in &*keys {
            let start = &mut starts[value(*key, byte)];
            sorted[*start as usize] = *key;
            *start += 1;
        }
        std::mem::swap(keys, sorted);
    }
    // The last pass needs no sorted keys, only their places.
    for key in &*keys {
        let start = &mut last[value(*key, BYTES - 1)];
        ranks[index(*key)] = *start as i32;
        *start += 1;
    }
}

fn key(x: f32, index: usize) -> u64 {
    u64::from(magnitude(x)) << 32 | index as u64
}

fn index(key: u64) -> usize {
    (key & u64::from(u32::MAX)) as usize
}

fn value(key: u64, byte: usize) -> usize {
    (key >> (32 + 8 * byte)) as usize % VALUES
}

/// For every byte and each of its values, where the keys with it begin.
fn starts(keys: &[u64]) -> [[u32; VALUES]; BYTES] {
    let mut starts = [[0; VALUES]; BYTES];
    for key in keys {
        for (byte, counts) in starts.iter_mut().enumerate() {
            counts[value(*key, byte)] += 1;
        }
    }
    for counts in &mut starts {
        let mut start = 0;
        for count in counts {
            start += std::mem::replace(count, start);
        }
    }
    starts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn is_the_place_in_a_stable_sort(
            row in prop::collection::vec(
                prop_oneof![
                    (-4_i8..4).prop_map(f32::from),
                    any::<f32>().prop_filter("finite", |value| value.is_finite()),
                ],
                1..400,
            ),
        ) {
            let mut order: Vec<usize> = (0..row.len()).rev().collect();
            order.sort_by(|a, b| row[*a].abs().total_cmp(&row[*b].abs()));
            let mut room = Room::default();
            let mut ranks = vec![-1; row.len()];
            // Twice, because the room is used again.
            rank(&row[..row.len() / 2], &mut room, &mut vec![0; row.len() / 2]);
            rank(&row, &mut room, &mut ranks);
            for (place, i) in order.into_iter().enumerate() {
                prop_assert_eq!(ranks[i], place as i32);
            }
        }
    }
}
