//! The classic full scan: a plain list of connections with the exact time of
//! everything, which is gone through at every poll. It says who may be closed
//! and for what, who must be, and who is to be sent a heartbeat.

use alloc::format;
use alloc::vec::Vec;
use core::time::Duration;

use super::checked::Reaped;
use super::drain::Drain;
use crate::config::{Config, Evidence};
use crate::reaper::Key;
use crate::session::CloseReason;
use crate::testing::model::{Verdict, broken};
use crate::testing::span::{LONGEST, NEVER, Nanos, after, at, len, maybe_at};
use crate::time::Timestamp;

/// How much of the interval is too early for a spread beat after other
/// traffic, with a margin: the roster says a sixth.
const RECENT: Nanos = 10;

#[derive(Clone, Debug)]
pub(super) struct Conn {
    pub(super) key: Key,
    pub(super) value: u64,
    connected: Nanos,
    evidence: Nanos,
    /// How many stalls came before the evidence, maybe at that instant.
    heard_as: u64,
    heard: bool,
    /// The last flush of what pushes the next heartbeat back.
    flushed: Nanos,
    /// A heartbeat is in flight: since when its write clock runs.
    in_flight: Option<Nanos>,
    /// When one was in flight for the last time.
    landed: Option<Nanos>,
    /// The last stall that was forgiven it.
    forgiven: Option<Amnesty>,
    /// Heartbeats asked for since the stall that only a probe explains.
    probes: u32,
    silence: Option<Nanos>,
    /// Heard between two stalls too close to be told apart: whether the second
    /// made it suspect is anybody's guess, until it is heard again.
    vague: bool,
    /// It was there when time leapt so far that what is overdue is just old.
    aged: bool,
    /// Nobody polled for so long that the clock of its flush came round.
    lost: bool,
    /// The flood bucket: tokens × gap, and when that was counted.
    tokens: Nanos,
    counted: Nanos,
    pub(super) flooded: Flooded,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flooded {
    No,
    Yes,
    /// The bucket is full only after the end of time; there the reaper may be
    /// lenient.
    Maybe,
}

/// A limit of a connection: from when on it may, and must, be acted upon.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    pub(super) reason: CloseReason,
    pub(super) least: Nanos,
    most: Nanos,
}

/// A stall that was forgiven, and which it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Amnesty {
    at: Nanos,
    heard_as: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Model {
    config: Config,
    resolution: Nanos,
    pub(super) now: Nanos,
    /// When nothing was left to do for the last time.
    rested: Nanos,
    /// When it was polled last.
    polled: Nanos,
    /// The deadline, and since when it is known to be one.
    deadline: Option<Timestamp>,
    expected: Nanos,
    /// When the last poll left work, if it did.
    left_work: Option<Nanos>,
    /// The shortest tolerance that any limit so far has asked for.
    tolerance: Nanos,
    /// The tolerance at the last poll.
    bore: Nanos,
    older: Option<Amnesty>,
    younger: Option<Amnesty>,
    pub(super) stalls: u64,
    /// By their keys, and so by their places.
    pub(super) conns: Vec<Conn>,
    pub(super) drain: Option<Drain>,
}

impl Model {
    pub(super) fn new(config: Config, resolution: Duration, now: Timestamp) -> Self {
        let tolerance = len(config.stall_tolerance().max(resolution));
        Self {
            config,
            // Two ticks, of a nanosecond at least.
            resolution: len(resolution).max(2),
            now: at(now),
            rested: at(now),
            polled: at(now),
            // Nobody is there.
            deadline: None,
            expected: NEVER,
            left_work: None,
            tolerance,
            bore: tolerance,
            older: None,
            younger: None,
            stalls: 0,
            conns: Vec::new(),
            drain: None,
        }
    }

    /// Where a connection is, or would be.
    fn place(&self, key: Key) -> Result<usize, usize> {
        self.conns.binary_search_by_key(&key, |conn| conn.key)
    }

    pub(super) fn conn(&self, key: Key) -> Option<&Conn> {
        self.conns.get(self.place(key).ok()?)
    }

    fn conn_mut(&mut self, key: Key) -> Option<&mut Conn> {
        let place = self.place(key).ok()?;
        self.conns.get_mut(place)
    }

