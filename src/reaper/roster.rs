//! Who is connected: slots of eight bytes, and the keys to them.

use alloc::vec::Vec;
use core::fmt;
use core::num::NonZeroU64;

use super::bits::Bits;

/// Slots are looked after in groups of this many: one word of a bit set.
pub(super) const GROUP: usize = 64;

const GENERATION_BITS: u32 = 22;
const LAST_GENERATION: u64 = (1 << GENERATION_BITS) - 1;
const HEARD: u64 = 1 << 63;

/// Which connection, in a [`Reaper`](super::Reaper). The key of a connection
/// that is gone is refused for ever, though its place is used again.
///
/// It is a key to the roster that gave it; in another it opens whoever sits
/// there. Eight bytes, in an `Option` too. As [bits](Self::into_bits) it is a token
/// for an event loop: what the loop still has to tell of a connection that is
/// gone reaches nobody else.
///
/// ```
/// use nabiz::{Config, Key, Reaper, Timestamp};
///
/// let now = Timestamp::EPOCH;
/// let mut reaper = Reaper::new(Config::server().build()?, 7, now)?;
/// let key = reaper.insert("first", now);
/// assert_eq!(Key::from_bits(key.into_bits()), Some(key));
///
/// reaper.remove(key);
/// let next = reaper.insert("second", now);
/// assert_eq!(next.index(), key.index());
/// assert!(next != key && !reaper.received(key, now));
/// # Ok::<(), nabiz::ConfigError>(())
/// ```
// Index above generation; no generation is zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(NonZeroU64);

impl Key {
    /// A key to a place that no roster has.
    #[cfg(feature = "std")]
    pub(crate) const NOBODY: Self = Self(NonZeroU64::MAX);

    const fn new(index: usize, generation: NonZeroU64) -> Self {
        let index = (index as u64) << GENERATION_BITS;
        // No memory holds so many that an index would lose bits.
        Self(match NonZeroU64::new(index | generation.get()) {
            Some(key) => key,
            None => generation,
        })
    }

    /// The place in the roster: small, and used again by others later.
    #[inline]
    #[must_use]
    pub fn index(self) -> usize {
        // What does not fit is a key to nothing.
        usize::try_from(self.0.get() >> GENERATION_BITS).unwrap_or(usize::MAX)
    }

    /// The key as a number.
    #[must_use]
    pub const fn into_bits(self) -> u64 {
        self.0.get()
    }

    /// The key that gave these bits. None where certainly no key did; other
    /// numbers make a key that may open nothing.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Option<Self> {
        match NonZeroU64::new(bits) {
            Some(key) if bits & LAST_GENERATION != 0 => Some(Self(key)),
            _ => None,
        }
    }

    #[inline]
    const fn generation(self) -> u64 {
        self.0.get() & LAST_GENERATION
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index(), self.generation())
    }
}

/// What the peer did last: the tick of its last evidence of life, whether any
/// byte came at all, and which of the place's connections it is.
///
/// A free slot has generation zero, which no key opens, and where the tick
/// would be the generation that comes next; none, and it is retired.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot(u64);

impl Slot {
    #[inline]
    const fn new(heard: u64, tick: u64, generation: u64) -> Self {
        Self(heard | tick << GENERATION_BITS | generation)
    }

    #[inline]
    pub(super) const fn is_heard(self) -> bool {
        self.0 & HEARD != 0
    }

    #[inline]
    pub(super) const fn tick(self) -> u64 {
        (self.0 & !HEARD) >> GENERATION_BITS
    }

    #[inline]
    const fn generation(self) -> u64 {
        self.0 & LAST_GENERATION
    }

    /// What the slot of any connection is that was heard of in a tick, but for
    /// its generation.
    pub(super) const fn heard(tick: u64) -> Self {
        Self::new(HEARD, tick, 0)
    }

    /// Inserted at a tick, and not a byte came.
    #[cfg(feature = "std")]
    pub(super) const fn mute(tick: u64) -> Self {
        Self::new(0, tick, 0)
    }

    const fn free(next: u64) -> Self {
        Self::new(0, next, 0)
    }

