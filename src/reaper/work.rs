//! What a poll does: who is due, in which order, and when to pause.

use super::amnesty::{Amnesties, Amnesty};
use super::beats::{Flush, is_recent, put_off_wait};
use super::dues::NEVER;
use super::roster::{GROUP, Key, Slot, place};
use super::ticks::Ticks;
use super::{Reaper, Visit};
use crate::config::Config;
use crate::session::{CloseReason, Link, beat_gap, probe_wait};
use crate::time::{Span, Timestamp};

/// How many connections are looked at between two pauses.
const BUDGET: usize = 1024;

/// What one poll came to.
pub(super) enum Step<T> {
    Heartbeat(usize),
    Close {
        key: Key,
        value: T,
        reason: CloseReason,
        retry_after: Option<Span>,
    },
    Yield,
    Rest,
}

/// What is to be done about one connection.
enum Judgement {
    Close(CloseReason),
    Beat,
    /// Nothing before this instant.
    Wait(u64),
}

impl<T> Reaper<T> {
    /// The next duty, or what else a poll comes to.
    pub(super) fn work(&mut self, tick: u64) -> Step<T> {
        let step = self.step(tick);
        self.is_busy = !matches!(step, Step::Rest);
        if matches!(step, Step::Yield | Step::Rest) {
            self.visited = 0;
        }
        if !self.is_busy {
            self.rested = self.now;
            self.schedule();
        }
        self.expect();
        step
    }

    fn step(&mut self, tick: u64) -> Step<T> {
        let now = self.now.as_nanos();
        loop {
            if self.visited >= BUDGET {
                return Step::Yield;
            }
            if self.visit.todo != 0 {
                let index = place(self.visit.group, self.visit.todo);
                self.visit.todo &= self.visit.todo.wrapping_sub(1);
                if !self.roster.is_live(index) {
                    continue;
                }
                match self.judge(index, tick) {
                    Judgement::Close(reason) => {
                        if let Some(step) = self.close(index, reason, None) {
                            return step;
                        }
                    }
                    Judgement::Beat => return self.beat(index, tick),
                    Judgement::Wait(due) => self.dues.lower(index / GROUP, due),
                }
            } else if let Some(group) = self.dues.first(now) {
                self.visit(group, tick, now);
            } else if let Some(step) = self.drain_one() {
                return step;
            } else if let Some(index) = self.next_probe() {
                return self.beat(index, tick);
            } else if let Some(index) = self.next_beat(tick) {
                return self.beat(index, tick);
            } else if self.visited < BUDGET {
                return Step::Rest;
            }
        }
    }

    /// Finds who of a group may be due, and when the others are.
    fn visit(&mut self, group: usize, tick: u64, now: u64) {
        let (mut todo, mut rest) = (0, NEVER);
        let mut live = self.roster.live_in(group);
        let count = live.count_ones().max(1) as usize;
        self.visited = self.visited.saturating_add(count);
        let bounds = self.bounds(tick);
        let slots = self.roster.slots_in(group);
        while live != 0 {
            let bit = live.trailing_zeros() as usize;
            live &= live.wrapping_sub(1);
            if let Some(slot) = slots.get(bit) {
                let due = bounds.of(place(group, 1 << bit), *slot);
                if due <= now {
                    todo |= 1 << bit;
                } else {
                    rest = rest.min(due);
                }
            }
        }
        self.dues.set(group, rest);
        self.visit = Visit { group, todo };
    }

    /// What a session in this connection's state would do.
    fn judge(&self, index: usize, tick: u64) -> Judgement {
        let Some(slot) = self.roster.slot(index) else {
            return Judgement::Wait(NEVER);
        };
        if let Some(None) = self.buckets.get(index) {
            return Judgement::Close(CloseReason::Flooded);
        }
        let flush = self.flushes.get(index).copied();
        let link = self.unpack(slot, flush, tick);
        let mut own = self.config;
        let config = match self.silences.get(index) {
            Some(silence) => {
                own.silence_timeout = *silence;
                &own
            }
            None => &self.config,
        };
        let retirement = self.retirements.get(index).copied().flatten();
        let verdict = link.verdict(config, retirement);
        let verdict_at = match verdict {
            Some((at, reason)) if at <= self.now => return Judgement::Close(reason),
            Some((at, _)) => at.as_nanos(),
            None => NEVER,
        };
        let beat_at = match flush {
            Some(flush) if !flush.is_in_flight() => self.bounds(tick).beat(index, flush),
            _ => NEVER,
        };
        if beat_at <= self.now.as_nanos() {
            return Judgement::Beat;
        }
        Judgement::Wait(verdict_at.min(beat_at))
    }