    /// A call at `now`, after which the roster tells of so many stalls.
    pub(super) fn call(&mut self, now: Timestamp, told: u64) {
        self.pass(now);
        let expected = self.left_work.unwrap_or(self.expected);
        // What lay in the past when a stall was forgiven is no stall again.
        let expected = expected.max(self.younger.map_or(0, |younger| younger.at));
        let is_late = self.now > after(expected, self.tolerance);
        // The lateness of a call before the tolerance shrank may be none.
        let is_borne = self.now <= after(expected, self.bore);
        if is_late && (!is_borne || told > self.stalls) {
            self.stall(false);
        }
    }

    /// Time goes on.
    pub(super) fn pass(&mut self, now: Timestamp) {
        let is_leap = self.is_leap(now);
        self.now = self.now.max(at(now));
        if self.left_work.is_none() {
            // Nothing is due before the deadline, polled for or not.
            let until = maybe_at(self.deadline).saturating_sub(1);
            self.rested = self.rested.max(until.min(self.now));
        }
        let is_lost = !is_leap && self.now - self.polled > self.resolution << 28;
        for conn in &mut self.conns {
            conn.aged |= is_leap;
            conn.lost |= is_lost;
        }
    }

    /// Whether a call at `now` goes further at once than the roster's clocks
    /// may tell, of which a quarter of the resolution is a tick at least.
    pub(super) fn is_leap(&self, now: Timestamp) -> bool {
        at(now).saturating_sub(self.now) > self.resolution << 26
    }

    /// The longest limit in force.
    fn longest(&self) -> Nanos {
        let config = &self.config;
        let write = config
            .write_timeout()
            .filter(|_| config.interval().is_some());
        let common = [config.silence_timeout(), config.hello_timeout(), write];
        let common = common.into_iter().flatten().map(len);
        let own = self.conns.iter().filter_map(|conn| conn.silence);
        common.chain(own).max().unwrap_or(0)
    }

    /// A stall, or with `all` the driver's word for one.
    pub(super) fn stall(&mut self, all: bool) {
        self.stalls += 1;
        let new = Amnesty {
            at: self.now,
            heard_as: self.stalls,
        };
        let before = (self.older, self.younger);
        let (longest, rested) = (self.longest(), self.rested);
        let convicts = |older: Amnesty| after(older.at, longest) > rested;
        if all {
            self.older = None;
        } else if !self.older.is_some_and(convicts) {
            self.older = self.younger;
        }
        self.younger = Some(new);
        let (older, younger) = (self.older, self.younger);
        for conn in &mut self.conns {
            let suspect = conn.suspect_of(older, younger);
            if suspect != conn.suspect_of(before.0, before.1) {
                conn.probes = 0;
            }
            let is_close = |last: Amnesty| {
                last.at + self.resolution > new.at && last.heard_as <= conn.heard_as
            };
            conn.vague |= before.1.is_some_and(is_close);
            if suspect == Some(new) {
                conn.forgiven = suspect;
                // What is in flight has its whole time again.
                conn.in_flight = conn.in_flight.map(|_| new.at);
            }
        }
    }

    /// Whether the last stall was forgiven this connection.
    pub(super) fn is_forgiven(&self, key: Key) -> bool {
        let suspect = self.conn(key).and_then(|conn| self.suspect(conn));
        suspect.is_some() && suspect == self.younger
    }

    fn suspect(&self, conn: &Conn) -> Option<Amnesty> {
        conn.suspect_of(self.older, self.younger)
    }

