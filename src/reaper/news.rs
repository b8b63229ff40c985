//! What the owner of a connection knows of it, asked for when it matters:
//! for rosters that are shared, and not told of each packet.

#[cfg(feature = "std")]
use super::beats::Flush;
#[cfg(feature = "std")]
use super::roster::Key;
use super::roster::Slot;
use super::{Reap, Reaper, Step};
use crate::config::Evidence;
use crate::time::Timestamp;

/// When something last happened to a connection, where its owner notes that by
/// itself. It is never older than the roster knows already.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct News {
    /// Any bytes came.
    pub(crate) received: Option<Timestamp>,
    /// Bytes of ours were flushed.
    pub(crate) sent: Option<Timestamp>,
}

/// What a connection brings along that was in the roster before.
#[cfg(feature = "std")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Past {
    /// The number it was inserted with.
    pub(crate) link: u32,
    pub(crate) opened: Timestamp,
    /// The last evidence of life, or when it was opened.
    pub(crate) evidence: Timestamp,
    /// Any byte came.
    pub(crate) is_heard: bool,
    /// The last flush, or when a heartbeat was asked for, or it was opened.
    pub(crate) sent: Timestamp,
    /// A heartbeat was asked for, and not flushed yet.
    pub(crate) is_in_flight: bool,
}

impl<T> Reaper<T> {
    /// [`poll`](Self::poll), with the news of whoever seems to be due.
    #[cfg(feature = "std")]
    pub(crate) fn poll_with(
        &mut self,
        now: Timestamp,
        news: impl Fn(&T) -> News,
    ) -> Option<Reap<'_, T>> {
        self.advance(now);
        self.poll_now(&news)
    }

    /// [`insert`](Self::insert), of a connection whose close was not acted on:
    /// it is as if it had stayed, but that its flood bucket is full.
    #[cfg(feature = "std")]
    pub(crate) fn insert_again(&mut self, value: T, past: Past, now: Timestamp) -> Key {
        let key = self.insert(value, now);
        let index = key.index();
        self.counters.inserted = self.counters.inserted.wrapping_sub(1);
        self.counters.closed = self.counters.closed.wrapping_sub(1);
        let tick = self
            .amnesties
            .passed(past.evidence, self.tick_of(past.evidence));
        let slot = match past.is_heard {
            true => Slot::heard(tick.min(self.tick())),
            false => Slot::mute(tick.min(self.tick())),
        };
        self.roster.touch(key, slot);
        let sent = self.tick_of(past.sent);
        if let Some(flush) = self.flushes.get_mut(index) {
            *flush = match past.is_in_flight {
                true => Flush::asked(sent),
                false => Flush::new(sent),
            };
        }
        let retirement = super::retire(&self.config, self.seed, past.link, past.opened);
        if let Some(place) = self.retirements.get_mut(index) {
            *place = retirement;
        }
        self.fall_due(index);
        key
    }

    /// The number of the connection inserted last, for what is drawn for it.
    #[cfg(feature = "std")]
    pub(crate) const fn last_link(&self) -> u32 {
        self.link()
    }

    /// The tick of an instant that is past, be it long ago.
    #[cfg(feature = "std")]
    pub(super) fn tick_of(&self, at: Timestamp) -> u64 {
        if at.as_nanos() < self.ticks.start(1) {
            return 0;
        }
        self.ticks.at(at.min(self.now)).min(self.tick())
    }

    pub(super) fn poll_now(&mut self, news: &impl Fn(&T) -> News) -> Option<Reap<'_, T>> {
        if self.busy.is_none() && self.now.as_nanos() < self.next {
            return None;
        }
        match self.work(news) {
            Step::Heartbeat(index) => Some(Reap::Heartbeat {
                key: self.roster.key(index)?,
                value: self.roster.value_mut(index)?,
            }),
            Step::Close {
                key,
                value,
                reason,
                retry_after,
            } => Some(Reap::Close {
                key,
                value,
                reason,
                retry_after: retry_after.map(crate::time::Span::duration),
            }),
            Step::Yield => Some(Reap::Yield),
            Step::Rest => None,
        }
    }

    /// Takes in the news of a connection. All of it moves what is due later.
    pub(super) fn learn(&mut self, index: usize, news: &impl Fn(&T) -> News) {
        let Some(news) = self.roster.value(index).map(news) else {
            return;
        };
        if let Some(received) = news.received {
            self.learn_received(index, received);
        }
        if let Some(sent) = news.sent {
            self.learn_sent(index, sent);
        }
    }

    fn learn_received(&mut self, index: usize, received: Timestamp) {
        let (Some(slot), Some(key)) = (self.roster.live_slot(index), self.roster.key(index)) else {
            return;
        };
        if self.config.evidence == Evidence::Heartbeats {
            self.roster.hear(key);
        } else if received.as_nanos() >= self.ticks.start(slot.tick()) {
            let tick = self.ticks.at(received.min(self.now));
            let tick = self.amnesties.passed(received, tick.max(slot.tick()));
            self.roster.touch(key, Slot::heard(tick.min(self.tick())));
        }
    }

    fn learn_sent(&mut self, index: usize, sent: Timestamp) {
        let (now, last) = (self.now, self.tick());
        let Some(flush) = self.flushes.get_mut(index) else {
            return;
        };
        let known = flush.tick(last);
        if (self.config.only_when_idle || flush.is_in_flight())
            && sent.as_nanos() >= self.ticks.start(known)
        {
            let tick = self.ticks.at(sent.min(now)).min(last);
            if tick > known {
                *flush = flush.flushed(tick);
            }
        }
    }
}
