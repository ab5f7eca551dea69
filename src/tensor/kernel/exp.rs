//! The exponential of `libm`, eight at a time.
//!
//! Softmax and SiLU need one exponential per number, and a function with branches costs as much as many
//! products. This is the same computation without branches, so that a loop over it becomes vector code; it
//! returns the bits of `libm::expf` for every f32 there is (all 2^32 were compared; the test repeats many).

/// `e` to the power `x`, with the bits of [`libm::expf`].
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // Constants of FreeBSD's e_expf.c: ln 2 in two parts, and the polynomial.
    const LN2_HIGH: f32 = 6.931_457_5e-1;
    const LN2_LOW: f32 = 1.428_606_8e-6;
    const P1: f32 = 1.666_662_5e-1;
    const P2: f32 = -2.766_733_3e-3;
    let magnitude = f32::from_bits(x.to_bits() & 0x7fff_ffff);
    // How often ln 2 is taken away: beyond the ends of f32 the answer is known, so any number will do there.
    let times = match magnitude.to_bits() {
        0x3f85_1593.. => whole(std::f32::consts::LOG2_E * magnitude.min(128.0) + 0.5),
        0x3eb1_7219.. => 1.0,
        _ => 0.0,
    };
    let times = f32::from_bits(times.to_bits() | x.to_bits() & 0x8000_0000);
    let (high, low) = (x - times * LN2_HIGH, times * LN2_LOW);
    let reduced = high - low;
    let square = reduced * reduced;
    let c = reduced - square * (P1 + square * P2);
    let near_one = 1.0 + (reduced * c / (2.0 - c) - low + high);
    // Two steps, of which only the second rounds: the answer may be subnormal.
    let half = whole(magnitude_of(times) * 0.5);
    let half = f32::from_bits(half.to_bits() | times.to_bits() & 0x8000_0000);
    let scaled = near_one * power_of_two(half) * power_of_two(times - half);
    let tiny = if magnitude.to_bits() <= 0x3900_0000 { 1.0 + x } else { scaled };
    let bounded = if x >= f32::from_bits(0x42b1_7218) { f32::INFINITY } else { tiny };
    let bounded = if x <= f32::from_bits(0xc2cf_f1b5) { 0.0 } else { bounded };
    if x.is_nan() { x } else { bounded }
}

#[inline(always)]
fn magnitude_of(x: f32) -> f32 {
    f32::from_bits(x.to_bits() & 0x7fff_ffff)
}

/// Rounds a number from 0 to 2^22 down.
#[inline(always)]
fn whole(x: f32) -> f32 {
    const WHOLE: f32 = 12_582_912.0; // 1.5 * 2^23: what is added to it loses its fraction.
    let near = (x + WHOLE) - WHOLE;
    if near > x { near - 1.0 } else { near }
}

/// Two to the power of a whole number from -126 to 127.
#[inline(always)]
fn power_of_two(exponent: f32) -> f32 {
    // 2^23 + 127 + exponent: the sum's last bits are the biased exponent.
    f32::from_bits((exponent + 8_388_735.0).to_bits() << 23)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(bits: u32) {
        let x = f32::from_bits(bits);
        let (ours, theirs) = (exp(x), libm::expf(x));
        assert_eq!(ours.to_bits(), theirs.to_bits(), "exp({x:e}), {bits:#x}");
    }

    /// A prime step through all numbers, and every number near a border.
    #[test]
    fn it_has_the_bits_of_libm() {
        (0..=u32::MAX).step_by(2053).for_each(same);
        let borders =
            [0, 0x3900_0000, 0x3eb1_7218, 0x3f85_1592, 0x42ae_ac50, 0x42b1_7218, 0x42cf_f1b5, 0x7f80_0000];
        for border in borders {
            for bits in u32::saturating_sub(border, 3000)..border + 3000 {
                same(bits);
                same(bits | 0x8000_0000);
            }
        }
    }

    #[test]
    #[ignore = "all 2^32 numbers take minutes"]
    fn it_has_the_bits_of_libm_everywhere() {
        (0..=u32::MAX).for_each(same);
    }
}
