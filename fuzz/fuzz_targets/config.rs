//! Any setters with any values: a configuration is refused for a rule that it
//! breaks, or keeps them all, is what was asked for, and has a text. The rules
//! are written down here once more, from their documentation.

#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use nabiz::testing::Replay;
use nabiz::{
    Backoff, Config, ConfigBuilder, ConfigError, End, Evidence, Incompatible, Jitter, Limits,
    Ratio, Role, Rule, Session, Timestamp,
};

/// The longest time that a configuration holds.
const LONGEST: Duration = Duration::from_nanos(u64::MAX - 2);
const NANO: Duration = Duration::from_nanos(1);

/// What was asked of a builder.
#[derive(Clone, Copy, Debug)]
struct Asked {
    role: Role,
    interval: Option<Duration>,
    interval_jitter: Ratio,
    spread_first_beat: bool,
    only_when_idle: bool,
    silence_timeout: Option<Duration>,
    evidence: Evidence,
    answer_timeout: Option<Duration>,
    max_unanswered: Option<u16>,
    write_timeout: Option<Duration>,
    hello_timeout: Option<Duration>,
    connect_timeout: Option<Duration>,
    close_grace: Duration,
    stall_tolerance: Option<Duration>,
    resume_grace: Duration,
    probes: u8,
    flood: Option<(Duration, u32)>,
    max_age: Option<Duration>,
    max_age_jitter: Ratio,
    backoff: Option<Policy>,
    stable_after: Duration,
    max_retry_after: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Policy {
    initial: Duration,
    multiplier: Ratio,
    max: Duration,
    jitter: Jitter,
    max_attempts: Option<u32>,
}

impl Policy {
    /// 1 s × 1.6 to 120 s, full jitter, attempts without end.
    const USUAL: Self = Self {
        initial: Duration::from_secs(1),
        multiplier: Ratio::permille(1600),
        max: Duration::from_secs(120),
        jitter: Jitter::Full,
        max_attempts: None,
    };

    fn backoff(&self) -> Backoff {
        let backoff = Backoff::new()
            .with_initial(self.initial)
            .with_multiplier(self.multiplier)
            .with_max(self.max)
            .with_jitter(self.jitter);
        match self.max_attempts {
            Some(most) => backoff.with_max_attempts(most),
            None => backoff.without_max_attempts(),
        }
    }
}

impl Asked {
    fn new(role: Role) -> Self {
        let secs = Duration::from_secs;
        Self {
            role,
            interval: Some(secs(55)),
            interval_jitter: Ratio::percent(10),
            spread_first_beat: true,
            only_when_idle: true,
            silence_timeout: Some(secs(120)),
            evidence: Evidence::AnyBytes,
            answer_timeout: None,
            max_unanswered: None,
            write_timeout: Some(secs(20)),
            hello_timeout: None,
            connect_timeout: (role == Role::Client).then_some(secs(20)),
            close_grace: secs(5),
            stall_tolerance: None,
            resume_grace: secs(10),
            probes: 1,
            flood: None,
            max_age: None,
            max_age_jitter: Ratio::ZERO,
            backoff: (role == Role::Client).then_some(Policy::USUAL),
            stable_after: secs(10),
            max_retry_after: secs(3600),
        }
    }

