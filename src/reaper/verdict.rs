//! What is due for one connection, and from when on it may be.
//!
//! What is certainly not due is told by comparing ticks; what may be is put
//! into the form of a session's link, whose rules then decide.

use super::Reaper;
use super::beats::{Flush, put_off_wait};
use super::dues::NEVER;
use super::roster::Slot;
use crate::config::Config;
use crate::session::{CloseReason, Link, beat_gap};
use crate::time::{Span, Timestamp};

/// What is to be done about one connection.
pub(super) enum Judgement {
    Close(CloseReason),
    /// A heartbeat; and a verdict not before this instant.
    Beat(u64),
    /// Nothing before this instant.
    Wait(u64),
}

/// The limits of the configuration in nanoseconds, where none is never.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nanos {
    pub(super) silence: u64,
    pub(super) hello: u64,
    pub(super) write: u64,
    pub(super) interval: u64,
}

impl Nanos {
    pub(super) fn of(config: &Config) -> Self {
        let nanos = |limit: Option<Span>| limit.map_or(NEVER, Span::nanos);
        Self {
            silence: nanos(config.silence_timeout),
            hello: nanos(config.hello_timeout),
            write: nanos(config.write_timeout),
            interval: nanos(config.interval),
        }
    }
}

impl<T> Reaper<T> {
    /// What a session in this connection's state would do.
    pub(super) fn judge(&self, index: usize) -> Judgement {
        let Some(slot) = self.roster.live_slot(index) else {
            return Judgement::Wait(NEVER); // gone meanwhile
        };
        if let Some(None) = self.buckets.get(index) {
            return Judgement::Close(CloseReason::Flooded);
        }
        let flush = self.flushes.get(index).copied();
        let link = self.unpack(slot, flush);
        let retirement = self.retirements.get(index).copied().flatten();
        let verdict = match self.silences.get(index) {
            None => link.verdict(&self.config, retirement),
            Some(silence) => {
                let mut config = self.config;
                config.silence_timeout = *silence;
                link.verdict(&config, retirement)
            }
        };
        let verdict_at = match verdict {
            Some((at, reason)) if at <= self.now => return Judgement::Close(reason),
            Some((at, _)) => at.as_nanos(),
            None => NEVER,
        };
        let beat_at = match flush {
            Some(flush) if !flush.is_in_flight() => self.beat_bound(index, flush),
            _ => NEVER,
        };
        if beat_at <= self.now.as_nanos() {
            return Judgement::Beat(verdict_at);
        }
        Judgement::Wait(verdict_at.min(beat_at))
    }

    /// The connection as a session has it.
    fn unpack(&self, slot: Slot, flush: Option<Flush>) -> Link {
        let instant = |nanos| Timestamp::from_nanos(nanos).unwrap_or(Timestamp::MAX);
        let standing = self.amnesties.standing(slot.tick());
        let mut link = Link::new(Span::ZERO, instant(self.ticks.end(slot.tick())));
        link.heard = slot.is_heard();
        link.suspect = standing.is_suspect;
        link.stalled = standing.since;
        if let Some(flush) = flush.filter(|flush| flush.is_in_flight()) {
            link.flushed = instant(self.ticks.end(flush.tick(self.tick())));
            // A stall gave what was in flight its whole time again.
            link.asked = Some(link.flushed.max(standing.since.unwrap_or(link.flushed)));
        }
        link
    }

    /// Before this instant, to a tick, the connection is not due for anything.
    /// Amnesties may move it later yet.
    #[inline]
    pub(super) fn bound(&self, index: usize, slot: Slot) -> u64 {
        let evidence = self.ticks.end(slot.tick());
        let silence = match self.silences.get(index) {
            None => self.nanos.silence,
            Some(own) => own.map_or(NEVER, Span::nanos),
        };
        let mut due = evidence.saturating_add(silence);
        if !slot.is_heard() {
            due = due.min(evidence.saturating_add(self.nanos.hello));
        }
        if let Some(flush) = self.flushes.get(index) {
            due = due.min(if flush.is_in_flight() {
                let since = self.ticks.end(flush.tick(self.tick()));
                since.saturating_add(self.nanos.write)
            } else {
                self.beat_bound(index, *flush)
            });
        }
        if let Some(Some(retirement)) = self.retirements.get(index) {
            due = due.min(retirement.as_nanos());
        }
        match self.buckets.get(index) {
            Some(None) => 0,
            _ => due,
        }
    }

    /// When the next beat is due at the latest.
    #[inline]
    pub(super) fn beat_bound(&self, index: usize, flush: Flush) -> u64 {
        let Some(interval) = self.config.interval else {
            return NEVER;
        };
        let flushed = flush.tick(self.tick());
        let wait = if flush.is_put_off() {
            put_off_wait(interval, index)
        } else if self.config.spread_first_beat {
            interval
        } else {
            #[allow(clippy::cast_possible_truncation)] // it may wrap
            beat_gap(&self.config, self.seed, index as u32, flush.number(), false)
        };
        // Not twice in one tick, however short the interval.
        let due = self.ticks.start(flushed).saturating_add(wait.nanos());
        due.max(self.ticks.end(flushed))
    }
}