    pub(super) fn insert(&mut self, key: Key, value: u64) {
        let flood = self.config.flood();
        let conn = Conn {
            key,
            value,
            connected: self.now,
            evidence: self.now,
            heard_as: self.stalls,
            heard: false,
            flushed: self.now,
            in_flight: None,
            landed: None,
            forgiven: None,
            probes: 0,
            silence: self.config.silence_timeout().map(len),
            vague: false,
            aged: false,
            lost: false,
            tokens: flood.map_or(0, |(gap, strikes)| len(gap) * Nanos::from(strikes)),
            counted: self.now,
            flooded: Flooded::No,
        };
        if let Err(place) = self.place(key) {
            self.conns.insert(place, conn);
        }
        if let Some(drain) = &mut self.drain {
            drain.inserted();
        }
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Conn> {
        let place = self.place(key).ok()?;
        Some(self.conns.remove(place))
    }

    pub(super) fn received(&mut self, key: Key) -> bool {
        let (now, stalls) = (self.now, self.stalls);
        let is_evidence = self.config.evidence() == Evidence::AnyBytes;
        let Some(conn) = self.conn_mut(key) else {
            return false;
        };
        conn.heard = true;
        if is_evidence {
            conn.is_evidence(now, stalls);
        }
        true
    }

    pub(super) fn heartbeat_received(&mut self, key: Key) -> bool {
        let (now, stalls) = (self.now, self.stalls);
        let Some(conn) = self.conn(key) else {
            return false;
        };
        // What piled up comes in a burst.
        let usual = len(self.config.stall_tolerance()).max(self.resolution);
        let thawing = |stall: Amnesty| now - stall.at <= usual;
        let is_free = self.suspect(conn).is_some() || self.younger.is_some_and(thawing);
        let flood = self.config.flood().filter(|_| !is_free);
        let Some(conn) = self.conn_mut(key) else {
            return false;
        };
        if conn.vague && conn.flooded == Flooded::No {
            conn.flooded = Flooded::Maybe;
        }
        if let Some((gap, strikes)) = flood {
            conn.take_token(len(gap), Nanos::from(strikes), now);
        }
        conn.heard = true;
        conn.is_evidence(now, stalls);
        true
    }

    pub(super) fn sent(&mut self, key: Key) -> bool {
        let (now, idle) = (self.now, self.config.only_when_idle());
        let Some(conn) = self.conn_mut(key) else {
            return false;
        };
        conn.in_flight = conn.in_flight.map(|_| now);
        if idle {
            conn.flushed = now;
            conn.lost = false;
        }
        true
    }

    pub(super) fn heartbeat_sent(&mut self, key: Key) -> bool {
        let (now, idle) = (self.now, self.config.only_when_idle());
        let Some(conn) = self.conn_mut(key) else {
            return false;
        };
        if conn.in_flight.take().is_some() {
            conn.landed = Some(now);
            conn.flushed = now;
            conn.lost = false;
        } else if idle {
            conn.flushed = now;
            conn.lost = false;
        }
        true
    }

    pub(super) fn bear(&mut self, key: Key, silence: Option<Duration>, config: &Config) -> bool {
        let Some(conn) = self.conn_mut(key) else {
            return false;
        };
        conn.silence = silence.map(len);
        if silence.is_some() {
            let tolerance = len(config.stall_tolerance()).max(self.resolution);
            self.tolerance = self.tolerance.min(tolerance);
        }
        true
    }

    pub(super) fn drain(&mut self, window: Duration) {
        let new = Drain::new(len(window), self.now, self.conns.len());
        if self
            .drain
            .as_ref()
            .is_none_or(|drain| !drain.ends_before(&new))
        {
            self.drain = Some(new);
        }
    }

    /// The limits of a connection, the flood's aside.
    pub(super) fn dues(&self, conn: &Conn) -> Vec<Due> {
        let (config, resolution) = (&self.config, self.resolution);
        let suspect = self.suspect(conn).map(|amnesty| amnesty.at);
        let fresh = |since: Nanos| match suspect {
            _ if conn.vague => (since, NEVER),
            Some(stall) => (stall, stall),
            None => (since, since),
        };
        let mut dues = Vec::new();
        let mut limit = |reason, (least, most): (Nanos, Nanos), limit: Option<Nanos>| {
            if let Some(limit) = limit {
                dues.push(Due {
                    reason,
                    least: after(least, limit),
                    most: after(most, limit.saturating_add(resolution)),
                });
            }
        };
        limit(CloseReason::PeerSilent, fresh(conn.evidence), conn.silence);
        let hello = config.hello_timeout().filter(|_| !conn.heard);
        limit(CloseReason::NoHello, fresh(conn.connected), hello.map(len));
        if let Some(since) = conn.in_flight {
            // Evidence of life after two stalls hides that only the first of
            // them gave the write its time again.
            let last = self.younger.map_or(since, |younger| younger.at.max(since));
            let write = config.write_timeout().map(len);
            let is_known = !conn.vague && !conn.lost;
            let last = if is_known { last } else { NEVER };
            limit(CloseReason::WriteStalled, (since, last), write);
        }
        if let Some(age) = config.max_age().map(len) {
            let jitter = Nanos::from(config.max_age_jitter().as_permille());
            dues.push(Due {
                reason: CloseReason::TooOld,
                least: after(conn.connected, age - age * jitter / 1000),
                most: after(conn.connected, age),
            });
        }
        dues
    }

    /// When a limit of this reason is past for a connection, at the earliest.
    pub(super) fn least(&self, key: Key, reason: CloseReason) -> Option<Nanos> {
        let dues = self.dues(self.conn(key)?);
        let due = dues.iter().find(|due| due.reason == reason)?;
        Some(due.least)
    }

    /// Whether a connection is judged by a later stall than the one that was
    /// forgiven it, or may be: the roster remembers only two, and not to the
    /// nanosecond.
    pub(super) fn is_lenient(&self, key: Key) -> bool {
        let conn = self.conn(key);
        conn.is_some_and(|conn| {
            let suspect = self.suspect(conn);
            conn.vague || conn.lost || suspect.is_some() && suspect != conn.forgiven
        })
    }

    pub(super) fn is_aged(&self, key: Key) -> bool {
        self.conn(key).is_some_and(|conn| conn.aged)
    }

    /// Whether a stalled write may be borne at an instant because of the last
    /// stall, by which its time may count without having been given again.
    pub(super) fn bears_write(&self, at: Nanos) -> bool {
        match (self.younger, self.config.write_timeout()) {
            (Some(stall), Some(limit)) => {
                at < after(stall.at, len(limit).saturating_add(self.resolution))
            }
            _ => false,
        }
    }

    /// The latest instant of the next heartbeat.
    fn beat_until(&self, conn: &Conn) -> Nanos {
        match self.config.interval().map(len) {
            Some(interval) if conn.in_flight.is_none() && !conn.lost => {
                after(conn.flushed, interval.saturating_add(self.resolution))
            }
            _ => NEVER,
        }
    }

    /// When the next round of probes of a stall is due, from `number` on.
    fn probe_at(&self, amnesty: Amnesty, number: u32) -> Nanos {
        let probes = u32::from(self.config.probes());
        if self.config.interval().is_none() || number >= probes {
            return NEVER;
        }
        let span = self.config.silence_timeout();
        let span = len(span.unwrap_or(self.config.resume_grace()));
        after(amnesty.at, span * Nanos::from(number) / Nanos::from(probes))
    }

    /// Whether a suspect connection still has to be asked for a probe at
    /// `now`, and when for the next.
    fn probe_until(&self, conn: &Conn) -> Nanos {
        let stall = self.suspect(conn).filter(|_| !conn.vague);
        let Some(stall) = stall.filter(|stall| conn.forgiven == Some(*stall)) else {
            return NEVER;
        };
        let number = (0..u32::from(self.config.probes()))
            .take_while(|number| self.probe_at(stall, *number) <= self.now)
            .count();
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        if let Some(last) = number.checked_sub(1) {
            let due = self.probe_at(stall, last);
            let served = conn.in_flight.is_some() || conn.landed.is_some_and(|at| at >= due);
            if !served {
                return due;
            }
        }
        match self.probe_at(stall, number) {
            NEVER => NEVER,
            due => after(due, self.resolution),
        }
    }

    /// The latest instant at which a connection must have been looked at.
    fn due_until(&self, conn: &Conn) -> Nanos {
        let limits = self.dues(conn).into_iter().map(|due| due.most);
        let flooded = match conn.flooded {
            Flooded::Yes => 0,
            Flooded::No | Flooded::Maybe => NEVER,
        };
        limits
            .chain([
                self.beat_until(conn),
                self.probe_until(conn),
                flooded,
                self.drain.as_ref().map_or(NEVER, Drain::end),
            ])
            .min()
            .unwrap_or(NEVER)
    }

    /// Holds the deadline against what is due. What a call puts into the past
    /// falls due then.
    pub(super) fn check_deadline(&mut self, deadline: Option<Timestamp>) -> Verdict {
        if self.deadline != deadline {
            self.deadline = deadline;
            self.expected = maybe_at(deadline).max(self.now);
        }
        let deadline = maybe_at(deadline);
        if self.left_work.is_some() && deadline > self.now {
            return broken(8, "a deadline in the future while work is left".into());
        }
        for conn in &self.conns {
            let due = self.due_until(conn);
            if deadline > due.max(self.now) {
                let key = conn.key;
                return broken(2, format!("{key:?} is due at {due} ns, after the deadline"));
            }
        }
        Ok(())
    }

    /// Holds what a poll returned against what it may and must.
    pub(super) fn poll(&mut self, reaped: Option<&Reaped>) -> Verdict {
        self.left_work = reaped.map(|_| self.now);
        self.polled = self.now;
        self.bore = self.tolerance;
        match reaped {
            None => {
                self.rested = self.now;
                self.poll_rest()
            }
            Some(Reaped::Yield) => Ok(()),
            Some(&Reaped::Heartbeat { key, value }) => self.poll_beat(key, value),
            Some(&Reaped::Close {
                key,
                value,
                reason,
                retry_after,
            }) => self.poll_close(key, value, reason, retry_after),
        }
    }

    fn poll_rest(&mut self) -> Verdict {
        let now = self.now;
        for conn in &self.conns {
            let key = conn.key;
            let law = match self.suspect(conn) {
                Some(_) => 4,
                None => 2,
            };
            if conn.flooded == Flooded::Yes {
                return broken(2, format!("{key:?} is flooded and not closed"));
            }
            if let Some(due) = self.dues(conn).iter().find(|due| due.most <= now) {
                return broken(law, format!("{key:?} is not closed: {due:?}"));
            }
            if self.beat_until(conn) <= now {
                return broken(3, format!("no heartbeat to {key:?} within the interval"));
            }
            if self.probe_until(conn) <= now {
                return broken(4, format!("no probe of {key:?}, which is suspect"));
            }
        }
        let left = self.conns.len();
        match &mut self.drain {
            Some(drain) => drain.rested(now, left, self.resolution),
            None => Ok(()),
        }
    }

    fn poll_beat(&mut self, key: Key, value: u64) -> Verdict {
        let (now, resolution) = (self.now, self.resolution);
        let Some(conn) = self.conn(key).filter(|conn| conn.value == value) else {
            return broken(
                5,
                format!("a heartbeat to {key:?} with {value}, who is nobody"),
            );
        };
        let Some(interval) = self.config.interval().map(len) else {
            return broken(5, "a heartbeat without an interval".into());
        };
        if conn.in_flight.is_some() {
            return broken(5, format!("a second heartbeat in flight to {key:?}"));
        }
        if let Some(due) = self.dues(conn).iter().find(|due| due.most <= now) {
            return broken(2, format!("a heartbeat to {key:?}, but {due:?}"));
        }
        let least = if self.config.spread_first_beat() {
            interval / RECENT
        } else {
            let jitter = Nanos::from(self.config.interval_jitter().as_permille());
            interval - interval * jitter / 1000
        };
        let mut probes = conn.probes;
        if now + resolution < conn.flushed + least {
            match self.suspect(conn) {
                Some(stall) if self.probe_at(stall, probes) <= now => probes += 1,
                // Whose probe it is cannot be told.
                _ if conn.vague => {}
                _ => return broken(1, format!("a heartbeat to {key:?} before it is due")),
            }
        }
        if let Some(conn) = self.conn_mut(key) {
            conn.in_flight = Some(now);
            conn.lost = false;
            conn.probes = probes;
        }
        Ok(())
    }

    fn poll_close(
        &mut self,
        key: Key,
        value: u64,
        reason: CloseReason,
        retry_after: Option<Duration>,
    ) -> Verdict {
        let (now, left) = (self.now, self.conns.len());
        let Some(conn) = self.remove(key).filter(|conn| conn.value == value) else {
            return broken(5, format!("{key:?} with {value} is closed, who is nobody"));
        };
        if (reason == CloseReason::Flooded) != (conn.flooded == Flooded::Yes)
            && conn.flooded != Flooded::Maybe
        {
            return broken(2, format!("{reason}, of who is {:?} flooded", conn.flooded));
        }
        if retry_after.is_some() != (reason == CloseReason::Draining) {
            return broken(7, format!("{reason} with {retry_after:?} to stay away"));
        }
        if reason == CloseReason::Flooded {
            return Ok(());
        }
        let dues = self.dues(&conn);
        let law = match self.suspect(&conn) {
            Some(_) => 4,
            None => 1,
        };
        let due = if reason == CloseReason::Draining {
            let Some(drain) = &mut self.drain else {
                return broken(1, format!("{key:?} is drained, without a drain"));
            };
            drain.closed(now, left, retry_after, self.resolution)?;
            now
        } else {
            let Some(due) = dues.iter().find(|due| due.reason == reason) else {
                return broken(1, format!("{reason} of {key:?}, of which nothing is known"));
            };
            if due.least > now {
                return broken(law, format!("{reason} of {key:?} before {} ns", due.least));
            }
            due.least
        };
        if conn.aged || conn.lost {
            return Ok(());
        }
        // The earliest limit wins, to the resolution.
        if let Some(first) = dues.iter().find(|other| other.most < due) {
            return broken(2, format!("{reason} of {key:?}, but first came {first:?}"));
        }
        Ok(())
    }

    /// Holds what is told of a connection's silence against the truth.
    pub(super) fn check_silence(&self, conn: &Conn, told: Option<Duration>) -> Verdict {
        let truth = self.now - conn.evidence;
        let told = told.map_or(NEVER, len);
        // Ages ago is as good as any time in the distant past.
        let certain = truth.min(self.resolution << 37);
        if told > truth || told.saturating_add(self.resolution) < certain {
            return broken(
                0,
                format!("{:?} is silent for {truth} ns, not {told}", conn.key),
            );
        }
        Ok(())
    }
}

impl Conn {
    /// The first stall after the last evidence of life, of the two that are
    /// remembered.
    fn suspect_of(&self, older: Option<Amnesty>, younger: Option<Amnesty>) -> Option<Amnesty> {
        let both = [older, younger].into_iter().flatten();
        both.into_iter()
            .find(|stall| stall.heard_as > self.heard_as)
    }

