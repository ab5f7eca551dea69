//! Wider vectors where the processor has them, chosen when the program runs.
//!
//! The crate is compiled for the oldest x86-64, whose vectors hold four f32. Loops that most of the
//! time is spent in are written with the macro `wide`: they are compiled a second time for AVX2, whose
//! vectors hold eight, and that is what runs on a processor that has it. What computes with integers alone
//! may be compiled once more for AVX-512, sixteen to a vector: floats gain nothing by it that could be seen.
//!
//! The bits are the same either way: the compiler never reorders operations on floats and never
//! fuses two of them, and whatever sums has its lanes fixed in the source. Tests run both ways and
//! compare ([`crate::operator`]), and build the whole crate for other levels (`tests/levels.rs`).
//!
//! Other architectures have one way, the compiler's.

/// A computation that is worth a second compilation. Implemented by the macro `wide` alone.
pub(crate) trait Work {
    /// What comes of it.
    type Done;

    /// Whether there is a compilation for AVX-512, too.
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "other architectures have one way"))]
    const INTEGERS: bool;

    /// Does it; must be `#[inline(always)]`, and so must everything hot that it calls.
    fn run(self) -> Self::Done;
}

/// Runs the computation with the widest vectors there are.
pub(crate) fn widest<W: Work>(work: W) -> W::Done {
    #[cfg(target_arch = "x86_64")]
    {
        if W::INTEGERS && most_lanes() >= 16 && has_avx512() {
            #[expect(unsafe_code, reason = "the one way to call what not every processor can run")]
            // SAFETY: the processor was just asked for all features that the function needs.
            return unsafe { with_avx512(work) };
        }
        if most_lanes() >= 8 && is_x86_feature_detected!("avx2") {
            #[expect(unsafe_code, reason = "the one way to call what not every processor can run")]
            // SAFETY: the processor was just asked for the only feature that the function needs.
            return unsafe { with_avx2(work) };
        }
    }
    work.run()
}

/// Which compilation of computations with floats [`widest`] runs here: `avx2`, or `baseline`.
#[cfg(feature = "engine")]
pub(crate) fn vectors() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        return "avx2";
    }
    "baseline"
}

/// What this processor has of what arithmetic could be compiled for, by the compiler's names; none on
/// architectures that are not asked.
#[cfg(feature = "engine")]
pub(crate) fn features() -> Vec<&'static str> {
    #[cfg(target_arch = "x86_64")]
    {
        macro_rules! detected {
            ($($name:tt)*) => { [$(($name, is_x86_feature_detected!($name))),*] };
        }
        let asked = detected!(
            "sse3" "ssse3" "sse4.1" "sse4.2" "popcnt" "avx" "f16c" "fma" "avx2" "bmi1" "bmi2" "lzcnt"
            "avx512f" "avx512bw" "avx512cd" "avx512dq" "avx512vl"
        );
        asked.into_iter().filter(|(_, has)| *has).map(|(name, _)| name).collect()
    }
    #[cfg(not(target_arch = "x86_64"))]
    Vec::new()
}

/// Whether [`fetch`] does anything: a loop around nothing still costs.
pub(crate) const FETCHES: bool = cfg!(target_arch = "x86_64");

/// Asks the processor to have this at hand soon. It changes nothing but the time.
#[inline(always)]
pub(crate) fn fetch<T>(place: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        #[expect(unsafe_code, reason = "the one way to ask")]
        // SAFETY: every x86-64 has the instruction; it never faults, and the place is a valid one anyhow.
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(place).cast());
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}

/// Four vectors, each added up as `(v[0] + v[2]) + (v[1] + v[3])`. Of the formula, compilers make a hundred
/// instructions; of the shuffles that it needs, seventeen.
#[inline(always)]
pub(crate) fn added_across([a, b, c, d]: [[f32; 4]; 4]) -> [f32; 4] {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{
            __m128, _mm_add_ps, _mm_movehl_ps, _mm_movelh_ps, _mm_unpackhi_ps, _mm_unpacklo_ps,
        };
        let [a, b, c, d]: [__m128; 4] = [a, b, c, d].map(bytemuck::cast);
        #[expect(unsafe_code, reason = "the one way to name an instruction")]
        // SAFETY: every x86-64 has them.
        let sums = unsafe {
            let ab = _mm_add_ps(_mm_unpacklo_ps(a, b), _mm_unpackhi_ps(a, b));
            let cd = _mm_add_ps(_mm_unpacklo_ps(c, d), _mm_unpackhi_ps(c, d));
            _mm_add_ps(_mm_movelh_ps(ab, cd), _mm_movehl_ps(cd, ab))
        };
        bytemuck::cast(sums)
    }
    #[cfg(not(target_arch = "x86_64"))]
    [a, b, c, d].map(|v| (v[0] + v[2]) + (v[1] + v[3]))
}

