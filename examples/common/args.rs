//! The configuration as flags: one flag a field.

use std::time::Duration;

use clap::{Args, ValueEnum};
use nabiz::{Backoff, Config, ConfigBuilder, ConfigError, Evidence, Jitter, Ratio};

use crate::bytes::{Bytes, unescape};

/// What a program runs on.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// Threads and blocking sockets
    Blocking,
    /// Tasks on tokio
    Tokio,
    /// Tasks on smol
    Smol,
}

/// The fields that both ends have.
#[derive(Args, Clone, Debug)]
pub struct SessionArgs {
    /// The bytes of our heartbeat; escapes: \n \r \t \0 \\ \xNN
    #[arg(long, value_name = "BYTES", default_value = r"ping\n", value_parser = unescape)]
    #[arg(help_heading = "Heartbeats")]
    pub heartbeat: Bytes,

    /// Send a heartbeat when nothing else was sent for this long; none: never
    #[arg(long, value_name = "TIME|none", default_value = "55s", value_parser = or_none(time))]
    #[arg(help_heading = "Heartbeats")]
    interval: OrNone<Duration>,

    /// Shorten each interval by a random part of up to this
    #[arg(long, value_name = "RATIO", default_value = "10%", value_parser = ratio)]
    #[arg(help_heading = "Heartbeats")]
    interval_jitter: Ratio,

    /// Send the first heartbeat of a connection after a random part of the interval
    #[arg(long, value_name = "BOOL", default_value = "true", action = clap::ArgAction::Set)]
    #[arg(help_heading = "Heartbeats")]
    spread_first_beat: bool,

    /// Count any bytes we send as a heartbeat
    #[arg(long, value_name = "BOOL", default_value = "true", action = clap::ArgAction::Set)]
    #[arg(help_heading = "Heartbeats")]
    only_when_idle: bool,

    /// Call the peer dead after this long without evidence of life
    #[arg(long, value_name = "TIME|none", default_value = "120s", value_parser = or_none(time))]
    #[arg(help_heading = "Verdicts")]
    silence_timeout: OrNone<Duration>,

    /// What counts as evidence of life
    #[arg(
        long,
        value_enum,
        default_value = "any-bytes",
        help_heading = "Verdicts"
    )]
    evidence: EvidenceArg,

    /// Close when a heartbeat could not be written for this long
    #[arg(long, value_name = "TIME|none", default_value = "20s", value_parser = or_none(time))]
    #[arg(help_heading = "Verdicts")]
    write_timeout: OrNone<Duration>,

    /// Close when the first byte takes longer than this
    #[arg(long, value_name = "TIME|none", default_value = "none", value_parser = or_none(time))]
    #[arg(help_heading = "Verdicts")]
    hello_timeout: OrNone<Duration>,

    /// Close a peer whose heartbeats come too fast: it has a bucket of
    /// --flood-strikes of them, and gets another each such gap
    #[arg(long, value_name = "TIME", value_parser = time, requires = "flood_strikes")]
    #[arg(help_heading = "Verdicts")]
    flood_gap: Option<Duration>,

    /// How many heartbeats may come at once; see --flood-gap
    #[arg(long, value_name = "COUNT", requires = "flood_gap")]
    #[arg(help_heading = "Verdicts")]
    flood_strikes: Option<u32>,

    /// Close a connection of this age
    #[arg(long, value_name = "TIME|none", default_value = "none", value_parser = or_none(time))]
    #[arg(help_heading = "Verdicts")]
    max_age: OrNone<Duration>,

    /// Shorten each connection's age by a random part of up to this
    #[arg(long, value_name = "RATIO", default_value = "0%", value_parser = ratio)]
    #[arg(help_heading = "Verdicts")]
    max_age_jitter: Ratio,

    /// How long a polite close may take
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = time)]
    #[arg(help_heading = "Verdicts")]
    close_grace: Duration,

    /// How late we may run before it counts as a stall of our own, for which
    /// the peer is not blamed [default: a quarter of the shortest limit, at
    /// most 5s]
    #[arg(long, value_name = "TIME", value_parser = time)]
    #[arg(help_heading = "Stalls")]
    stall_tolerance: Option<Duration>,

    /// How long at least a peer has to answer after a stall of ours
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    #[arg(help_heading = "Stalls")]
    resume_grace: Duration,

    /// How many heartbeats ask it, spread over that time
    #[arg(
        long,
        value_name = "COUNT",
        default_value = "1",
        help_heading = "Stalls"
    )]
    probes: u8,
}