    /// Asks for a field, one way or another.
    fn ask(&mut self, builder: ConfigBuilder, bytes: &mut Bytes<'_>) -> ConfigBuilder {
        macro_rules! maybe {
            ($field:ident, $with:ident, $without:ident) => {{
                self.$field = bytes.maybe();
                match self.$field {
                    Some(value) => builder.$with(value),
                    None => builder.$without(),
                }
            }};
        }
        macro_rules! always {
            ($field:ident, $with:ident, $value:expr) => {{
                self.$field = $value;
                builder.$with(self.$field)
            }};
        }
        match bytes.byte() % 22 {
            0 => maybe!(interval, with_interval, without_interval),
            1 => always!(interval_jitter, with_interval_jitter, bytes.ratio()),
            2 => always!(spread_first_beat, with_spread_first_beat, bytes.odd()),
            3 => always!(only_when_idle, with_only_when_idle, bytes.odd()),
            4 => maybe!(
                silence_timeout,
                with_silence_timeout,
                without_silence_timeout
            ),
            5 => {
                let evidence = if bytes.odd() {
                    Evidence::Heartbeats
                } else {
                    Evidence::AnyBytes
                };
                always!(evidence, with_evidence, evidence)
            }
            6 => maybe!(answer_timeout, with_answer_timeout, without_answer_timeout),
            7 => {
                self.max_unanswered = bytes.odd().then(|| u16::from(bytes.byte() % 4));
                match self.max_unanswered {
                    Some(most) => builder.with_max_unanswered(most),
                    None => builder.without_max_unanswered(),
                }
            }
            8 => maybe!(write_timeout, with_write_timeout, without_write_timeout),
            9 => maybe!(hello_timeout, with_hello_timeout, without_hello_timeout),
            10 => maybe!(
                connect_timeout,
                with_connect_timeout,
                without_connect_timeout
            ),
            11 => always!(close_grace, with_close_grace, bytes.span()),
            12 => maybe!(
                stall_tolerance,
                with_stall_tolerance,
                without_stall_tolerance
            ),
            13 => always!(resume_grace, with_resume_grace, bytes.span()),
            14 => always!(probes, with_probes, bytes.byte()),
            15 => {
                self.flood = bytes.maybe().map(|gap| (gap, u32::from(bytes.byte() % 4)));
                match self.flood {
                    Some((gap, strikes)) => builder.with_flood(gap, strikes),
                    None => builder.without_flood(),
                }
            }
            16 => maybe!(max_age, with_max_age, without_max_age),
            17 => always!(max_age_jitter, with_max_age_jitter, bytes.ratio()),
            18 => always!(stable_after, with_stable_after, bytes.span()),
            19 => always!(max_retry_after, with_max_retry_after, bytes.span()),
            20 => {
                self.backoff = None;
                builder.without_backoff()
            }
            _ => {
                let policy = bytes.policy();
                self.backoff = Some(policy);
                builder.with_backoff(policy.backoff())
            }
        }
    }

    const fn expects_answers(&self) -> bool {
        self.answer_timeout.is_some() || matches!(self.max_unanswered, Some(1..))
    }

    /// The rules that are broken, all of them.
    fn broken(&self) -> Vec<(&'static str, Rule)> {
        let mut broken = Vec::new();
        let mut refuse = |is_broken: bool, field, rule| {
            if is_broken {
                broken.push((field, rule));
            }
        };
        for (field, span) in [
            ("interval", self.interval),
            ("silence_timeout", self.silence_timeout),
            ("answer_timeout", self.answer_timeout),
            ("write_timeout", self.write_timeout),
            ("hello_timeout", self.hello_timeout),
            ("connect_timeout", self.connect_timeout),
            ("close_grace", Some(self.close_grace)),
            ("stall_tolerance", self.stall_tolerance),
            ("resume_grace", Some(self.resume_grace)),
            ("flood", self.flood.map(|(gap, _)| gap)),
            ("max_age", self.max_age),
            ("stable_after", Some(self.stable_after)),
            ("max_retry_after", Some(self.max_retry_after)),
        ] {
            refuse(span == Some(Duration::ZERO), field, Rule::Zero);
            refuse(span > Some(LONGEST), field, Rule::TooLong);
        }
        refuse(matches!(self.flood, Some((_, 0))), "flood", Rule::Zero);
        refuse(self.max_unanswered == Some(0), "max_unanswered", Rule::Zero);
        refuse(self.probes == 0, "probes", Rule::Zero);
        for (field, jitter) in [
            ("interval_jitter", self.interval_jitter),
            ("max_age_jitter", self.max_age_jitter),
        ] {
            refuse(jitter >= Ratio::ONE, field, Rule::NotBelowOne);
        }
        if let (Some(hello), Some(silence)) = (self.hello_timeout, self.silence_timeout) {
            refuse(hello >= silence, "hello_timeout", Rule::NotBelowSilence);
        }
        if self.expects_answers() {
            let field = match self.answer_timeout {
                Some(_) => "answer_timeout",
                None => "max_unanswered",
            };
            refuse(self.interval.is_none(), field, Rule::NeedsInterval);
            let ends = self.write_timeout.or(self.silence_timeout);
            refuse(ends.is_none(), field, Rule::Unbounded);
        }
        if self.role == Role::Server {
            refuse(self.backoff.is_some(), "backoff", Rule::OnServer);
            refuse(
                self.connect_timeout.is_some(),
                "connect_timeout",
                Rule::OnServer,
            );
        } else if let Some(policy) = self.backoff {
            for (field, span) in [
                ("backoff.initial", policy.initial),
                ("backoff.max", policy.max),
            ] {
                refuse(span.is_zero(), field, Rule::Zero);
                refuse(span > LONGEST, field, Rule::TooLong);
            }
            refuse(
                policy.max < policy.initial,
                "backoff.max",
                Rule::BelowInitial,
            );
            let is_below = policy.multiplier < Ratio::ONE;
            refuse(is_below, "backoff.multiplier", Rule::BelowOne);
            let is_none = policy.max_attempts == Some(0);
            refuse(is_none, "backoff.max_attempts", Rule::Zero);
            if let Jitter::Proportional(part) = policy.jitter {
                refuse(part > Ratio::ONE, "backoff.jitter", Rule::AboveOne);
            }
        }
        broken
    }