    fn is_evidence(&mut self, now: Nanos, stalls: u64) {
        self.evidence = now;
        self.heard_as = stalls;
        self.vague = false;
    }

    fn take_token(&mut self, gap: Nanos, strikes: Nanos, now: Nanos) {
        let full = gap * strikes;
        self.tokens = self.tokens.saturating_add(now - self.counted).min(full);
        self.counted = now;
        if self.tokens >= gap {
            self.tokens -= gap;
        } else if now + full > LONGEST {
            self.tokens = 0;
            if self.flooded == Flooded::No {
                self.flooded = Flooded::Maybe;
            }
        } else {
            self.flooded = Flooded::Yes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reaper::Reaper;

    fn secs(secs: u64) -> Timestamp {
        Timestamp::from_epoch(Duration::from_secs(secs)).unwrap()
    }

    #[test]
    fn a_call_as_late_as_is_borne_is_no_stall_whatever_is_told() {
        let config = Config::server().without_interval().build().unwrap();
        let tolerance = config.stall_tolerance();
        let mut reaper = Reaper::new(config, 7, secs(1)).unwrap();
        let key = reaper.insert(1, secs(1));
        let mut model = Model::new(config, reaper.resolution(), secs(1));
        model.insert(key, 1);
        assert!(model.check_deadline(Some(secs(10))).is_ok());
        let borne = secs(10).checked_add(tolerance).unwrap();
        let beyond = borne.checked_add(Duration::from_nanos(1)).unwrap();
        for (now, stalls) in [(borne, 0), (beyond, 1)] {
            let mut model = model.clone();
            model.call(now, 1);
            assert_eq!(model.stalls, stalls);
        }
    }
}
