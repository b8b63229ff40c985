//! Chance without state: a hash of (seed, link, draw).
//!
//! A random generator that is stepped at every draw makes each later draw
//! depend on how many came before it. A hash does not, so a replay, a spurious
//! poll or a byte more on the wire changes nothing.

use crate::time::Span;

/// The fixed points at which something is drawn.
#[derive(Clone, Copy)]
pub(crate) enum Draw {
    /// The wait before heartbeat `.0` of the session.
    Beat(u32),
    /// How long the link may live.
    MaxAge,
    /// The delay before attempt `.0`.
    Backoff(u32),
    /// What goes on top of a retry-after floor.
    Floor,
    /// The first-attempt delay after a resume.
    Hurry,
    /// What goes on top of what is left of a drain.
    #[cfg(feature = "alloc")]
    Drain,
}

/// 64 uniform bits for one draw of one link.
pub(crate) const fn draw(seed: u64, link: u32, draw: Draw) -> u64 {
    let (kind, number) = match draw {
        Draw::Beat(number) => (1, number),
        Draw::MaxAge => (2, 0),
        Draw::Backoff(number) => (3, number),
        Draw::Floor => (4, 0),
        Draw::Hurry => (5, 0),
        #[cfg(feature = "alloc")]
        Draw::Drain => (6, 0),
    };
    let place = ((link as u64) << 32) | number as u64;
    mix(mix(seed ^ mix(kind)) ^ place)
}

/// A point of `[0, most]`, uniform.
// The product of two 64-bit numbers and its upper half.
#[allow(clippy::cast_possible_truncation, clippy::arithmetic_side_effects)]
pub(crate) const fn up_to(most: Span, chance: u64) -> Span {
    let points = most.nanos() as u128 + 1;
    Span::from_nanos(((chance as u128 * points) >> 64) as u64)
}

/// The output function of `SplitMix64` (Steele, Lea, Flood: "Fast splittable
/// pseudorandom number generators", OOPSLA 2014), with its increment.
const fn mix(value: u64) -> u64 {
    let z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_output_of_splitmix64_with_seed_zero() {
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
    }

    #[test]
    fn draws_differ_by_seed_link_kind_and_number() {
        let mut seen = std::collections::HashSet::new();
        for seed in 0..8 {
            for link in 0..8 {
                for number in 0..8 {
                    assert!(seen.insert(draw(seed, link, Draw::Beat(number))));
                    assert!(seen.insert(draw(seed, link, Draw::Backoff(number))));
                }
                assert!(seen.insert(draw(seed, link, Draw::MaxAge)));
                assert!(seen.insert(draw(seed, link, Draw::Floor)));
                assert!(seen.insert(draw(seed, link, Draw::Hurry)));
            }
        }
    }

    #[test]
    fn up_to_reaches_both_ends_and_is_even() {
        let most = Span::from_nanos(9);
        assert_eq!(up_to(most, 0).nanos(), 0);
        assert_eq!(up_to(most, u64::MAX).nanos(), 9);
        let mut counts = [0u32; 10];
        for number in 0..100_000 {
            let point = up_to(most, draw(1, 0, Draw::Backoff(number))).nanos();
            counts[usize::try_from(point).unwrap()] += 1;
        }
        for count in counts {
            assert!((9_500..10_500).contains(&count), "{counts:?}");
        }
    }
}
