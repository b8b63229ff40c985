//! Where the driver and the leases of a roster meet: a seat for each
//! connection, in rows that stay where they are.

// A seat's place is one of its row, and no memory holds so many rows that their
// number would lose bits.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing
)]

use core::array;
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::Waker;
use core::time::Duration;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Duty, Shared};
use crate::adapters::clock::Clock;
use crate::reaper::{Key, News};
use crate::session::CloseReason;
use crate::time::Timestamp;

/// Where a connection sits: in which row, and where there.
#[derive(Clone, Copy)]
pub(super) struct Seat(u32);

/// How many a row has.
pub(super) const SEATS: usize = 256;

impl Seat {
    /// The seats of a row in the order in which they are to be taken, the last
    /// first: neighbours in time are none in memory, where two threads would
    /// write to one line of the cache.
    pub(super) fn all_of(row: usize) -> impl Iterator<Item = Self> {
        const LINES: usize = SEATS / 8;
        (0..SEATS).rev().map(move |turn| {
            let place = turn % LINES * 8 + turn / LINES;
            Self((row * SEATS + place) as u32)
        })
    }

    pub(super) fn row(self) -> usize {
        self.0 as usize / SEATS
    }

    fn place(self) -> usize {
        self.0 as usize % SEATS
    }
}

/// What the driver and the leases of some connections tell each other. It is
/// gone with the last of the leases.
// In this order, so that what a packet needs lies together.
#[repr(C)]
pub(super) struct Row {
    pub(super) clock: Clock,
    pub(super) shared: Arc<Shared>,
    received: [LastTime; SEATS],
    sent: [LastTime; SEATS],
    mail: [Mutex<Mail>; SEATS],
}

impl Row {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            clock: shared.clock,
            shared,
            received: array::from_fn(|_| LastTime::default()),
            sent: array::from_fn(|_| LastTime::default()),
            mail: array::from_fn(|_| Mutex::new(Mail::new(Key::NOBODY, Timestamp::EPOCH))),
        }
    }

    #[inline]
    pub(super) fn received(&self, seat: Seat) -> &LastTime {
        &self.received[seat.place()]
    }

    #[inline]
    pub(super) fn sent(&self, seat: Seat) -> &LastTime {
        &self.sent[seat.place()]
    }

    pub(super) fn news(&self, seat: Seat) -> News {
        News {
            received: self.received(seat).get(),
            sent: self.sent(seat).get(),
        }
    }

    pub(super) fn mail(&self, seat: Seat) -> MutexGuard<'_, Mail> {
        let mail = self.mail[seat.place()].lock();
        mail.unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of a duty; gives whom to wake.
    pub(super) fn post(&self, seat: Seat, post: impl FnOnce(&mut Mail)) -> Option<Waker> {
        let mut mail = self.mail(seat);
        post(&mut mail);
        mail.waker.take()
    }
}

pub(super) struct Mail {
    pub(super) key: Key,
    pub(super) opened: Timestamp,
    /// The last evidence of life, where heartbeats alone are that; or when it
    /// was opened.
    pub(super) heard: Timestamp,
    pub(super) silence: Silence,
    /// The number of the connection, for what is drawn for it.
    pub(super) link: u32,
    /// A heartbeat is asked for.
    pub(super) beat: bool,
    /// Since when the roster waits for one to be sent.
    pub(super) asked: Option<Timestamp>,
    pub(super) close: Option<Verdict>,
    /// A heartbeat came after the verdict.
    pub(super) beaten: bool,
    pub(super) waker: Option<Waker>,
}

impl Mail {
    pub(super) const fn new(key: Key, opened: Timestamp) -> Self {
        Self {
            key,
            opened,
            heard: opened,
            silence: Silence::Usual,
            link: 0,
            beat: false,
            asked: None,
            close: None,
            beaten: false,
            waker: None,
        }
    }
}

/// What silence of this connection is borne.
#[derive(Clone, Copy)]
pub(super) enum Silence {
    Usual,
    Any,
    For(Duration),
}

#[derive(Clone, Copy)]
pub(super) struct Verdict {
    pub(super) reason: CloseReason,
    pub(super) retry_after: Option<Duration>,
    /// What was known when it was taken.
    pub(super) news: News,
    /// It was put off once, for the input to be read.
    pub(super) is_put_off: bool,
    /// The lease's holder knows, and acts on it.
    pub(super) is_told: bool,
}

impl Verdict {
    /// Nobody watches the connection any more.
    pub(super) fn abandoned() -> Self {
        Self {
            reason: CloseReason::Shutdown,
            retry_after: None,
            news: News::default(),
            is_put_off: false,
            is_told: false,
        }
    }

    /// Whether what is there to read may withdraw it.
    pub(super) fn may_be_put_off(&self) -> bool {
        self.reason.is_liveness() && !self.is_told && !self.is_put_off
    }

    pub(super) fn duty(&self) -> Duty {
        Duty::Close {
            reason: self.reason,
            retry_after: self.retry_after,
        }
    }
}

/// When something last happened, for one thread to set and another to read.
// Nanoseconds and one more, so that zero means never.
#[derive(Default)]
pub(super) struct LastTime(AtomicU64);

impl LastTime {
    #[inline]
    pub(super) fn set(&self, now: Timestamp) {
        // No timestamp is the last that the bits could tell.
        let nanos = now.as_nanos().wrapping_add(1);
        self.0.store(nanos, Ordering::Relaxed);
    }

    pub(super) fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> Option<Timestamp> {
        let nanos = self.0.load(Ordering::Relaxed).checked_sub(1)?;
        Timestamp::from_nanos(nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_verdict_on_life_that_nobody_knows_is_put_off_once() {
        let verdict = |reason, is_told, is_put_off| Verdict {
            reason,
            is_told,
            is_put_off,
            ..Verdict::abandoned()
        };
        let silent = CloseReason::PeerSilent;
        assert!(verdict(silent, false, false).may_be_put_off());
        assert!(!verdict(silent, true, false).may_be_put_off());
        assert!(!verdict(silent, false, true).may_be_put_off());
        assert!(!verdict(silent, true, true).may_be_put_off());
        assert!(!verdict(CloseReason::TooOld, false, false).may_be_put_off());
    }
}