impl SessionArgs {
    /// # Errors
    /// As [`ConfigBuilder::build`].
    pub fn server(&self) -> Result<Config, ConfigError> {
        self.apply(Config::server()).build()
    }

    fn apply(&self, config: ConfigBuilder) -> ConfigBuilder {
        let config = match self.interval.0 {
            Some(interval) => config.with_interval(interval),
            None => config.without_interval(),
        };
        let config = match self.silence_timeout.0 {
            Some(timeout) => config.with_silence_timeout(timeout),
            None => config.without_silence_timeout(),
        };
        let config = match self.write_timeout.0 {
            Some(timeout) => config.with_write_timeout(timeout),
            None => config.without_write_timeout(),
        };
        let config = match self.hello_timeout.0 {
            Some(timeout) => config.with_hello_timeout(timeout),
            None => config.without_hello_timeout(),
        };
        let config = match self.max_age.0 {
            Some(age) => config.with_max_age(age),
            None => config.without_max_age(),
        };
        let config = match (self.flood_gap, self.flood_strikes) {
            (Some(gap), Some(strikes)) => config.with_flood(gap, strikes),
            _ => config.without_flood(),
        };
        let config = match self.stall_tolerance {
            Some(tolerance) => config.with_stall_tolerance(tolerance),
            None => config.without_stall_tolerance(),
        };
        config
            .with_interval_jitter(self.interval_jitter)
            .with_spread_first_beat(self.spread_first_beat)
            .with_only_when_idle(self.only_when_idle)
            .with_evidence(match self.evidence {
                EvidenceArg::AnyBytes => Evidence::AnyBytes,
                EvidenceArg::Heartbeats => Evidence::Heartbeats,
            })
            .with_close_grace(self.close_grace)
            .with_resume_grace(self.resume_grace)
            .with_probes(self.probes)
            .with_max_age_jitter(self.max_age_jitter)
    }
}

/// The fields that only `keep` has: a client's, and those for answers, which a
/// roster cannot tell from each other.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Coming back")]
pub struct ClientArgs {
    /// Close this long after the oldest unanswered heartbeat was sent
    #[arg(long, value_name = "TIME|none", default_value = "none", value_parser = or_none(time))]
    #[arg(help_heading = "Verdicts")]
    answer_timeout: OrNone<Duration>,

    /// Close when a heartbeat falls due and this many went unanswered
    #[arg(long, value_name = "COUNT|none", default_value = "none", value_parser = or_none(count::<u16>))]
    #[arg(help_heading = "Verdicts")]
    max_unanswered: OrNone<u16>,

    /// Abandon a dial after this long
    #[arg(long, value_name = "TIME|none", default_value = "20s", value_parser = or_none(time))]
    connect_timeout: OrNone<Duration>,

    /// Whether to come back at all
    #[arg(long, value_enum, default_value = "exponential")]
    backoff: BackoffArg,

    /// The first delay, before jitter
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = time)]
    backoff_initial: Duration,

    /// What each delay is multiplied by for the next
    #[arg(long, value_name = "RATIO", default_value = "1.6", value_parser = ratio)]
    backoff_multiplier: Ratio,

    /// The longest delay, before jitter
    #[arg(long, value_name = "TIME", default_value = "120s", value_parser = time)]
    backoff_max: Duration,

    /// How delays are spread: none, equal, full, decorrelated, or ± a ratio
    /// such as 20%
    #[arg(long, value_name = "JITTER", default_value = "full", value_parser = jitter)]
    backoff_jitter: Jitter,

    /// Give up after this many attempts in a row
    #[arg(long, value_name = "COUNT|none", default_value = "none", value_parser = or_none(count::<u32>))]
    backoff_max_attempts: OrNone<u32>,

    /// Attempts start again from the first after a connection that lived this
    /// long
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    stable_after: Duration,

    /// The longest wait that a server may ask for (keep speaks no protocol in
    /// which one does)
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = time)]
    max_retry_after: Duration,
}

