//! A session under watch.

use alloc::format;
use core::fmt;

use super::model::{Model, Verdict, broken};
use super::replay::{Call, Replay};
use super::span::{at, maybe_at};
use super::trail::Trail;
use crate::config::{Config, ConfigError, Limits, Role};
use crate::session::{Action, Event, Phase, Session};
use crate::time::Timestamp;

/// How many actions may come in a row without an event or a later instant: the
/// longest is Abort, Reconnect, Connect.
const MOST_AT_ONCE: u32 = 3;

/// A [`Session`] under watch: the same calls, and a panic when one of the
/// [laws](crate::testing) is broken.
///
/// It keeps its own account of what happened, from outside and through public
/// items alone. Beside the session runs a second one that is polled more often
/// than it asks for, which must change nothing.
///
/// The panic names the law, and tells configuration, seed and the calls since
/// the last link began. Its last line is `replay: ` and the text of the
/// [`Replay`] of all calls from the start, which panics the same. The first
/// 65,536 calls are kept for that, at about a hundred bytes each, and copied by
/// a clone; of a longer run the line is the beginning, and the line before says
/// so.
///
/// ```
/// use core::time::Duration;
/// use nabiz::testing::Checked;
/// use nabiz::{Action, Config, Event, Timestamp};
///
/// let at = |secs| Timestamp::from_epoch(Duration::from_secs(secs)).unwrap();
/// let mut session = Checked::new(Config::client().build()?, 42, at(0));
/// assert_eq!(session.poll(at(0)), Some(Action::Connect { attempt: 0 }));
/// session.handle(Event::Connected, at(1));
/// // A driver that is never heard of, and never late.
/// while let Some(due) = session.deadline() {
///     match session.poll(due) {
///         Some(Action::SendHeartbeat { .. }) => session.handle(Event::HeartbeatSent, due),
///         Some(Action::Close(reason)) => {
///             assert_eq!((reason.to_string().as_str(), due), ("PeerSilent", at(121)));
///             session.handle(Event::Shutdown, due);
///             session.handle(Event::Disconnected, due);
///         }
///         other => assert_eq!(other, None),
///     }
/// }
/// # Ok::<(), nabiz::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Checked {
    pub(super) session: Session,
    /// The same session, polled too often.
    pub(super) spurious: Session,
    pub(super) model: Model,
    first_config: Config,
    seed: u64,
    start: Timestamp,
    pub(super) trail: Trail<What>,
    /// Actions since the last event or later instant.
    at_once: u32,
    /// `Shutdown` or `Rejected` came: nobody returns after that.
    pub(super) finished: bool,
    pub(super) gave_up: bool,
}

/// A call, and what it gave; nothing while it is being made.
#[derive(Clone, Debug)]
pub(super) struct What {
    call: Call,
    gave: Option<Gave>,
}

#[derive(Clone, Debug)]
enum Gave {
    Action(Option<Action>),
    Limits(Result<(), ConfigError>),
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.call {
            Call::Handle(event) => write!(f, "{event:?}"),
            Call::Poll => f.write_str("poll"),
            Call::SetLimits(limits) => write!(f, "{limits:?}"),
        }?;
        match &self.gave {
            Some(Gave::Action(action)) => write!(f, ": {action:?}"),
            Some(Gave::Limits(result)) => write!(f, ": {result:?}"),
            None => Ok(()),
        }
    }
}

impl Checked {
    /// As [`Session::new`].
    ///
    /// # Panics
    /// If a law is broken; as all calls.
    #[must_use]
    pub fn new(config: Config, seed: u64, now: Timestamp) -> Self {
        let session = Session::new(config, seed, now);
        let model = Model::new(config, now);
        let mut checked = Self {
            spurious: session.clone(),
            session,
            model,
            first_config: config,
            seed,
            start: now,
            trail: Trail::new(),
            at_once: 0,
            finished: false,
            gave_up: false,
        };
        checked.settle(now);
        checked
    }

    /// As [`Session::handle`].
    ///
    /// # Panics
    /// If a law is broken.
    pub fn handle(&mut self, event: Event, now: Timestamp) {
        self.record(Call::Handle(event), now);
        let phase = self.session.phase();
        self.before(now);
        self.at_once = 0;
        self.session.handle(event, now);
        self.spurious.handle(event, now);
        let began = phase == Phase::Connecting && self.session.phase() == Phase::Open;
        if began {
            self.trail.begin();
        }
        if began && self.session.status(now).rtt.is_some() {
            self.demand(broken(9, "a round-trip time of the last link".into()));
        }
        self.model.handle(event, self.session.phase());
        self.finished |= matches!(event, Event::Shutdown | Event::Rejected);
        self.settle(now);
    }

