//! Which group of connections is due first: a tournament of lower bounds.

use alloc::vec::Vec;

/// How many compete in one match: two cache lines' worth.
const FAN: usize = 16;

/// Never.
pub(super) const NEVER: u64 = u64::MAX;

/// An instant for each group, in nanoseconds, and above them the earliest of
/// each sixteen, up to the earliest of all. It needs no allocation but to
/// grow, and finding the earliest is a walk down.
#[derive(Clone, Debug)]
pub(super) struct Dues {
    /// From the groups up; the top has at most sixteen.
    levels: Vec<Vec<u64>>,
}

impl Dues {
    pub(super) fn new() -> Self {
        Self {
            levels: alloc::vec![Vec::new()],
        }
    }

    /// Makes room for so many groups.
    pub(super) fn reserve(&mut self, groups: usize) {
        let mut count = groups;
        let mut level = 0usize;
        loop {
            if self.levels.len() <= level {
                // An empty level would end the walk: it starts with what is below.
                self.rise();
            }
            if let Some(dues) = self.levels.get_mut(level) {
                dues.reserve(count.saturating_sub(dues.len()));
            }
            if count <= FAN {
                return;
            }
            count = count.div_ceil(FAN);
            level = level.saturating_add(1);
        }
    }

    /// One group more, with nothing due.
    pub(super) fn push(&mut self) {
        let mut level = 0;
        loop {
            if self.levels.len() <= level {
                self.rise();
            }
            let below = level
                .checked_sub(1)
                .and_then(|below| self.levels.get(below));
            let wanted = match below {
                None => self.len().saturating_add(1),
                Some(below) => below.len().div_ceil(FAN),
            };
            let Some(dues) = self.levels.get_mut(level) else {
                return;
            };
            dues.resize(wanted.max(dues.len()), NEVER);
            let is_top = level.saturating_add(1) == self.levels.len();
            if is_top && wanted <= FAN {
                return;
            }
            level = level.saturating_add(1);
        }
    }

    /// A new top over the one that has outgrown a match, or will.
    fn rise(&mut self) {
        let top = self.levels.last().map(Vec::as_slice).unwrap_or_default();
        let earliest: Vec<u64> = top.chunks(FAN).map(earliest).collect();
        self.levels.push(earliest);
    }

    pub(super) fn len(&self) -> usize {
        self.levels.first().map_or(0, Vec::len)
    }

    /// The earliest of all.
    pub(super) fn earliest(&self) -> u64 {
        self.levels.last().map_or(NEVER, |top| earliest(top))
    }

    /// A group that is due at `now`, of which none is due earlier.
    #[inline]
    pub(super) fn first(&self, now: u64) -> Option<usize> {
        let mut place = 0usize;
        for level in self.levels.iter().rev() {
            let start = place.saturating_mul(FAN);
            let matched = level.get(start..)?;
            let matched = matched.get(..FAN).unwrap_or(matched);
            let least = earliest(matched);
            if least > now {
                return None;
            }
            let winner = matched.iter().position(|due| *due == least)?;
            place = start.saturating_add(winner);
        }
        Some(place)
    }

    /// Sets when a group is due.
    #[inline]
    pub(super) fn set(&mut self, group: usize, due: u64) {
        let mut value = due;
        let mut place = group;
        let mut levels = self.levels.iter_mut().peekable();
        while let Some(level) = levels.next() {
            let Some(held) = level.get_mut(place) else {
                return;
            };
            if *held == value {
                return;
            }
            *held = value;
            if levels.peek().is_none() {
                return;
            }
            place /= FAN;
            let start = place.saturating_mul(FAN);
            let Some(matched) = level.get(start..) else {
                return;
            };
            value = earliest(matched.get(..FAN).unwrap_or(matched));
        }
    }

    /// Makes a group due at `due` at the latest.
    #[inline]
    pub(super) fn lower(&mut self, group: usize, due: u64) {
        let mut place = group;
        for level in &mut self.levels {
            match level.get_mut(place) {
                Some(held) if due < *held => *held = due,
                _ => return,
            }
            place /= FAN;
        }
    }
}

fn earliest(dues: &[u64]) -> u64 {
    dues.iter().copied().min().unwrap_or(NEVER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_a_plain_list() {
        let mut dues = Dues::new();
        let mut list: Vec<u64> = Vec::new();
        let mut chance = 1u64;
        for step in 0..40_000u64 {
            chance = chance
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(step);
            if step % 8 == 0 {
                dues.push();
                list.push(NEVER);
            }
            let group = usize::try_from((chance >> 33) % list.len() as u64).unwrap();
            let due = (chance >> 40) % 1000;
            if chance >> 62 == 0 {
                dues.lower(group, due);
                list[group] = list[group].min(due);
            } else {
                let due = if due < 500 { NEVER } else { due };
                dues.set(group, due);
                list[group] = due;
            }
            let least = *list.iter().min().unwrap();
            assert_eq!(dues.earliest(), least);
            let now = (chance >> 20) % 1500;
            match dues.first(now) {
                Some(group) => assert_eq!(list[group], least),
                None => assert!(least > now),
            }
        }
    }

    #[test]
    fn what_was_reserved_behaves_as_what_grew() {
        let mut dues = Dues::new();
        dues.push();
        dues.set(0, 7);
        dues.reserve(10_000);
        assert_eq!((dues.earliest(), dues.first(7)), (7, Some(0)));
        for _ in 0..9_999 {
            dues.push();
        }
        dues.set(9_999, 3);
        assert_eq!((dues.earliest(), dues.first(5)), (3, Some(9_999)));
        dues.set(9_999, NEVER);
        assert_eq!(dues.first(7), Some(0));
    }
}