    /// Changes the field that an error names, and nothing else, so that its
    /// rule is kept.
    fn mend(&mut self, builder: ConfigBuilder, error: ConfigError) -> ConfigBuilder {
        let span = match error.rule() {
            Rule::Zero => NANO,
            _ => LONGEST,
        };
        macro_rules! maybe {
            ($field:ident, $with:ident, $without:ident) => {
                match error.rule() {
                    Rule::Zero | Rule::TooLong => {
                        self.$field = Some(span);
                        builder.$with(span)
                    }
                    Rule::NeedsInterval | Rule::Unbounded | Rule::OnServer => {
                        self.$field = None;
                        builder.$without()
                    }
                    rule => panic!("{}: {rule:?}", error.field()),
                }
            };
        }
        macro_rules! always {
            ($field:ident, $with:ident, $value:expr) => {{
                self.$field = $value;
                builder.$with(self.$field)
            }};
        }
        let below_one = Ratio::permille(999);
        match error.field() {
            "interval" => maybe!(interval, with_interval, without_interval),
            "silence_timeout" => {
                maybe!(
                    silence_timeout,
                    with_silence_timeout,
                    without_silence_timeout
                )
            }
            "answer_timeout" => maybe!(answer_timeout, with_answer_timeout, without_answer_timeout),
            "write_timeout" => maybe!(write_timeout, with_write_timeout, without_write_timeout),
            "connect_timeout" => {
                maybe!(
                    connect_timeout,
                    with_connect_timeout,
                    without_connect_timeout
                )
            }
            "hello_timeout" if error.rule() == Rule::NotBelowSilence => {
                let silence = self.silence_timeout.unwrap();
                self.hello_timeout = silence.checked_sub(NANO).filter(|span| !span.is_zero());
                match self.hello_timeout {
                    Some(timeout) => builder.with_hello_timeout(timeout),
                    None => builder.without_hello_timeout(),
                }
            }
            "hello_timeout" => maybe!(hello_timeout, with_hello_timeout, without_hello_timeout),
            "max_unanswered" if error.rule() == Rule::Zero => {
                self.max_unanswered = Some(1);
                builder.with_max_unanswered(1)
            }
            "max_unanswered" => {
                self.max_unanswered = None;
                builder.without_max_unanswered()
            }
            "close_grace" => always!(close_grace, with_close_grace, span),
            "stall_tolerance" => {
                maybe!(
                    stall_tolerance,
                    with_stall_tolerance,
                    without_stall_tolerance
                )
            }
            "resume_grace" => always!(resume_grace, with_resume_grace, span),
            "probes" => always!(probes, with_probes, 1),
            "flood" => {
                let (gap, strikes) = self.flood.unwrap();
                let (gap, strikes) = (gap.clamp(NANO, LONGEST), strikes.max(1));
                self.flood = Some((gap, strikes));
                builder.with_flood(gap, strikes)
            }
            "max_age" => maybe!(max_age, with_max_age, without_max_age),
            "interval_jitter" => always!(interval_jitter, with_interval_jitter, below_one),
            "max_age_jitter" => always!(max_age_jitter, with_max_age_jitter, below_one),
            "stable_after" => always!(stable_after, with_stable_after, span),
            "max_retry_after" => always!(max_retry_after, with_max_retry_after, span),
            "backoff" => {
                self.backoff = None;
                builder.without_backoff()
            }
            field => {
                let policy = self.backoff.as_mut().unwrap();
                match (field, error.rule()) {
                    ("backoff.initial", _) => policy.initial = span,
                    ("backoff.max", Rule::BelowInitial) => policy.max = policy.initial,
                    ("backoff.max", _) => policy.max = span,
                    ("backoff.multiplier", _) => policy.multiplier = Ratio::ONE,
                    ("backoff.max_attempts", _) => policy.max_attempts = Some(1),
                    ("backoff.jitter", _) => policy.jitter = Jitter::Proportional(Ratio::ONE),
                    _ => panic!("no such field: {field}"),
                }
                builder.with_backoff(policy.backoff())
            }
        }
    }