    /// As [`Session::poll`].
    ///
    /// # Panics
    /// If a law is broken.
    pub fn poll(&mut self, now: Timestamp) -> Option<Action> {
        self.record(Call::Poll, now);
        if at(now) > self.model.now {
            self.at_once = 0;
        }
        self.before(now);
        let action = self.session.poll(now);
        let second = self.spurious.poll(now);
        self.gave(Gave::Action(action));
        self.demand(self.watch(action));
        let verdict = self.model.poll(action);
        self.demand(verdict);
        if second != action {
            self.demand(broken(8, format!("{second:?} when polled too often")));
        }
        self.at_once += u32::from(action.is_some());
        self.gave_up |= matches!(action, Some(Action::GiveUp(_)));
        self.settle(now);
        if action.is_none() && maybe_at(self.session.deadline()) <= self.model.now {
            self.demand(broken(8, "a deadline that is past after None".into()));
        }
        action
    }

    /// As [`Session::deadline`].
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        self.session.deadline()
    }

    /// As [`Session::set_limits`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// If a law is broken.
    pub fn set_limits(&mut self, limits: Limits, now: Timestamp) -> Result<(), ConfigError> {
        self.record(Call::SetLimits(limits), now);
        let deadline = self.session.deadline();
        let before = (deadline, *self.session.config());
        let result = self.session.set_limits(limits, now);
        self.gave(Gave::Limits(result));
        if result.is_err() {
            // An error changes nothing, the time that was seen neither.
            if (self.session.deadline(), *self.session.config()) != before {
                self.demand(broken(8, "a refused change changed something".into()));
            }
            return result;
        }
        self.at_once = 0;
        self.spuriously(now, deadline);
        let second = self.spurious.set_limits(limits, now);
        debug_assert_eq!(second, result, "the two see the same configuration");
        self.model.call(now, deadline);
        self.model.set_limits(*self.session.config());
        self.settle(now);
        result
    }

    /// The session that is watched.
    #[must_use]
    pub const fn session(&self) -> &Session {
        &self.session
    }

    /// The calls so far, as many of them as are kept.
    ///
    /// ```
    /// use nabiz::testing::Checked;
    /// use nabiz::{Config, Event, Timestamp};
    ///
    /// let now = Timestamp::EPOCH;
    /// let mut session = Checked::new(Config::server().build()?, 42, now);
    /// session.handle(Event::Received, now);
    /// assert_eq!(session.replay().to_string(), "session server seed=42 at 0s received");
    /// # Ok::<(), nabiz::ConfigError>(())
    /// ```
    #[must_use]
    pub fn replay(&self) -> Replay {
        let mut replay = Replay::new(self.first_config, self.seed, self.start);
        for (now, what) in self.trail.kept() {
            replay.push(what.call, *now);
        }
        replay
    }

    /// What comes before each call: the second session is polled too often,
    /// and lateness is judged by the deadline as it stands.
    fn before(&mut self, now: Timestamp) {
        let deadline = self.session.deadline();
        self.spuriously(now, deadline);
        self.model.call(now, deadline);
    }

    /// Polls the second session at the last instant, at the next if that is
    /// early, and between them: all of it before `deadline`, so for nothing.
    fn spuriously(&mut self, now: Timestamp, deadline: Option<Timestamp>) {
        let (last, due) = (self.model.now, maybe_at(deadline));
        let until = at(now).min(due.saturating_sub(1));
        for instant in [last, last.midpoint(until), until] {
            if instant < last || instant >= due {
                continue;
            }
            let Some(instant) = u64::try_from(instant).ok().and_then(Timestamp::from_nanos) else {
                continue;
            };
            if let Some(action) = self.spurious.poll(instant) {
                self.demand(broken(8, format!("{action:?} at {instant:?}, too early")));
            }
        }
    }

    /// The laws that need no account of the link.
    fn watch(&self, action: Option<Action>) -> Verdict {
        let Some(action) = action else {
            return Ok(());
        };
        if self.gave_up {
            return broken(5, format!("{action:?} after GiveUp"));
        }
        if matches!(action, Action::Connect { .. } | Action::Reconnect { .. }) {
            if self.first_config.role() == Role::Server {
                return broken(6, "a server returns".into());
            }
            if self.finished {
                return broken(6, "it returns after Shutdown or Rejected".into());
            }
        }
        if self.at_once >= MOST_AT_ONCE {
            return broken(10, format!("{} actions at once", self.at_once + 1));
        }
        Ok(())
    }

    /// What comes after each call: the session and its second agree, with each
    /// other and with the account.
    fn settle(&mut self, now: Timestamp) {
        let (deadline, status) = (self.session.deadline(), self.session.status(now));
        if self.spurious.deadline() != deadline || self.spurious.status(now) != status {
            let second = self.spurious.status(now);
            self.demand(broken(8, format!("polled too often: {second:?}")));
        }
        let verdict = self.model.check(deadline, &status);
        self.demand(verdict);
    }

    /// Before the call is made, so that a report has it whatever it does.
    fn record(&mut self, call: Call, now: Timestamp) {
        self.trail.record(What { call, gave: None }, now);
    }

    fn gave(&mut self, gave: Gave) {
        if let Some(what) = self.trail.last_mut() {
            what.gave = Some(gave);
        }
    }

    #[track_caller]
    fn demand(&self, verdict: Verdict) {
        let (seed, config) = (self.seed, self.first_config);
        self.trail
            .demand(verdict, format_args!("seed {seed}, {config:?}"), || {
                self.replay()
            });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::trail::report;
    use alloc::string::ToString;
    use alloc::vec::Vec;
    use core::time::Duration;

    fn grace(secs: u64) -> Config {
        let config = Config::client().with_close_grace(Duration::from_secs(secs));
        config.without_interval().build().unwrap()
    }

    fn secs(secs: u64) -> Timestamp {
        Timestamp::from_epoch(Duration::from_secs(secs)).unwrap()
    }

    /// A checker that believes in a grace of 5 s, and watches a session that
    /// gives 1 s.
    fn misled() -> Checked {
        let mut checked = Checked::new(grace(5), 7, secs(10));
        checked.session = Session::new(grace(1), 7, secs(10));
        checked.spurious = checked.session.clone();
        checked
    }

    fn replay(report: &str) -> Replay {
        let line = report.lines().last().unwrap();
        line.strip_prefix("replay: ").unwrap().parse().unwrap()
    }

    #[test]
    fn a_report_tells_the_last_link_and_replays_all() {
        let told = report(|| {
            let mut session = misled();
            for connected in [11, 21] {
                while session.poll(secs(connected - 1)).is_some() {}
                session.handle(Event::Connected, secs(connected));
                session.handle(Event::Received, secs(connected + 1));
                if connected == 11 {
                    session.handle(Event::Disconnected, secs(connected + 1));
                    while session.poll(secs(connected + 1)).is_some() {}
                }
            }
            while session.poll(secs(142)).is_some() {}
        });
        let lines: Vec<&str> = told.lines().collect();
        assert!(
            lines[0].starts_with("law 1 (never early) is broken: "),
            "{told}"
        );
        assert!(lines[1].starts_with("seed 7, Config {"), "{told}");
        let link = [
            "at 21000000000 ns: Connected",
            "at 22000000000 ns: Received",
            "at 142000000000 ns: poll: Some(Close(PeerSilent))",
            "replay: session client interval=none seed=7 at 10s poll poll at 11s connected \
             at 12s received disconnected poll poll at 20s poll poll at 21s connected \
             at 22s received at 142s poll",
        ];
        assert_eq!(lines[2..], link);

        // The same calls break the same law of the same session, …
        let replay = replay(&told);
        let calls = || replay.watch_with(misled(), |_, _, _, _| {});
        assert_eq!(report(calls), told);
        // … and none of one that keeps it.
        assert_eq!(replay.config(), grace(5));
        assert_eq!(replay.run().len(), replay.calls().len() + 4);
    }

    /// A call is told before it is made: so the replay has it, too, if a law
    /// turns out to be broken already.
    #[test]
    fn a_replay_ends_with_the_call_that_panicked() {
        let mislead = |session: &mut Checked| {
            let mut other = Checked::new(grace(5), 7, secs(10));
            let _ = other.poll(secs(10));
            session.spurious = other.spurious;
        };
        let told = report(|| {
            let mut session = Checked::new(grace(5), 7, secs(10));
            let _ = session.poll(secs(10));
            session.handle(Event::Connected, secs(11));
            mislead(&mut session);
            session.handle(Event::Received, secs(100));
        });
        assert!(
            told.contains("law 8 (quiescence) is broken: Close(ConnectTimeout) at 100s, too early"),
            "{told}"
        );
        assert!(told.contains("\nat 100000000000 ns: Received\n"), "{told}");
        assert!(
            told.ends_with(" at 10s poll at 11s connected at 100s received"),
            "{told}"
        );

        let replay = replay(&told);
        let again = report(|| {
            let mut session = Checked::new(replay.config(), replay.seed(), replay.start());
            let (last, calls) = replay.calls().split_last().unwrap();
            for (now, call) in calls {
                let _ = call.make(&mut session, *now);
            }
            mislead(&mut session);
            let _ = last.1.make(&mut session, last.0);
        });
        assert_eq!(again, told);
        let _ = replay.run();
    }

    /// All that is shown of a long run is there; the replay is not, and says so.
    #[test]
    fn a_cut_replay_says_so() {
        let told = report(|| {
            let mut session = misled();
            let _ = session.poll(secs(10));
            session.handle(Event::Connected, secs(11));
            for call in 0..70_000 {
                let now = secs(11).checked_add(Duration::from_micros(call));
                session.handle(Event::Received, now.unwrap());
            }
            while let Some(due) = session.deadline() {
                let _ = session.poll(due);
            }
        });
        let lines: Vec<&str> = told.lines().collect();
        assert_eq!(lines[2], "… 69802 calls before …");
        assert_eq!(lines.len(), 3 + 200 + 2);
        assert_eq!(lines[3], "at 11069801000 ns: Received");
        assert_eq!(
            lines[202],
            "at 131069999000 ns: poll: Some(Close(PeerSilent))"
        );
        assert_eq!(
            lines[203],
            "the replay is cut: the first 65536 of 70003 calls"
        );
        let replay = replay(&told);
        assert_eq!(replay.calls().len(), 65_536);
        assert!(
            replay
                .to_string()
                .starts_with("session client interval=none seed=7 at 10s poll")
        );
    }

    /// The law that a run breaks, and how.
    fn breaks(run: impl FnOnce() + std::panic::UnwindSafe) -> Vec<alloc::string::String> {
        let told = report(run);
        told.lines().take(1).map(Into::into).collect()
    }

    /// A checker that knows what was, of a session that begins anew.
    fn anew(checked: &mut Checked) {
        let other = Checked::new(grace(5), 7, secs(10));
        checked.session = other.session;
        checked.spurious = other.spurious;
        checked.model = other.model;
    }

    #[test]
    fn who_was_shut_down_does_not_return() {
        let told = breaks(|| {
            let mut checked = Checked::new(grace(5), 7, secs(10));
            checked.handle(Event::Shutdown, secs(10));
            anew(&mut checked);
            let _ = checked.poll(secs(10));
        });
        let law = "law 6 (only clients return) is broken: it returns after Shutdown or Rejected";
        assert_eq!(told, [law]);
    }

    #[test]
    fn who_gave_up_says_no_more() {
        let told = breaks(|| {
            let mut checked = Checked::new(grace(5), 7, secs(10));
            checked.handle(Event::Rejected, secs(10));
            assert!(matches!(checked.poll(secs(10)), Some(Action::GiveUp(_))));
            anew(&mut checked);
            let _ = checked.poll(secs(10));
        });
        assert!(
            told[0].ends_with("Connect { attempt: 0 } after GiveUp"),
            "{told:?}"
        );
    }

    #[test]
    fn more_than_three_actions_at_once_are_too_many() {
        let told = breaks(|| {
            let mut checked = Checked::new(grace(5), 7, secs(10));
            for _ in 0..3 {
                assert!(checked.poll(secs(10)).is_some());
                anew(&mut checked);
            }
            let _ = checked.poll(secs(10));
        });
        assert_eq!(told, ["law 10 (total) is broken: 4 actions at once"]);
    }

    #[test]
    fn a_poll_too_many_must_say_nothing() {
        let told = breaks(|| {
            let mut checked = Checked::new(grace(5), 7, secs(10));
            assert!(checked.poll(secs(10)).is_some());
            // The other still owes what this one has said.
            checked.spurious = Session::new(grace(5), 7, secs(10));
            checked.handle(Event::Received, secs(10));
        });
        assert!(told[0].ends_with("at 10s, too early"), "{told:?}");
    }

    #[test]
    fn polls_too_many_must_change_nothing() {
        let told = breaks(|| {
            let config = Config::server()
                .without_interval()
                .without_silence_timeout();
            let mut checked = Checked::new(config.build().unwrap(), 7, secs(10));
            checked.spurious.handle(Event::Resumed, secs(10));
            assert_eq!(checked.spurious.deadline(), checked.deadline());
            checked.handle(Event::Received, secs(10));
        });
        assert!(
            told[0].starts_with("law 8 (quiescence) is broken: polled"),
            "{told:?}"
        );
    }

    #[test]
    fn a_report_says_what_was_forgotten() {
        let told = report(|| {
            let mut session = misled();
            while session.poll(secs(10)).is_some() {}
            session.handle(Event::Connected, secs(11));
            session.forget();
            session.handle(Event::Received, secs(12));
            session.forget();
            while session.poll(secs(132)).is_some() {}
        });
        let lines: Vec<&str> = told.lines().skip(2).collect();
        assert_eq!(
            lines[0],
            "at 132000000000 ns: poll: Some(Close(PeerSilent))"
        );
        let lost = "the replay lacks the first 4 calls, which were forgotten";
        assert_eq!(lines[1], lost);
    }
}
