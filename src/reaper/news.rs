//! What the owner of a connection knows of it, asked for when it matters:
//! for rosters that are shared, and not told of each packet.

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
    pub(crate) opened: Timestamp,
    /// The last evidence of life, or when it was opened.
    pub(crate) evidence: Timestamp,
    /// Any byte came.
    pub(crate) is_heard: bool,
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

    /// [`insert`](Self::insert), of a connection that has been there before:
    /// neither its age nor its silence starts anew.
    #[cfg(feature = "std")]
    pub(crate) fn insert_again(&mut self, value: T, past: Past, now: Timestamp) -> super::Key {
        let key = self.insert(value, now);
        let index = key.index();
        let tick = self.ticks.at(past.evidence.min(self.now)).min(self.tick());
        let slot = match past.is_heard {
            true => Slot::heard(tick),
            false => Slot::mute(tick),
        };
        self.roster.touch(key, slot);
        let retirement = super::retire(&self.config, self.seed, self.link(), past.opened);
        if let Some(place) = self.retirements.get_mut(index) {
            *place = retirement;
        }
        self.fall_due(index);
        key
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