/// A bit for each of 32 masks, which are all ones or all zeros.
#[cfg(feature = "operators")]
#[inline(always)]
pub(crate) fn bits_of(masks: &[u32; 32]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{__m128i, _mm_movemask_epi8, _mm_packs_epi16, _mm_packs_epi32};
        let [a, b, c, d, e, f, g, h]: [__m128i; 8] = bytemuck::cast(*masks);
        #[expect(unsafe_code, reason = "the one way to name an instruction")]
        // SAFETY: every x86-64 has them.
        let [low, high] = unsafe {
            [[a, b, c, d], [e, f, g, h]].map(|[a, b, c, d]| {
                _mm_movemask_epi8(_mm_packs_epi16(_mm_packs_epi32(a, b), _mm_packs_epi32(c, d)))
            })
        };
        (low | high << 16).cast_unsigned()
    }
    #[cfg(not(target_arch = "x86_64"))]
    masks.iter().enumerate().fold(0, |bits, (i, mask)| bits | (mask & 1) << i)
}

/// Not with `fma`: nothing asks for it, and so nothing can be fused by mistake.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn with_avx2<W: Work>(work: W) -> W::Done {
    work.run()
}

/// With `fma` as well, since AVX-512 has it: for integers, of which nothing can be fused.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw")]
fn with_avx512<W: Work>(work: W) -> W::Done {
    work.run()
}

#[cfg(target_arch = "x86_64")]
fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512bw")
}

/// How many 32-bit lanes a vector may have: fewer where a test wants the way of older processors.
#[cfg(all(target_arch = "x86_64", not(test)))]
const fn most_lanes() -> usize {
    16
}

#[cfg(all(target_arch = "x86_64", test))]
fn most_lanes() -> usize {
    MOST_LANES.load(std::sync::atomic::Ordering::Relaxed)
}

/// Makes tests in other threads slower as well, which does not hurt them.
#[cfg(test)]
static MOST_LANES: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(16);

/// Does something as older processors do, for a test.
#[cfg(test)]
pub(crate) fn with_lanes<T>(most: usize, work: impl FnOnce() -> T) -> T {
    MOST_LANES.store(most, std::sync::atomic::Ordering::Relaxed);
    let done = work();
    MOST_LANES.store(16, std::sync::atomic::Ordering::Relaxed);
    done
}

/// Defines functions that run with the widest vectors there are.
///
/// Their lifetimes are named, because their arguments are carried in a struct. `wide!(integers: ...)` is for
/// those that compute with integers alone.
macro_rules! wide {
    (integers: $($functions:tt)*) => { $crate::base::wide::wide!(@functions true $($functions)*); };
    (@functions $integers:literal $($(#[$note:meta])* $vis:vis fn $name:ident<$($life:lifetime),+>(
        $($arg:ident: $type:ty),* $(,)?
    ) $(-> $done:ty)? $body:block)*) => {$(
        $(#[$note])*
        $vis fn $name<$($life),+>($($arg: $type),*) $(-> $done)? {
            struct Call<$($life),+> {
                $($arg: $type),*
            }
            impl<$($life),+> $crate::base::wide::Work for Call<$($life),+> {
                type Done = $crate::base::wide::wide!(@done $($done)?);

                const INTEGERS: bool = $integers;

                #[inline(always)]
                fn run(self) -> Self::Done {
                    let Self { $($arg),* } = self;
                    $body
                }
            }
            $crate::base::wide::widest(Call { $($arg),* })
        }
    )*};
    (@done) => { () };
    (@done $done:ty) => { $done };
    ($($functions:tt)*) => { $crate::base::wide::wide!(@functions false $($functions)*); };
}

pub(crate) use wide;

#[cfg(all(test, feature = "operators"))]
mod tests {
    use super::*;

    #[test]
    fn a_bit_for_each_mask() {
        for bits in [0, 1, 1 << 31, 0x8000_8001, 0x1234_5678, u32::MAX] {
            let masks = std::array::from_fn(|i| (bits >> i & 1_u32).wrapping_neg());
            assert_eq!(bits_of(&masks), bits);
        }
    }
}
