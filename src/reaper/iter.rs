//! A walk over all connections.

use core::fmt;

use super::Reaper;
use super::roster::{Key, Roster};

/// All connections of a [`Reaper`], from [`Reaper::iter`].
///
/// ```
/// use nabiz::{Config, Reaper, Timestamp};
///
/// let mut reaper = Reaper::new(Config::server().build()?, 42, Timestamp::EPOCH)?;
/// reaper.insert("alice", Timestamp::EPOCH);
/// for (key, name) in &reaper {
///     println!("{key:?} is {name}");
/// }
/// # Ok::<(), nabiz::ConfigError>(())
/// ```
pub struct Iter<'a, T> {
    roster: &'a Roster<T>,
    place: usize,
    left: usize,
}

impl<'a, T> Iter<'a, T> {
    pub(super) fn new(roster: &'a Roster<T>) -> Self {
        Self {
            roster,
            place: 0,
            left: roster.len(),
        }
    }
}

impl<'a, T> IntoIterator for &'a Reaper<T> {
    type Item = (Key, &'a T);
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<T> ExactSizeIterator for Iter<'_, T> {}

impl<T> core::iter::FusedIterator for Iter<'_, T> {}

impl<'a, T> Iterator for Iter<'a, T> {
    type Item = (Key, &'a T);

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }

    fn next(&mut self) -> Option<Self::Item> {
        let index = self.roster.next(self.place)?;
        self.place = index.saturating_add(1);
        self.left = self.left.saturating_sub(1);
        Some((self.roster.key(index)?, self.roster.value(index)?))
    }
}

impl<T> Clone for Iter<'_, T> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

impl<T> fmt::Debug for Iter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iter")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}