    /// The tolerance that is documented, if none was asked for.
    fn tolerance(&self) -> Duration {
        let counted = self.max_unanswered.and(self.interval);
        let limits = [
            self.silence_timeout,
            self.answer_timeout,
            self.write_timeout,
            self.hello_timeout,
            self.connect_timeout,
            counted,
        ];
        let shortest = limits.into_iter().flatten().min().unwrap_or(Duration::MAX);
        let derived = (shortest / 4).min(Duration::from_secs(5));
        self.stall_tolerance.unwrap_or(derived)
    }

    /// The configuration is what was asked for.
    fn check(&self, config: &Config) {
        assert_eq!(config.role(), self.role);
        assert_eq!(config.interval(), self.interval);
        assert_eq!(config.interval_jitter(), self.interval_jitter);
        assert_eq!(config.spread_first_beat(), self.spread_first_beat);
        assert_eq!(config.only_when_idle(), self.only_when_idle);
        assert_eq!(config.silence_timeout(), self.silence_timeout);
        assert_eq!(config.evidence(), self.evidence);
        assert_eq!(config.answer_timeout(), self.answer_timeout);
        assert_eq!(config.max_unanswered(), self.max_unanswered);
        assert_eq!(config.write_timeout(), self.write_timeout);
        assert_eq!(config.hello_timeout(), self.hello_timeout);
        assert_eq!(config.connect_timeout(), self.connect_timeout);
        assert_eq!(config.close_grace(), self.close_grace);
        assert_eq!(config.stall_tolerance(), self.tolerance());
        assert_eq!(config.resume_grace(), self.resume_grace);
        assert_eq!(config.probes(), self.probes);
        assert_eq!(config.flood(), self.flood);
        assert_eq!(config.max_age(), self.max_age);
        assert_eq!(config.max_age_jitter(), self.max_age_jitter);
        assert_eq!(
            config.backoff(),
            self.backoff.map(|policy| policy.backoff())
        );
        assert_eq!(config.stable_after(), self.stable_after);
        assert_eq!(config.max_retry_after(), self.max_retry_after);
        if let (Some(policy), Some(backoff)) = (self.backoff, config.backoff()) {
            assert_eq!(backoff.initial(), policy.initial);
            assert_eq!(backoff.multiplier(), policy.multiplier);
            assert_eq!(backoff.max(), policy.max);
            assert_eq!(backoff.jitter(), policy.jitter);
            let max_attempts = policy.max_attempts.filter(|most| *most < u32::MAX);
            assert_eq!(backoff.max_attempts(), max_attempts);
        }
    }

    /// What `self` cannot bear of its peer, in whole nanoseconds.
    fn unbearable(&self, peer: &Self, end: End) -> Vec<(End, &'static str)> {
        let mut found = Vec::new();
        let is_suppressed = peer.interval.is_some() && peer.only_when_idle;
        if self.evidence == Evidence::Heartbeats
            && self.silence_timeout.is_some()
            && is_suppressed
            && !self.expects_answers()
        {
            found.push((end, "evidence"));
        }
        let answers = self.interval.filter(|_| self.expects_answers());
        let beats = [peer.interval, answers].into_iter().flatten().min();
        for (field, limit) in [
            ("silence_timeout", self.silence_timeout),
            ("hello_timeout", self.hello_timeout),
        ] {
            let margin = beats.map(|beats| beats.as_nanos() * 3 / 2);
            match (limit, margin) {
                (Some(limit), Some(margin)) if limit.as_nanos() >= margin => {}
                (Some(_), _) => found.push((end, field)),
                (None, _) => {}
            }
        }
        found
    }
}

/// Numbers from the input, zeroes when it is used up.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn odd(&mut self) -> bool {
        self.byte() % 2 == 1
    }

    /// Sensible and not.
    fn span(&mut self) -> Duration {
        match self.byte() {
            0 => Duration::ZERO,
            byte @ 1..=9 => Duration::from_nanos(u64::from(byte)),
            byte @ 10..=19 => Duration::from_nanos(u64::MAX - u64::from(byte - 10)),
            20..=29 => Duration::MAX,
            byte @ 30..=49 => Duration::from_nanos(u64::from(self.byte()) << (byte - 30)),
            byte @ 50..=59 => Duration::from_secs(u64::from(self.byte()) << ((byte - 50) * 4)),
            byte => Duration::from_millis(u64::from(byte - 59) * 500),
        }
    }

    fn maybe(&mut self) -> Option<Duration> {
        (self.byte() >= 64).then(|| self.span())
    }

    fn ratio(&mut self) -> Ratio {
        Ratio::permille(match self.byte() {
            byte @ 0..=9 => 995 + u32::from(byte),
            byte @ 10..=19 => u32::MAX - u32::from(byte - 10),
            byte => u32::from(byte) * 8,
        })
    }

    fn policy(&mut self) -> Policy {
        let jitter = match self.byte() % 5 {
            0 => Jitter::None,
            1 => Jitter::Proportional(self.ratio()),
            2 => Jitter::Equal,
            3 => Jitter::Full,
            _ => Jitter::Decorrelated,
        };
        Policy {
            initial: self.span(),
            multiplier: self.ratio(),
            max: self.span(),
            jitter,
            max_attempts: match self.byte() {
                0..=99 => None,
                100..=109 => Some(0),
                110..=119 => Some(u32::MAX),
                most => Some(u32::from(most)),
            },
        }
    }
}

