//! Copies of a file with something wrong, drawn from a stream of their own.

use studbook::base::rng::Philox;

/// Numbers that lengths and counts must not be believed at.
const HUGE: [u64; 8] = [u64::MAX, u64::MAX - 7, 1 << 63, (1 << 63) - 1, u32::MAX as u64, 1 << 31, 1 << 40, 0];

/// Words that mean something somewhere.
const WORDS: [&[u8]; 12] = [
    b"18446744073709551615",
    b"-1",
    b"1e999",
    b"NaN",
    b"null",
    b"../../",
    b"/",
    b"\0",
    b"\xff",
    b"[[[[[[[[",
    b"{\"a\":",
    b"\n",
];

/// Draws of one copy, in order.
struct Draws {
    stream: Philox,
    next: u64,
}

impl Draws {
    /// A number below `end`; 0 below 0.
    fn below(&mut self, end: usize) -> usize {
        self.next += 1;
        (self.stream.unit(self.next) * end as f64) as usize
    }
}

/// Copy number `copy` of a seed of `reader`, with one to four things wrong. `other` is a seed to take from.
pub(super) fn damaged(reader: &str, copy: u64, seed: &[u8], other: &[u8]) -> Vec<u8> {
    let mut draws = Draws { stream: Philox::for_purpose(&["damage", reader, &copy.to_string()]), next: 0 };
    let mut bytes = seed.to_vec();
    for _ in 0..=draws.below(4) {
        damage(&mut bytes, other, &mut draws);
    }
    bytes
}

fn damage(bytes: &mut Vec<u8>, other: &[u8], draws: &mut Draws) {
    // Half of the time near the beginning, where headers are.
    let reach = if draws.below(2) == 0 { bytes.len().min(256) } else { bytes.len() };
    let at = draws.below(reach);
    match draws.below(8) {
        0 | 1 if at < bytes.len() => bytes[at] ^= 1 << draws.below(8),
        2 => bytes.truncate(at),
        3 => {
            let number = HUGE[draws.below(HUGE.len())].to_le_bytes();
            let width = [1, 2, 4, 8][draws.below(4)];
            let at = if draws.below(2) == 0 { at / width * width } else { at };
            let end = bytes.len().min(at + width);
            bytes[at..end].copy_from_slice(&number[..end - at]);
        }
        4 => {
            let word = WORDS[draws.below(WORDS.len())].iter().copied();
            drop(bytes.splice(at..at, word));
        }
        5 => {
            let end = at + draws.below(bytes.len() - at).min(64);
            drop(bytes.drain(at..end));
        }
        6 => {
            let from = draws.below(other.len());
            let end = from + draws.below(other.len() - from);
            drop(bytes.splice(at.., other[from..end].iter().copied()));
        }
        _ => {
            let end = at + draws.below(bytes.len() - at).min(256);
            let again = bytes[at..end].to_vec();
            drop(bytes.splice(at..at, again));
        }
    }
}