    /// The generation to use, of a free slot.
    const fn next(self) -> Option<NonZeroU64> {
        match self.generation() {
            0 => NonZeroU64::new(self.tick()),
            _ => None,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Roster<T> {
    slots: Vec<Slot>,
    values: Values<T>,
    /// The slots in use.
    live: Bits,
    /// The groups that have a slot to give, or are thought to, and the first.
    room: Bits,
    vacant: usize,
    len: usize,
}

impl<T> Roster<T> {
    pub(super) fn new() -> Self {
        Self {
            slots: Vec::new(),
            values: Values::new(),
            live: Bits::new(),
            room: Bits::new(),
            vacant: 0,
            len: 0,
        }
    }

    pub(super) fn reserve(&mut self, connections: usize) {
        let groups = connections.div_ceil(GROUP);
        let slots = groups.saturating_mul(GROUP);
        let more = slots.saturating_sub(self.slots.len());
        self.slots.reserve_exact(more);
        self.values.reserve(more);
        self.live.reserve(slots);
        self.room.reserve(groups);
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// How many slots there are, used or not.
    pub(super) fn places(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn capacity(&self) -> usize {
        self.slots.capacity()
    }

    /// Takes a slot; the lowest that is free, so that the roster stays dense.
    #[inline]
    pub(super) fn insert(&mut self, value: T, tick: u64) -> Key {
        let (index, generation) = match self.vacant_in(self.vacant) {
            Some(vacant) => vacant,
            None => self.find_vacant(),
        };
        if let Some(slot) = self.slots.get_mut(index) {
            *slot = Slot::new(0, tick, generation.get());
        }
        self.values.put(index, value);
        self.live.insert(index);
        self.len = self.len.saturating_add(1);
        Key::new(index, generation)
    }

    #[inline]
    fn vacant_in(&self, group: usize) -> Option<(usize, NonZeroU64)> {
        let mut free = !self.live.word(group);
        while free != 0 {
            let index = place(group, free);
            if let Some(generation) = self.slots.get(index)?.next() {
                return Some((index, generation));
            }
            free &= free.wrapping_sub(1); // retired
        }
        None
    }

    /// The group that gave slots so far has none left.
    #[cold]
    fn find_vacant(&mut self) -> (usize, NonZeroU64) {
        self.room.remove(self.vacant);
        while let Some(group) = self.room.next(self.vacant) {
            self.vacant = group;
            if let Some(vacant) = self.vacant_in(group) {
                return vacant;
            }
            self.room.remove(group);
        }
        self.vacant = self.places() / GROUP;
        self.grow()
    }

    #[cold]
    fn grow(&mut self) -> (usize, NonZeroU64) {
        let index = self.slots.len();
        let slots = index.saturating_add(GROUP);
        let first = NonZeroU64::MIN;
        self.slots.resize(slots, Slot::free(first.get()));
        self.values.resize(slots);
        self.live.grow(slots);
        self.room.grow(slots / GROUP);
        self.room.insert(index / GROUP);
        (index, first)
    }

    /// Gives the slot back; its keys are refused from here on.
    #[inline]
    pub(super) fn remove(&mut self, index: usize) -> Option<T> {
        let slot = self.slots.get_mut(index)?;
        if slot.generation() == 0 {
            return None;
        }
        // After the last generation comes none: the slot is retired.
        let next = slot.generation().wrapping_add(1) & LAST_GENERATION;
        *slot = Slot::free(next);
        self.live.remove(index);
        self.len = self.len.saturating_sub(1);
        if next != 0 {
            self.room.insert(index / GROUP);
            self.vacant = self.vacant.min(index / GROUP);
        }
        self.values.take(index)
    }

    /// Evidence of life, at a tick in the form of a slot.
    #[inline]
    pub(super) fn touch(&mut self, key: Key, heard: Slot) -> bool {
        match self.slots.get_mut(key.index()) {
            Some(slot) if (slot.0 ^ key.0.get()) & LAST_GENERATION == 0 => {
                *slot = Slot(heard.0 | key.generation());
                true
            }
            _ => false,
        }
    }

    /// Bytes that prove nothing.
    #[inline]
    pub(super) fn hear(&mut self, key: Key) -> bool {
        match self.slots.get_mut(key.index()) {
            Some(slot) if slot.generation() == key.generation() => {
                slot.0 |= HEARD;
                true
            }
            _ => false,
        }
    }

    /// The slot that a key opens.
    #[inline]
    pub(super) fn find(&self, key: Key) -> Option<usize> {
        let index = key.index();
        let slot = self.slots.get(index)?;
        (slot.generation() == key.generation()).then_some(index)
    }

    /// A slot, if it is in use.
    #[inline]
    pub(super) fn live_slot(&self, index: usize) -> Option<Slot> {
        self.slot(index).filter(|slot| slot.generation() != 0)
    }

    #[inline]
    pub(super) fn slot(&self, index: usize) -> Option<Slot> {
        self.slots.get(index).copied()
    }

    pub(super) fn key(&self, index: usize) -> Option<Key> {
        let generation = NonZeroU64::new(self.slots.get(index)?.generation())?;
        Some(Key::new(index, generation))
    }

    /// The connections of a group, a bit each.
    #[inline]
    pub(super) fn live_in(&self, group: usize) -> u64 {
        self.live.word(group)
    }

    /// The slots of a group, used or not.
    #[inline]
    pub(super) fn slots_in(&self, group: usize) -> &[Slot] {
        let start = group.saturating_mul(GROUP);
        let slots = self.slots.get(start..).unwrap_or_default();
        slots.get(..GROUP).unwrap_or(slots)
    }

    /// The first connection not before a place.
    #[inline]
    pub(super) fn next(&self, from: usize) -> Option<usize> {
        self.live.next(from)
    }

    /// The first connection from a place on, or else from the beginning.
    #[inline]
    pub(super) fn next_around(&self, from: usize) -> Option<usize> {
        self.next(from).or_else(|| self.next(0))
    }

    pub(super) fn value(&self, index: usize) -> Option<&T> {
        self.values.get(index)
    }

    pub(super) fn value_mut(&mut self, index: usize) -> Option<&mut T> {
        self.values.get_mut(index)
    }

    /// Counts ticks from another one on.
    pub(super) fn rebase(&mut self, rebased: impl Fn(u64) -> u64) {
        for slot in &mut self.slots {
            if slot.generation() != 0 {
                let tick = rebased(slot.tick());
                *slot = Slot::new(slot.0 & HEARD, tick, slot.generation());
            }
        }
    }
}

/// The number of the lowest slot of some of a group.
#[inline]
pub(super) const fn place(group: usize, some: u64) -> usize {
    group
        .saturating_mul(GROUP)
        .saturating_add(some.trailing_zeros() as usize)
}

/// What belongs to each slot in use.
///
/// Values without a size cannot be told apart, and so lie in one bag, whose
/// vector needs no memory; an `Option` of each would need a byte.
#[derive(Clone, Debug)]
struct Values<T> {
    places: Vec<Option<T>>,
    bag: Vec<T>,
}

impl<T> Values<T> {
    const SIZELESS: bool = size_of::<T>() == 0;

    const fn new() -> Self {
        Self {
            places: Vec::new(),
            bag: Vec::new(),
        }
    }

    fn reserve(&mut self, more: usize) {
        if !Self::SIZELESS {
            self.places.reserve_exact(more);
        }
    }

    fn resize(&mut self, places: usize) {
        if !Self::SIZELESS {
            self.places.resize_with(places, || None);
        }
    }

    #[inline]
    fn put(&mut self, index: usize, value: T) {
        if Self::SIZELESS {
            self.bag.push(value);
        } else if let Some(place) = self.places.get_mut(index) {
            *place = Some(value);
        }
    }

    #[inline]
    fn take(&mut self, index: usize) -> Option<T> {
        if Self::SIZELESS {
            self.bag.pop()
        } else {
            self.places.get_mut(index)?.take()
        }
    }

    #[inline]
    fn get(&self, index: usize) -> Option<&T> {
        if Self::SIZELESS {
            self.bag.last()
        } else {
            self.places.get(index)?.as_ref()
        }
    }

    #[inline]
    fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        if Self::SIZELESS {
            self.bag.last_mut()
        } else {
            self.places.get_mut(index)?.as_mut()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_eight_bytes_in_an_option_too() {
        assert_eq!(size_of::<Option<Key>>(), 8);
        assert_eq!(size_of::<Slot>(), 8);
    }

    #[test]
    fn what_is_reserved_is_room_for_values_too() {
        let mut roster = Roster::<u32>::new();
        roster.reserve(1000);
        assert!(roster.values.places.capacity() >= 1000);
    }

    #[test]
    fn bits_of_no_generation_are_no_key() {
        let (index, generation) = (3 << GENERATION_BITS, 1);
        assert_eq!(Key::from_bits(index), None);
        let key = Key::from_bits(index | generation).unwrap();
        assert_eq!((key.index(), key.generation()), (3, 1));
    }

    #[test]
    fn a_slot_whose_generations_are_used_up_is_retired() {
        let mut roster = Roster::new();
        for _ in 0..LAST_GENERATION {
            let key = roster.insert((), 1);
            assert_eq!(key.index(), 0);
            assert_eq!(roster.remove(0), Some(()));
            assert_eq!(roster.find(key), None);
        }
        let next = roster.insert((), 1);
        assert_eq!((next.index(), roster.len()), (1, 1));
        // The others of its group are used first, then new ones.
        for index in 2..=GROUP {
            assert_eq!(roster.insert((), 1).index(), index);
        }
        assert!(roster.live_slot(0).is_none());
        for bits in 0..3 {
            if let Some(key) = Key::from_bits(bits) {
                assert!(!roster.touch(key, Slot::heard(2)), "{key:?}");
            }
        }
    }

    #[test]
    fn values_without_a_size_are_counted() {
        let mut roster = Roster::new();
        let keys: Vec<Key> = (0..3).map(|_| roster.insert((), 1)).collect();
        assert_eq!(roster.value(keys[1].index()), Some(&()));
        for key in &keys {
            assert_eq!(roster.remove(key.index()), Some(()));
        }
        assert_eq!(roster.remove(keys[0].index()), None);
        assert_eq!(roster.len(), 0);
    }

    #[test]
    fn a_rebased_slot_keeps_all_but_its_tick() {
        let mut roster = Roster::new();
        let heard = roster.insert('a', 5);
        let mute = roster.insert('b', 50);
        roster.touch(heard, Slot::heard(60));
        roster.rebase(|tick| tick.saturating_sub(55));
        let [heard, mute] =
            [heard, mute].map(|key| roster.slot(roster.find(key).unwrap()).unwrap());
        assert_eq!((heard.tick(), heard.is_heard()), (5, true));
        assert_eq!((mute.tick(), mute.is_heard()), (0, false));
    }
}
