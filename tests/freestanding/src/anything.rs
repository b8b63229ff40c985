//! Any configuration, any events, any times. What comes out is not checked
//! here: that no panic can come out is what the link proves.

use core::hint::black_box;
use core::time::Duration;

use nabiz::{
    Action, Backoff, Config, ConfigBuilder, Event, Evidence, HeartbeatId, Jitter, Limits, Offer,
    Phase, Ratio, Session, Timestamp,
};

use crate::Failure;

/// Numbers of all magnitudes, of which the optimiser knows nothing.
struct Source(u64);

impl Source {
    fn next(&mut self) -> u64 {
        // Marsaglia's xorshift.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        black_box(self.0)
    }

    fn number(&mut self) -> u64 {
        let magnitude = self.next() & 63;
        self.next() >> magnitude
    }

    #[allow(clippy::cast_possible_truncation)]
    fn short(&mut self) -> u32 {
        self.number() as u32
    }

    fn coin(&mut self) -> bool {
        self.next() & 1 == 0
    }

    fn duration(&mut self) -> Duration {
        match self.next() & 31 {
            0 => Duration::MAX,
            1 => Duration::ZERO,
            _ => Duration::from_nanos(self.number()),
        }
    }

    fn maybe(&mut self) -> Option<Duration> {
        self.coin().then(|| self.duration())
    }

    fn ratio(&mut self) -> Ratio {
        Ratio::permille(self.short())
    }

    fn time(&mut self) -> Timestamp {
        Timestamp::from_nanos(self.number()).unwrap_or(Timestamp::MAX)
    }

    fn backoff(&mut self) -> Backoff {
        let jitter = match self.next() & 7 {
            0 => Jitter::None,
            1 => Jitter::Proportional(self.ratio()),
            2 => Jitter::Equal,
            3 => Jitter::Decorrelated,
            _ => Jitter::Full,
        };
        Backoff::new()
            .with_initial(self.duration())
            .with_max(self.duration())
            .with_multiplier(self.ratio())
            .with_max_attempts(self.short())
            .with_jitter(jitter)
    }

    /// Each field is left alone or set; most are left alone, or too few would
    /// be valid.
    fn config(&mut self) -> ConfigBuilder {
        let mut config = if self.coin() {
            Config::client()
        } else {
            Config::server()
        };
        for _ in 0..self.next() & 7 {
            config = self.field(config);
        }
        config
    }

    #[allow(clippy::cast_possible_truncation)]
    fn field(&mut self, config: ConfigBuilder) -> ConfigBuilder {
        match self.next() & 31 {
            0 => config.with_interval(self.duration()),
            1 => config.without_interval(),
            2 => config.with_interval_jitter(self.ratio()),
            3 => config.with_spread_first_beat(self.coin()),
            4 => config.with_only_when_idle(self.coin()),
            5 => config.with_silence_timeout(self.duration()),
            6 => config.without_silence_timeout(),
            7 => config.with_evidence(Evidence::Heartbeats),
            8 => config.with_evidence(Evidence::AnyBytes),
            9 => config.with_answer_timeout(self.duration()),
            10 => config.with_max_unanswered(self.short() as u16),
            11 => config.with_write_timeout(self.duration()),
            12 => config.without_write_timeout(),
            13 => config.with_hello_timeout(self.duration()),
            14 => config.with_connect_timeout(self.duration()),
            15 => config.without_connect_timeout(),
            16 => config.with_close_grace(self.duration()),
            17 => config.with_stall_tolerance(self.duration()),
            18 => config.with_resume_grace(self.duration()),
            19 => config.with_probes(self.short() as u8),
            20 => config.with_flood(self.duration(), self.short()),
            21 => config.with_max_age(self.duration()),
            22 => config.with_max_age_jitter(self.ratio()),
            23 => config.with_backoff(self.backoff()),
            24 => config.without_backoff(),
            25 => config.with_stable_after(self.duration()),
            26 => config.with_max_retry_after(self.duration()),
            _ => config,
        }
    }