impl ClientArgs {
    /// # Errors
    /// As [`ConfigBuilder::build`].
    pub fn client(&self, session: &SessionArgs) -> Result<Config, ConfigError> {
        let config = session.apply(Config::client());
        let config = match self.answer_timeout.0 {
            Some(timeout) => config.with_answer_timeout(timeout),
            None => config.without_answer_timeout(),
        };
        let config = match self.max_unanswered.0 {
            Some(max) => config.with_max_unanswered(max),
            None => config.without_max_unanswered(),
        };
        let config = match self.connect_timeout.0 {
            Some(timeout) => config.with_connect_timeout(timeout),
            None => config.without_connect_timeout(),
        };
        let config = match self.backoff {
            BackoffArg::Exponential => config.with_backoff(self.policy()),
            BackoffArg::None => config.without_backoff(),
        };
        config
            .with_stable_after(self.stable_after)
            .with_max_retry_after(self.max_retry_after)
            .build()
    }

    fn policy(&self) -> Backoff {
        let policy = Backoff::new()
            .with_initial(self.backoff_initial)
            .with_multiplier(self.backoff_multiplier)
            .with_max(self.backoff_max)
            .with_jitter(self.backoff_jitter);
        match self.backoff_max_attempts.0 {
            Some(max) => policy.with_max_attempts(max),
            None => policy.without_max_attempts(),
        }
    }
}

#[derive(ValueEnum, Clone, Copy, Debug)]
enum EvidenceArg {
    /// Whatever comes
    AnyBytes,
    /// Recognised heartbeats and answers alone
    Heartbeats,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
enum BackoffArg {
    /// After delays that grow; the flags below say how
    Exponential,
    /// Never: end when the connection ends
    None,
}

/// A value, or `none`. (To clap, an `Option` is a flag that may be absent.)
#[derive(Clone, Copy, Debug)]
struct OrNone<T>(Option<T>);

fn or_none<T>(
    parse: impl Fn(&str) -> Result<T, String> + Clone,
) -> impl Fn(&str) -> Result<OrNone<T>, String> + Clone {
    move |text| match text {
        "none" => Ok(OrNone(None)),
        text => parse(text).map(Some).map(OrNone),
    }
}

/// `500ms`, `5s`, `1m 30s`.
///
/// # Errors
/// Where it is no time.
pub fn time(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("expected a time such as 500ms or 5s ({error})"))
}

fn count<T: std::str::FromStr<Err: ToString>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

/// `10%` or `0.1`, in steps of a thousandth.
fn ratio(text: &str) -> Result<Ratio, String> {
    let (number, unit) = match text.strip_suffix('%') {
        Some(percent) => (percent, 10.0),
        None => (text, 1000.0),
    };
    let number: f64 = number
        .parse()
        .map_err(|_| "expected a number such as 1.6 or 10%")?;
    let permille = number * unit;
    if !(0.0..=f64::from(u32::MAX)).contains(&permille) {
        return Err("out of range".into());
    }
    if (permille - permille.round()).abs() > 1e-6 {
        return Err("finer than 0.1%".into());
    }
    Ok(Ratio::permille(permille.round() as u32))
}

fn jitter(text: &str) -> Result<Jitter, String> {
    Ok(match text {
        "none" => Jitter::None,
        "equal" => Jitter::Equal,
        "full" => Jitter::Full,
        "decorrelated" => Jitter::Decorrelated,
        text => Jitter::Proportional(
            ratio(text).map_err(|_| "expected none, equal, full, decorrelated, or a ratio")?,
        ),
    })
}

