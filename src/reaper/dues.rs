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
    pub(super) groups: Vec<u64>,
    above: Vec<Vec<u64>>,
}

impl Dues {
    pub(super) const fn new() -> Self {
        Self {
            groups: Vec::new(),
            above: Vec::new(),
        }
    }

    /// Reserves memory for so many groups.
    pub(super) fn reserve(&mut self, groups: usize) {
        let mut count = groups;
        self.groups
            .reserve_exact(count.saturating_sub(self.groups.len()));
        for level in 0.. {
            if count <= 1 {
                return;
            }
            count = count.div_ceil(FAN);
            if let Some(above) = self.level(level) {
                above.reserve_exact(count.saturating_sub(above.len()));
            }
        }
    }

    /// One group more, with nothing due.
    #[cold]
    pub(super) fn push(&mut self) {
        self.groups.push(NEVER);
        let mut count = self.groups.len();
        for level in 0.. {
            count = count.div_ceil(FAN);
            if let Some(above) = self.level(level) {
                above.resize(count.max(above.len()), NEVER);
            }
            // A level that was only reserved begins with the first group.
            if count <= 1 && self.above.len() <= level.saturating_add(1) {
                return;
            }
        }
    }

    /// A level above the groups; a new one tells what is below.
    fn level(&mut self, level: usize) -> Option<&mut Vec<u64>> {
        if self.above.len() <= level {
            let below = self.above.last().unwrap_or(&self.groups);
            let earliest = below.chunks(FAN).map(earliest).collect();
            self.above.push(earliest);
        }
        self.above.get_mut(level)
    }

    pub(super) fn len(&self) -> usize {
        self.groups.len()
    }

    /// When a group is due.
    #[cfg(test)]
    pub(super) fn of(&self, group: usize) -> u64 {
        self.groups.get(group).copied().unwrap_or(NEVER)
    }

    /// The earliest of all.
    #[inline]
    pub(super) fn earliest(&self) -> u64 {
        let top = self.above.last().and_then(|top| top.first());
        top.copied().unwrap_or(NEVER)
    }

    /// A group that is due at `now`, of which none is due earlier.
    #[inline]
    pub(super) fn first(&self, now: u64) -> Option<usize> {
        let due = self.earliest();
        if due > now || due == NEVER {
            return None;
        }
        self.find(due)
    }

    /// A group that is due at the earliest instant of all.
    fn find(&self, due: u64) -> Option<usize> {
        let mut place = 0usize;
        for level in self.above.iter().rev().chain([&self.groups]) {
            let start = place.saturating_mul(FAN);
            let matched = level.get(start..)?;
            let matched = matched.get(..FAN).unwrap_or(matched);
            let winner = matched.iter().position(|held| *held == due)?;
            place = start.saturating_add(winner);
        }
        Some(place)
    }

    /// Sets when a group is due.
    pub(super) fn set(&mut self, group: usize, due: u64) {
        let Some(held) = self.groups.get_mut(group) else {
            return;
        };
        if *held == due {
            return;
        }
        *held = due;
        let mut below = &self.groups;
        let mut place = group;
        for above in &mut self.above {
            place /= FAN;
            let start = place.saturating_mul(FAN);
            let matched = below.get(start..).unwrap_or_default();
            let value = earliest(matched.get(..FAN).unwrap_or(matched));
            match above.get_mut(place) {
                Some(held) if *held != value => *held = value,
                _ => return,
            }
            below = above;
        }
    }

    /// Makes a group due at `due` at the latest.
    #[inline]
    pub(super) fn lower(&mut self, group: usize, due: u64) {
        match self.groups.get_mut(group) {
            Some(held) if due < *held => *held = due,
            _ => return,
        }
        let mut place = group;
        for above in &mut self.above {
            place /= FAN;
            match above.get_mut(place) {
                Some(held) if due < *held => *held = due,
                _ => return,
            }
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
    fn what_is_reserved_is_room() {
        let mut dues = Dues::new();
        dues.reserve(100);
        assert!(dues.groups.capacity() >= 100);
    }

    #[test]
    fn agrees_with_a_plain_list() {
        agrees(Dues::new());
        for reserved in [1, 16, 17, 300, 20_000] {
            let mut dues = Dues::new();
            dues.reserve(reserved);
            agrees(dues);
        }
    }

    fn agrees(mut dues: Dues) {
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