    /// The connection as a session has it.
    fn unpack(&self, slot: Slot, flush: Option<Flush>, tick: u64) -> Link {
        let instant = |nanos| Timestamp::from_nanos(nanos).unwrap_or(Timestamp::MAX);
        let evidence = instant(self.ticks.end(slot.tick()));
        let standing = self.amnesties.standing(slot.tick());
        let mut link = Link::new(Span::ZERO, evidence);
        link.heard = slot.is_heard();
        link.suspect = standing.is_suspect;
        link.stalled = standing.since;
        if let Some(flush) = flush {
            let flushed = instant(self.ticks.end(flush.tick(tick)));
            link.flushed = flushed;
            // A stall gave what was in flight its whole time again.
            let since = standing.since.unwrap_or(flushed).max(flushed);
            link.asked = flush.is_in_flight().then_some(since);
        }
        link
    }

    fn close(
        &mut self,
        index: usize,
        reason: CloseReason,
        retry_after: Option<Span>,
    ) -> Option<Step<T>> {
        let key = self.roster.key(index)?;
        let value = self.roster.remove(index)?;
        self.counters.closed = self.counters.closed.wrapping_add(1);
        Some(Step::Close {
            key,
            value,
            reason,
            retry_after,
        })
    }

    fn beat(&mut self, index: usize, tick: u64) -> Step<T> {
        if let Some(flush) = self.flushes.get_mut(index) {
            *flush = Flush::asked(tick);
        }
        if let Some(limit) = self.config.write_timeout {
            let due = self.ticks.end(tick).saturating_add(limit.nanos());
            self.dues.lower(index / GROUP, due);
        }
        self.counters.heartbeats = self.counters.heartbeats.wrapping_add(1);
        Step::Heartbeat(index)
    }

    /// Closes the next whose turn in the drain it is.
    fn drain_one(&mut self) -> Option<Step<T>> {
        let mut drain = self.drain?;
        if self.roster.len() == 0 || drain.next > self.ahead() {
            return None;
        }
        let index = self.roster.next_around(drain.cursor)?;
        #[allow(clippy::cast_possible_truncation)] // any number will do
        let retry_after = drain.retry_after(self.seed, index as u32, self.now);
        drain.cursor = index.saturating_add(1);
        self.visited = self.visited.saturating_add(1);
        let step = self.close(index, CloseReason::Draining, Some(retry_after));
        drain.pace(drain.next, self.roster.len());
        self.drain = Some(drain);
        step
    }

    /// The next that is suspect and to be asked for a probe.
    fn next_probe(&mut self) -> Option<usize> {
        let mut older = self.amnesties.older;
        let mut younger = self.amnesties.younger;
        let found = self
            .next_probe_of(&mut older)
            .or_else(|| self.next_probe_of(&mut younger));
        self.amnesties.older = older;
        self.amnesties.younger = younger;
        found
    }

    fn next_probe_of(&mut self, amnesty: &mut Option<Amnesty>) -> Option<usize> {
        let amnesty = amnesty.as_mut()?;
        while self.probe_due(amnesty)? <= self.now {
            let Some(index) = self.roster.next(amnesty.cursor) else {
                amnesty.probes = amnesty.probes.saturating_add(1);
                amnesty.cursor = 0;
                continue;
            };
            if self.visited >= BUDGET {
                return None;
            }
            self.visited = self.visited.saturating_add(1);
            amnesty.cursor = index.saturating_add(1);
            let standing = self.amnesties.standing(self.roster.slot(index)?.tick());
            let is_ours = standing.is_suspect && standing.since == Some(amnesty.at);
            let flush = self.flushes.get(index)?;
            if is_ours && !flush.is_in_flight() {
                return Some(index);
            }
        }
        None
    }

    /// When the next round of probes is due.
    fn probe_due(&self, amnesty: &Amnesty) -> Option<Timestamp> {
        if self.config.interval.is_none() || amnesty.probes >= self.config.probes {
            return None;
        }
        amnesty.at.after(probe_wait(&self.config, amnesty.probes))
    }

