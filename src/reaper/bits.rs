//! A set of small numbers that finds its next member in a few steps.

use alloc::vec::Vec;

const WORD: usize = u64::BITS as usize;

/// A bit per number, and above it a bit per word that is not empty, and so on
/// up to a single word. A summary of an empty level is empty.
#[derive(Clone, Debug)]
pub(super) struct Bits {
    levels: Vec<Vec<u64>>,
}

impl Bits {
    pub(super) fn new() -> Self {
        Self {
            levels: alloc::vec![Vec::new()],
        }
    }

    /// Makes room for numbers below `count`.
    pub(super) fn reserve(&mut self, count: usize) {
        let mut words = count.div_ceil(WORD);
        let mut level = 0usize;
        while let Some(held) = self.levels.get_mut(level) {
            held.reserve(words.saturating_sub(held.len()));
            level = level.saturating_add(1);
            if words > 1 && level == self.levels.len() {
                self.rise();
            }
            words = words.div_ceil(WORD);
        }
    }

    /// The word of the numbers `index × 64` and on.
    #[inline]
    pub(super) fn word(&self, index: usize) -> u64 {
        let lowest = self.levels.first();
        lowest
            .and_then(|words| words.get(index))
            .copied()
            .unwrap_or(0)
    }

    #[inline]
    pub(super) fn insert(&mut self, number: usize) {
        let mut place = number;
        let mut level = 0usize;
        while let Some(words) = self.levels.get_mut(level) {
            let (index, bit) = (place / WORD, place % WORD);
            if words.len() <= index {
                words.resize(index.saturating_add(1), 0);
            }
            let has_outgrown = words.len() > 1;
            let Some(word) = words.get_mut(index) else {
                return;
            };
            let was_empty = *word == 0;
            *word |= 1 << bit;
            level = level.saturating_add(1);
            if has_outgrown && level == self.levels.len() {
                self.rise();
            }
            if !was_empty {
                return;
            }
            place = index;
        }
    }

    /// A new top, over one that has outgrown a word or will.
    #[cold]
    fn rise(&mut self) {
        let top = self.levels.last().map(Vec::as_slice).unwrap_or_default();
        let bit = |(bit, word): (usize, &u64)| u64::from(*word != 0) << bit;
        let words = top.chunks(WORD);
        let above = words.map(|words| words.iter().enumerate().map(bit).sum());
        let above = above.collect();
        self.levels.push(above);
    }

    #[inline]
    pub(super) fn remove(&mut self, number: usize) {
        let mut place = number;
        for words in &mut self.levels {
            let (index, bit) = (place / WORD, place % WORD);
            let Some(word) = words.get_mut(index) else {
                return;
            };
            *word &= !(1 << bit);
            if *word != 0 {
                return;
            }
            place = index;
        }
    }

    /// The smallest member not below `from`.
    #[inline]
    pub(super) fn next(&self, from: usize) -> Option<usize> {
        let mut place = from;
        for (level, words) in self.levels.iter().enumerate() {
            let (index, bit) = (place / WORD, place % WORD);
            let rest = words.get(index)? & (u64::MAX << bit);
            if rest != 0 {
                return self.descend(level, lowest(index, rest));
            }
            place = index.saturating_add(1);
        }
        None
    }

    /// The smallest number below the bit `place` of `level`.
    fn descend(&self, level: usize, place: usize) -> Option<usize> {
        let mut place = place;
        for words in self.levels.get(..level)?.iter().rev() {
            place = lowest(place, *words.get(place)?);
        }
        Some(place)
    }
}

/// The number of the lowest bit of a word.
const fn lowest(index: usize, word: u64) -> usize {
    index
        .saturating_mul(WORD)
        .saturating_add(word.trailing_zeros() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn agrees_with_a_sorted_set() {
        let mut bits = Bits::new();
        let mut set = BTreeSet::new();
        let mut chance = 1u64;
        for step in 0..60_000u64 {
            chance = chance
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(step);
            // Grows through three levels.
            let range = 1 + step * 5;
            let number = usize::try_from((chance >> 20) % range).unwrap();
            if chance >> 63 == 0 {
                bits.insert(number);
                set.insert(number);
            } else {
                bits.remove(number);
                set.remove(&number);
            }
            let from = usize::try_from((chance >> 30) % range).unwrap();
            assert_eq!(bits.next(from), set.range(from..).next().copied());
        }
        assert!(set.len() > 1000);
    }

    #[test]
    fn a_reserved_set_is_an_empty_one() {
        let mut bits = Bits::new();
        bits.reserve(1_000_000);
        assert_eq!(bits.next(0), None);
        bits.insert(3);
        bits.insert(999_999);
        assert_eq!(bits.next(0), Some(3));
        assert_eq!(bits.next(4), Some(999_999));
        assert_eq!(bits.next(1_000_000), None);
    }
}