/// A configuration by any way, mended if it was refused.
fn configured(bytes: &mut Bytes<'_>) -> (Asked, Config) {
    let (mut builder, mut asked) = if bytes.odd() {
        (Config::server(), Asked::new(Role::Server))
    } else {
        (Config::client(), Asked::new(Role::Client))
    };
    for _ in 0..bytes.byte() % 32 {
        builder = asked.ask(builder, bytes);
    }
    let mut seen = Vec::new();
    loop {
        let broken = asked.broken();
        let error = match builder.build() {
            Ok(config) => {
                assert_eq!(broken, [], "{asked:?}");
                return (asked, config);
            }
            Err(error) => error,
        };
        let why = (error.field(), error.rule());
        assert!(broken.contains(&why), "{error}: {asked:?}");
        assert!(!seen.contains(&why), "{error} again: {asked:?}");
        seen.push(why);
        builder = asked.mend(builder, error);
        assert!(!asked.broken().contains(&why), "{error} still: {asked:?}");
    }
}

fn limited(config: Config, limits: Limits) -> Result<Config, ConfigError> {
    let builder = config.to_builder();
    let builder = match limits.interval {
        Some(interval) => builder.with_interval(interval),
        None => builder.without_interval(),
    };
    let builder = match limits.silence_timeout {
        Some(timeout) => builder.with_silence_timeout(timeout),
        None => builder.without_silence_timeout(),
    };
    match limits.answer_timeout {
        Some(timeout) => builder.with_answer_timeout(timeout),
        None => builder.without_answer_timeout(),
    }
    .build()
}

fuzz_target!(|bytes: &[u8]| {
    let mut bytes = Bytes(bytes);
    let (asked, config) = configured(&mut bytes);
    asked.check(&config);
    assert_eq!(config.to_builder().build(), Ok(config));

    let replay = Replay::new(config, u64::from(bytes.byte()), Timestamp::EPOCH);
    assert_eq!(replay.to_string().parse(), Ok(replay));

    let limits = Limits {
        interval: bytes.maybe(),
        silence_timeout: bytes.maybe(),
        answer_timeout: bytes.maybe(),
    };
    let mut session = Session::new(config, 7, Timestamp::EPOCH);
    let settled = session.set_limits(limits, Timestamp::EPOCH);
    let built = limited(config, limits);
    assert_eq!(settled, built.map(|_| ()));
    assert_eq!(*session.config(), built.unwrap_or(config));

    let (peer_asked, peer) = configured(&mut bytes);
    for (asked, config, peer_asked, peer) in [
        (&asked, config, &peer_asked, peer),
        (&peer_asked, peer, &asked, config),
        (&asked, config, &asked, config),
    ] {
        let mut unbearable = asked.unbearable(peer_asked, End::Ours);
        unbearable.extend(peer_asked.unbearable(asked, End::Peers));
        let found = match config.compatible_with(&peer) {
            Ok(()) => None,
            Err(
                Incompatible::NoMargin { end, field, .. }
                | Incompatible::NoBeats { end, field, .. },
            ) => Some((end, field)),
            Err(Incompatible::Suppressed { end, .. }) => Some((end, "evidence")),
            Err(other) => panic!("{other}"),
        };
        assert_eq!(
            found.is_none(),
            unbearable.is_empty(),
            "{config:?} {peer:?}"
        );
        if let Some(found) = found {
            assert!(
                unbearable.contains(&found),
                "{found:?}: {config:?} {peer:?}"
            );
        }
    }
});
