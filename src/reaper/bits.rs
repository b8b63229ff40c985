//! A set of small numbers that finds its next member in a few steps.

use alloc::vec::Vec;

const WORD: usize = u64::BITS as usize;

/// A bit per number, and above it a bit per word that is not empty, and so on
/// up to a single word.
#[derive(Clone, Debug)]
pub(super) struct Bits {
    words: Vec<u64>,
    above: Vec<Vec<u64>>,
}

impl Bits {
    pub(super) const fn new() -> Self {
        Self {
            words: Vec::new(),
            above: Vec::new(),
        }
    }

    /// Reserves memory for numbers below `count`.
    pub(super) fn reserve(&mut self, count: usize) {
        let mut words = count.div_ceil(WORD);
        self.words
            .reserve_exact(words.saturating_sub(self.words.len()));
        for level in 0.. {
            if words <= 1 {
                return;
            }
            words = words.div_ceil(WORD);
            if let Some(above) = self.level(level) {
                above.reserve_exact(words.saturating_sub(above.len()));
            }
        }
    }

    /// Makes room for numbers below `count`.
    #[cold]
    pub(super) fn grow(&mut self, count: usize) {
        let mut words = count.div_ceil(WORD);
        self.words.resize(words.max(self.words.len()), 0);
        for level in 0.. {
            // A level that was only reserved begins with the first word.
            if words <= 1 && self.above.len() <= level {
                return;
            }
            words = words.div_ceil(WORD);
            if let Some(above) = self.level(level) {
                above.resize(words.max(above.len()), 0);
            }
        }
    }

    /// A level above the words; a new one tells what is below.
    fn level(&mut self, level: usize) -> Option<&mut Vec<u64>> {
        if self.above.len() <= level {
            let below = self.above.last().unwrap_or(&self.words);
            let bit = |(bit, word): (usize, &u64)| u64::from(*word != 0) << bit;
            let summary = |words: &[u64]| words.iter().enumerate().map(bit).sum();
            let summaries = below.chunks(WORD).map(summary).collect();
            self.above.push(summaries);
        }
        self.above.get_mut(level)
    }

    /// The word of the numbers `index × 64` and on.
    #[inline]
    pub(super) fn word(&self, index: usize) -> u64 {
        self.words.get(index).copied().unwrap_or(0)
    }

    /// Puts in a number below what it was [grown](Self::grow) to.
    #[inline]
    pub(super) fn insert(&mut self, number: usize) {
        let (index, bit) = (number / WORD, number % WORD);
        if let Some(word) = self.words.get_mut(index) {
            let was_empty = *word == 0;
            *word |= 1 << bit;
            if was_empty {
                self.show(index);
            }
        }
    }

    /// A word has a member now.
    fn show(&mut self, word: usize) {
        let mut place = word;
        for words in &mut self.above {
            let (index, bit) = (place / WORD, place % WORD);
            let Some(word) = words.get_mut(index) else {
                return;
            };
            *word |= 1 << bit;
            place = index;
        }
    }

    #[inline]
    pub(super) fn remove(&mut self, number: usize) {
        let (index, bit) = (number / WORD, number % WORD);
        if let Some(word) = self.words.get_mut(index) {
            *word &= !(1 << bit);
            if *word == 0 {
                self.hide(index);
            }
        }
    }

    /// A word has no member any more.
    fn hide(&mut self, word: usize) {
        let mut place = word;
        for words in &mut self.above {
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
        let (index, bit) = (from / WORD, from % WORD);
        let rest = self.words.get(index)? & (u64::MAX << bit);
        if rest != 0 {
            return Some(lowest(index, rest));
        }
        self.next_word(index.saturating_add(1))
    }

    /// The smallest member of a word not before this one.
    fn next_word(&self, from: usize) -> Option<usize> {
        let mut place = from;
        for (level, words) in self.above.iter().enumerate() {
            let (index, bit) = (place / WORD, place % WORD);
            let rest = words.get(index)? & (u64::MAX << bit);
            if rest != 0 {
                return self.descend(level, lowest(index, rest));
            }
            place = index.saturating_add(1);
        }
        None
    }

    /// The smallest number below the bit `place` of a level.
    fn descend(&self, level: usize, place: usize) -> Option<usize> {
        let mut place = place;
        for words in self.above.get(..level)?.iter().rev() {
            place = lowest(place, *words.get(place)?);
        }
        Some(lowest(place, *self.words.get(place)?))
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
        agrees(Bits::new());
        for reserved in [1, 64, 65, 5000, 1_000_000] {
            let mut bits = Bits::new();
            bits.reserve(reserved);
            agrees(bits);
        }
    }

    fn agrees(mut bits: Bits) {
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
                bits.grow(number + 1);
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
    fn a_new_level_tells_what_is_below() {
        let mut bits = Bits::new();
        bits.grow(WORD);
        bits.insert(5);
        bits.grow(2 * WORD);
        assert_eq!((bits.next(0), bits.next(6)), (Some(5), None));
    }

    #[test]
    fn what_is_reserved_is_room() {
        let mut bits = Bits::new();
        bits.reserve(100 * WORD);
        assert!(bits.words.capacity() >= 100);
    }

    #[test]
    fn what_was_reserved_behaves_as_what_grew() {
        let mut bits = Bits::new();
        bits.grow(4);
        bits.insert(3);
        bits.reserve(1_000_000);
        assert_eq!(bits.next(0), Some(3));
        assert_eq!(bits.next(4), None);
        bits.grow(1_000_000);
        bits.insert(999_999);
        assert_eq!(bits.next(4), Some(999_999));
        assert_eq!(bits.next(1_000_000), None);
        bits.remove(3);
        assert_eq!(bits.next(0), Some(999_999));
    }
}