    fn event(&mut self) -> Event {
        match self.next() & 15 {
            0 | 1 => Event::Connected,
            2 => Event::ConnectFailed,
            3 => Event::HeartbeatReceived,
            4 => Event::AnswerReceived { id: None },
            5 => Event::AnswerReceived {
                id: Some(HeartbeatId::from_bytes(self.short().to_be_bytes())),
            },
            6 => Event::Sent,
            7 => Event::HeartbeatSent,
            8 => Event::Disconnected,
            9 => Event::RetryAfter(self.duration()),
            10 => match self.next() & 15 {
                0 => Event::Rejected,
                1 => Event::Shutdown,
                2 => Event::Drain,
                _ => Event::Received,
            },
            11 => Event::Resumed,
            _ => Event::Received,
        }
    }
}

/// The delays of any policy, to any attempt.
pub(crate) fn delays() -> Result<(), Failure> {
    let mut source = Source(black_box(3));
    for _ in 0..black_box(200) {
        let policy = source.backoff();
        let Ok(mut delays) = policy.delays(source.next()) else {
            continue;
        };
        for _ in 0..source.next() & 127 {
            let Some(delay) = delays.next() else { break };
            let bounded = !matches!(policy.jitter(), Jitter::Proportional(_));
            if bounded && delay > policy.max() {
                return Err(Failure::Delay);
            }
        }
        delays.reset();
    }
    Ok(())
}

/// A session of any configuration through any events.
pub(crate) fn sessions() -> Result<(), Failure> {
    let mut source = Source(black_box(1));
    for _ in 0..black_box(5_000) {
        let Ok(config) = source.config().build() else {
            continue;
        };
        if let Ok(peer) = source.config().build() {
            black_box(config.compatible_with(&peer).is_ok());
        }
        let start = source.time();
        session(
            Session::new(config, source.next(), start),
            start,
            &mut source,
        )?;
    }
    Ok(())
}

fn session(mut session: Session, mut now: Timestamp, source: &mut Source) -> Result<(), Failure> {
    for _ in 0..100 {
        now = match source.next() & 7 {
            0 => source.time(),
            1 | 2 => now.checked_add(source.duration()).unwrap_or(Timestamp::MAX),
            3 | 4 => now,
            _ => session.deadline().unwrap_or(now),
        };
        match source.next() & 15 {
            0 => {
                black_box(session.set_limits(limits(source), now).is_ok());
            }
            1 => {
                black_box(session.status(now));
            }
            2..=9 => session.handle(source.event(), now),
            _ => actions(&mut session, now, source)?,
        }
    }
    Ok(())
}

fn limits(source: &mut Source) -> Limits {
    let limits = Limits {
        interval: source.maybe(),
        silence_timeout: source.maybe(),
        answer_timeout: source.maybe(),
    };
    if source.coin() {
        let ours = Offer::from_millis(source.number(), source.number());
        let theirs = Offer::from_millis(source.number(), source.number());
        return ours.agree(theirs).limits(limits, source.ratio());
    }
    limits
}

fn actions(session: &mut Session, now: Timestamp, source: &mut Source) -> Result<(), Failure> {
    // Few actions ever wait.
    for _ in 0..8 {
        match session.poll(now) {
            None => {
                black_box((session.deadline(), session.is_suspect(), session.phase()));
                return Ok(());
            }
            Some(Action::Connect { .. }) if source.coin() => {
                session.handle(Event::Connected, now);
            }
            Some(Action::SendHeartbeat { .. }) if source.coin() => {
                session.handle(Event::HeartbeatSent, now);
            }
            Some(Action::Close(_)) if source.coin() => {
                session.handle(Event::Disconnected, now);
            }
            Some(_) => {}
        }
        if session.phase() == Phase::Done {
            return Ok(());
        }
    }
    Err(Failure::Endless)
}