/// `HOST:PORT`; an IPv6 address in brackets.
///
/// # Errors
/// Where one of them is missing.
pub fn endpoint(text: &str) -> Result<String, String> {
    let (host, port) = text.rsplit_once(':').ok_or("expected HOST:PORT")?;
    port.parse::<u16>()
        .map_err(|_| format!("{port:?} is no port"))?;
    let bare = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    if host.is_empty() || (host.contains(':') && bare.is_none()) {
        return Err("expected HOST:PORT, an IPv6 address in brackets".into());
    }
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Both {
        #[command(flatten)]
        session: SessionArgs,
        #[command(flatten)]
        client: ClientArgs,
    }

    fn client(flags: &[&str]) -> Config {
        let args = Both::parse_from([&["test"], flags].concat());
        args.client.client(&args.session).unwrap()
    }

    #[test]
    fn no_flags_are_the_presets() {
        let args = Both::parse_from(["test"]);
        assert_eq!(args.session.server(), Config::server().build());
        assert_eq!(
            args.client.client(&args.session),
            Config::client().build(),
            "the defaults that --help shows"
        );
    }

    #[test]
    fn every_flag_sets_its_field() {
        let flags = "--interval 2s --interval-jitter 12.5% --spread-first-beat false \
            --only-when-idle false --silence-timeout 1m --evidence heartbeats \
            --answer-timeout 3s --max-unanswered 4 --write-timeout 5s --hello-timeout 6s \
            --flood-gap 7s --flood-strikes 8 --max-age 9s --max-age-jitter 0.1 \
            --close-grace 10s --stall-tolerance 1500ms --resume-grace 12s --probes 13 \
            --connect-timeout 14s --backoff-initial 15s --backoff-multiplier 1.7 \
            --backoff-max 18s --backoff-jitter 20% --backoff-max-attempts 19 \
            --stable-after 20s --max-retry-after 21s";
        let secs = Duration::from_secs;
        let expected = Config::client()
            .with_interval(secs(2))
            .with_interval_jitter(Ratio::permille(125))
            .with_spread_first_beat(false)
            .with_only_when_idle(false)
            .with_silence_timeout(secs(60))
            .with_evidence(Evidence::Heartbeats)
            .with_answer_timeout(secs(3))
            .with_max_unanswered(4)
            .with_write_timeout(secs(5))
            .with_hello_timeout(secs(6))
            .with_flood(secs(7), 8)
            .with_max_age(secs(9))
            .with_max_age_jitter(Ratio::percent(10))
            .with_close_grace(secs(10))
            .with_stall_tolerance(Duration::from_millis(1500))
            .with_resume_grace(secs(12))
            .with_probes(13)
            .with_connect_timeout(secs(14))
            .with_backoff(
                Backoff::new()
                    .with_initial(secs(15))
                    .with_multiplier(Ratio::permille(1700))
                    .with_max(secs(18))
                    .with_jitter(Jitter::Proportional(Ratio::percent(20)))
                    .with_max_attempts(19),
            )
            .with_stable_after(secs(20))
            .with_max_retry_after(secs(21))
            .build()
            .unwrap();
        let flags: Vec<_> = flags.split_whitespace().collect();
        assert_eq!(client(&flags), expected);
    }

    #[test]
    fn none_is_never() {
        let config = client(&[
            "--interval=none",
            "--silence-timeout=none",
            "--write-timeout=none",
            "--connect-timeout=none",
            "--backoff=none",
        ]);
        assert_eq!(config.interval(), None);
        assert_eq!(config.silence_timeout(), None);
        assert_eq!(config.write_timeout(), None);
        assert_eq!(config.connect_timeout(), None);
        assert_eq!(config.backoff(), None);
    }

    #[test]
    fn ratios() {
        assert_eq!(ratio("1.6"), Ok(Ratio::permille(1600)));
        assert_eq!(ratio("0.1%"), Ok(Ratio::permille(1)));
        for wrong in ["", "%", "-1", "NaN", "inf", "0.05%", "1.0001", "1e9"] {
            assert!(ratio(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn endpoints() {
        for right in ["localhost:1", "127.0.0.1:65535", "[::1]:80"] {
            assert_eq!(endpoint(right).as_deref(), Ok(right));
        }
        for wrong in [
            "",
            "localhost",
            ":80",
            "a:",
            "a:x",
            "a:65536",
            "::1",
            "::1:80",
        ] {
            assert!(endpoint(wrong).is_err(), "{wrong:?}");
        }
    }
}