    /// The next that the round comes by, and that was sent nothing of late.
    fn next_beat(&mut self, tick: u64) -> Option<usize> {
        let mut round = self.round?;
        let interval = self.config.interval?;
        let (now, ahead) = (self.now.as_nanos(), self.ahead().as_nanos());
        let places = self.roster.places();
        round.catch_up(now);
        let mut found = None;
        while found.is_none() && self.visited < BUDGET {
            let Some(index) = self.roster.next_around(round.next) else {
                break;
            };
            if round.reaches(index, places) > ahead {
                break;
            }
            round.go_to(index, places);
            round.pass(places);
            self.visited = self.visited.saturating_add(1);
            let Some(flush) = self.flushes.get_mut(index) else {
                break;
            };
            if flush.is_in_flight() || flush.is_put_off() {
                continue;
            }
            let since = self.ticks.start(flush.tick(tick));
            let wait = Span::from_nanos(now.saturating_sub(since));
            if !is_recent(wait, interval) {
                found = Some(index);
                continue;
            }
            *flush = flush.put_off();
            let due = since.saturating_add(put_off_wait(interval, index).nanos());
            self.dues.lower(index / GROUP, due);
        }
        self.round = Some(round);
        found
    }

    /// Up to when what is spread may be done early, so that it does not take a
    /// wake each.
    fn ahead(&self) -> Timestamp {
        self.now.after(self.resolution).unwrap_or(Timestamp::MAX)
    }

    /// Sets when there is work again.
    pub(super) fn schedule(&mut self) {
        let mut next = self.dues.earliest();
        if self.roster.len() > 0 {
            if let Some(round) = self.round {
                if let Some(index) = self.roster.next_around(round.next) {
                    next = next.min(round.reaches(index, self.roster.places()));
                }
            }
            if let Some(drain) = self.drain {
                next = next.min(drain.next.as_nanos());
            }
            let Amnesties { older, younger } = &self.amnesties;
            for amnesty in [older, younger].into_iter().flatten() {
                if let Some(due) = self.probe_due(amnesty) {
                    next = next.min(due.as_nanos());
                }
            }
        }
        self.next = next;
        self.expect();
    }

    /// What tells from when on a connection may be due.
    pub(super) fn bounds(&self, tick: u64) -> Bounds<'_> {
        let nanos = |limit: Option<Span>| limit.map_or(NEVER, Span::nanos);
        Bounds {
            ticks: self.ticks,
            tick,
            silence: nanos(self.config.silence_timeout),
            hello: nanos(self.config.hello_timeout),
            write: nanos(self.config.write_timeout),
            config: &self.config,
            seed: self.seed,
            flushes: &self.flushes,
            buckets: &self.buckets,
            retirements: &self.retirements,
            silences: &self.silences,
        }
    }
}

/// Limits in nanoseconds, and the columns beside the slots.
pub(super) struct Bounds<'a> {
    ticks: Ticks,
    tick: u64,
    silence: u64,
    hello: u64,
    write: u64,
    config: &'a Config,
    seed: u64,
    flushes: &'a [Flush],
    buckets: &'a [Option<Timestamp>],
    retirements: &'a [Option<Timestamp>],
    silences: &'a [Option<Span>],
}

impl Bounds<'_> {
    /// Before this instant the connection is not due for anything. Amnesties
    /// move it later yet.
    #[inline]
    pub(super) fn of(&self, index: usize, slot: Slot) -> u64 {
        let evidence = self.ticks.end(slot.tick());
        let silence = match self.silences.get(index) {
            Some(own) => own.map_or(NEVER, Span::nanos),
            None => self.silence,
        };
        let mut due = evidence.saturating_add(silence);
        if !slot.is_heard() {
            due = due.min(evidence.saturating_add(self.hello));
        }
        if let Some(flush) = self.flushes.get(index) {
            due = due.min(if flush.is_in_flight() {
                let since = self.ticks.end(flush.tick(self.tick));
                since.saturating_add(self.write)
            } else {
                self.beat(index, *flush)
            });
        }
        if let Some(Some(retirement)) = self.retirements.get(index) {
            due = due.min(retirement.as_nanos());
        }
        if let Some(None) = self.buckets.get(index) {
            due = 0;
        }
        due
    }

    /// When the next beat is due at the latest.
    #[inline]
    fn beat(&self, index: usize, flush: Flush) -> u64 {
        let Some(interval) = self.config.interval else {
            return NEVER;
        };
        let flushed = flush.tick(self.tick);
        let wait = if flush.is_put_off() {
            put_off_wait(interval, index)
        } else if self.config.spread_first_beat {
            interval
        } else {
            #[allow(clippy::cast_possible_truncation)] // any numbers will do
            let (link, number) = (index as u32, flushed as u32);
            beat_gap(self.config, self.seed, link, number, false)
        };
        // Not twice in one tick, however short the interval.
        let due = self.ticks.start(flushed).saturating_add(wait.nanos());
        due.max(self.ticks.end(flushed))
    }
}
