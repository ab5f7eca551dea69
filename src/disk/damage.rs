//! Every small damage there is to a file, for the tests of whoever must notice it.

use std::path::Path;

/// Flips a bit of each byte of a file, removes each byte, doubles each byte, and tells after which of these
/// `accepts` still said yes. The file is left as it was.
pub(crate) fn accepted(path: &Path, accepts: impl Fn() -> bool) -> Vec<(usize, &'static str)> {
    let good = std::fs::read(path).unwrap();
    let mut accepted = Vec::new();
    for at in 0..good.len() {
        let (mut flipped, mut shorter, mut longer) = (good.clone(), good.clone(), good.clone());
        flipped[at] ^= 1;
        shorter.remove(at);
        longer.insert(at, good[at]);
        for (how, bytes) in [("flipped", flipped), ("removed", shorter), ("doubled", longer)] {
            std::fs::write(path, bytes).unwrap();
            accepted.extend(accepts().then_some((at, how)));
        }
    }
    std::fs::write(path, good).unwrap();
    accepted
}
