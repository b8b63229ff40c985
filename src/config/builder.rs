//! The setters of a configuration, and the rules that it must keep.

use core::num::NonZeroU16;
use core::time::Duration;

use super::{Config, ConfigError, Evidence, Permille, Role, Rule};
use crate::backoff::Backoff;
use crate::time::{Ratio, Span};

/// A configuration in the making: `const` setters in any order, then
/// [`build`](Self::build). Nothing is silently clamped.
///
/// Every limit that may be absent has a `without_…`, which means *never*.
///
/// ```
/// use core::time::Duration;
/// use nabiz::{Backoff, Config, Jitter};
///
/// let config = Config::client()
///     .with_interval(Duration::from_secs(20))
///     .with_silence_timeout(Duration::from_secs(45))
///     .with_backoff(Backoff::new().with_jitter(Jitter::Equal))
///     .build()?;
/// # Ok::<(), nabiz::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use = "a builder does nothing until `build`"]
pub struct ConfigBuilder {
    config: Config,
    /// What a setter was given that the configuration cannot even hold.
    refused: Option<ConfigError>,
}

const fn secs(secs: u64) -> Span {
    Span::saturating(Duration::from_secs(secs))
}

impl ConfigBuilder {
    pub(super) const fn of(config: Config) -> Self {
        Self {
            config,
            refused: None,
        }
    }

    pub(super) const fn client() -> Self {
        Self::of(Config {
            role: Role::Client,
            connect_timeout: Some(secs(20)),
            backoff: Some(Backoff::new()),
            ..Self::server().config
        })
    }

    pub(super) const fn server() -> Self {
        Self::of(Config {
            role: Role::Server,
            interval: Some(secs(55)),
            interval_jitter: Permille::new(Ratio::percent(10)),
            spread_first_beat: true,
            only_when_idle: true,
            silence_timeout: Some(secs(120)),
            evidence: Evidence::AnyBytes,
            answer_timeout: None,
            max_unanswered: None,
            write_timeout: Some(secs(20)),
            hello_timeout: None,
            connect_timeout: None,
            close_grace: secs(5),
            stall_tolerance: None,
            resume_grace: secs(10),
            probes: 1,
            flood_gap: None,
            flood_strikes: 0,
            max_age: None,
            max_age_jitter: Permille::new(Ratio::ZERO),
            backoff: None,
            stable_after: secs(10),
            max_retry_after: secs(3600),
        })
    }

    /// Send a heartbeat when nothing else was sent for this long. Default
    /// 55 s, just under the 60 s after which common proxies drop a quiet
    /// connection ([nginx](https://nginx.org/en/docs/http/websocket.html), AWS
    /// [Application Load Balancers](https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-load-balancer-attributes.html)).
    pub const fn with_interval(mut self, interval: Duration) -> Self {
        self.config.interval = Some(Span::saturating(interval));
        self
    }

    /// Never send a heartbeat.
    pub const fn without_interval(mut self) -> Self {
        self.config.interval = None;
        self
    }

    /// Shorten each interval by a random part of up to this ratio, below
    /// 100 %. Default 10 %: 49.5–55 s. It only shortens, as in [RFC 5880
    /// §6.8.7](https://www.rfc-editor.org/rfc/rfc5880#section-6.8.7), so that
    /// the interval stays a bound, and it keeps a fleet from beating in step.
    pub const fn with_interval_jitter(mut self, jitter: Ratio) -> Self {
        self.config.interval_jitter = Permille::new(jitter);
        self
    }

    /// Send the first beat of a link after a random part of the interval.
    /// Default yes: a fleet that connected together would otherwise beat
    /// together, and small jitter takes many beats to undo that.
    pub const fn with_spread_first_beat(mut self, spread: bool) -> Self {
        self.config.spread_first_beat = spread;
        self
    }

    /// Count any bytes we send as a heartbeat. Default yes, as in
    /// [STOMP](https://stomp.github.io/stomp-specification-1.2.html#Heart-beating)
    /// and, for whole packets,
    /// [MQTT](https://docs.oasis-open.org/mqtt/mqtt/v3.1.1/os/mqtt-v3.1.1-os.html#_Toc385349238).
    /// Switch it off for peers that want real heartbeats
    /// ([`Evidence::Heartbeats`]).
    pub const fn with_only_when_idle(mut self, only_when_idle: bool) -> Self {
        self.config.only_when_idle = only_when_idle;
        self
    }

    /// Call the peer dead ([`PeerSilent`](crate::CloseReason::PeerSilent))
    /// after this long without evidence of life. Default 120 s: two beats and
    /// a margin. Akin to the *idle timeout* of [RFC 9000
    /// §10.1](https://www.rfc-editor.org/rfc/rfc9000#section-10.1).
    pub const fn with_silence_timeout(mut self, timeout: Duration) -> Self {
        self.config.silence_timeout = Some(Span::saturating(timeout));
        self
    }

    /// Silence alone is no ground to close.
    pub const fn without_silence_timeout(mut self) -> Self {
        self.config.silence_timeout = None;
        self
    }

    /// What counts as evidence of life. Default [`Evidence::AnyBytes`].
    pub const fn with_evidence(mut self, evidence: Evidence) -> Self {
        self.config.evidence = evidence;
        self
    }

    /// For ping/pong protocols: close with
    /// [`NoAnswer`](crate::CloseReason::NoAnswer) this long after the oldest
    /// unanswered heartbeat was flushed; any evidence of life clears it.
    /// Default none. As the keepalive timeout of [gRPC
    /// A8](https://github.com/grpc/proposal/blob/master/A8-client-side-keepalive.md).
    pub const fn with_answer_timeout(mut self, timeout: Duration) -> Self {
        self.config.answer_timeout = Some(Span::saturating(timeout));
        self
    }

    /// No clock runs for answers.
    pub const fn without_answer_timeout(mut self) -> Self {
        self.config.answer_timeout = None;
        self
    }

    /// For ping/pong protocols: close with
    /// [`NoAnswer`](crate::CloseReason::NoAnswer) when a heartbeat falls due
    /// and this many had no evidence of life since; with a driver that polls
    /// less often than that, each of them takes one of its periods. Default
    /// none. As
    /// [`ping_max`](https://docs.nats.io/reference/config/ping_max) of NATS.
    pub const fn with_max_unanswered(mut self, max: u16) -> Self {
        self.config.max_unanswered = NonZeroU16::new(max);
        self.refused = match max {
            0 => Some(ConfigError::new("max_unanswered", Rule::Zero)),
            _ => None,
        };
        self
    }

    /// Unanswered heartbeats are not counted.
    pub const fn without_max_unanswered(mut self) -> Self {
        self.config.max_unanswered = None;
        self.refused = None;
        self
    }

    /// Close with [`WriteStalled`](crate::CloseReason::WriteStalled) when a
    /// heartbeat could not be flushed for this long and no other output moved
    /// either. Default 20 s, the keepalive timeout of gRPC A8. In the spirit
    /// of [RFC 5482](https://www.rfc-editor.org/rfc/rfc5482) (TCP user
    /// timeout).
    pub const fn with_write_timeout(mut self, timeout: Duration) -> Self {
        self.config.write_timeout = Some(Span::saturating(timeout));
        self
    }

    /// A heartbeat may take for ever to be flushed.
    pub const fn without_write_timeout(mut self) -> Self {
        self.config.write_timeout = None;
        self
    }

    /// Close with [`NoHello`](crate::CloseReason::NoHello) when no byte at all
    /// came this long after the link was up. Default none; must be below
    /// `silence_timeout`. Against sockets that connect and say nothing;
    /// compare nginx's [`client_header_timeout`](https://nginx.org/en/docs/http/ngx_http_core_module.html#client_header_timeout),
    /// which bounds the whole header.
    pub const fn with_hello_timeout(mut self, timeout: Duration) -> Self {
        self.config.hello_timeout = Some(Span::saturating(timeout));
        self
    }

    /// The first byte may take as long as any.
    pub const fn without_hello_timeout(mut self) -> Self {
        self.config.hello_timeout = None;
        self
    }

    /// Clients: abandon a dial after this long
    /// ([`ConnectTimeout`](crate::CloseReason::ConnectTimeout); a blocking dial
    /// cannot be interrupted, is given this as its budget, and fails by itself).
    /// Default 20 s,
    /// the least a gRPC client gives a dial
    /// ([`MIN_CONNECT_TIMEOUT`](https://github.com/grpc/grpc/blob/master/doc/connection-backoff.md)).
    pub const fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.config.connect_timeout = Some(Span::saturating(timeout));
        self
    }

    /// A dial may take for ever.
    pub const fn without_connect_timeout(mut self) -> Self {
        self.config.connect_timeout = None;
        self
    }

    /// How long a polite close may take before
    /// [`Abort`](crate::Action::Abort). Default 5 s.
    pub const fn with_close_grace(mut self, grace: Duration) -> Self {
        self.config.close_grace = Span::saturating(grace);
        self
    }

    /// How late a call may come after the deadline before it counts as a stall
    /// of our own, which convicts nobody. Default: a quarter of the shortest
    /// limit that a stall can break (silence, answer, write, hello and connect
    /// timeout; the interval where answers are counted), at most 5 s. A driver
    /// that polls on a fixed period instead of at deadlines sets it above the
    /// period. Cassandra's failure detector has the same guard
    /// ([`MAX_LOCAL_PAUSE`](https://issues.apache.org/jira/browse/CASSANDRA-9183),
    /// 5 s).
    pub const fn with_stall_tolerance(mut self, tolerance: Duration) -> Self {
        self.config.stall_tolerance = Some(Span::saturating(tolerance));
        self
    }

    /// Back to the derived tolerance.
    pub const fn without_stall_tolerance(mut self) -> Self {
        self.config.stall_tolerance = None;
        self
    }

    /// How long at least a suspect peer has to answer a probe. Default 10 s.
    pub const fn with_resume_grace(mut self, grace: Duration) -> Self {
        self.config.resume_grace = Span::saturating(grace);
        self
    }

    /// How many probes a suspect peer is sent, spread over the limit. Default
    /// 1, which is enough where the transport retransmits; more for datagrams.
    pub const fn with_probes(mut self, probes: u8) -> Self {
        self.config.probes = probes;
        self
    }

    /// Close with [`Flooded`](crate::CloseReason::Flooded) a peer whose
    /// heartbeats come too fast: a bucket of `strikes` tokens, one more each
    /// `gap`, one taken by each heartbeat. Default none. As gRPC's
    /// `too_many_pings` (A8), and against the ping floods of
    /// [CVE-2019-9512](https://nvd.nist.gov/vuln/detail/CVE-2019-9512).
    pub const fn with_flood(mut self, gap: Duration, strikes: u32) -> Self {
        self.config.flood_gap = Some(Span::saturating(gap));
        self.config.flood_strikes = strikes;
        self
    }

    /// Heartbeats may come as fast as they like.
    pub const fn without_flood(mut self) -> Self {
        self.config.flood_gap = None;
        self.config.flood_strikes = 0;
        self
    }

    /// Close with [`TooOld`](crate::CloseReason::TooOld) a link of this age.
    /// Default none. Keeps long-lived links rebalancing over a server's
    /// replicas, as `MAX_CONNECTION_AGE` of [gRPC
    /// A9](https://github.com/grpc/proposal/blob/master/A9-server-side-conn-mgt.md).
    pub const fn with_max_age(mut self, age: Duration) -> Self {
        self.config.max_age = Some(Span::saturating(age));
        self
    }

    /// A link may grow as old as it likes.
    pub const fn without_max_age(mut self) -> Self {
        self.config.max_age = None;
        self
    }

    /// Shorten each link's age by a random part of up to this ratio, below
    /// 100 %. Default none. gRPC A9 takes ±10 %.
    pub const fn with_max_age_jitter(mut self, jitter: Ratio) -> Self {
        self.config.max_age_jitter = Permille::new(jitter);
        self
    }

    /// Clients: how to come back. Default [`Backoff::new`].
    pub const fn with_backoff(mut self, backoff: Backoff) -> Self {
        self.config.backoff = Some(backoff);
        self
    }

    /// Do not come back: the session is done when its link ends.
    pub const fn without_backoff(mut self) -> Self {
        self.config.backoff = None;
        self
    }

    /// Clients: attempts start again from the first after a link that lived
    /// this long. Default 10 s, as in the [AWS MQTT
    /// client](https://github.com/awslabs/aws-c-mqtt/pull/212). Without it, a
    /// server that accepts and drops would be tried at the shortest delay for
    /// ever, "thousands of times per second" in one
    /// [report](https://github.com/grpc/grpc-go/issues/1525).
    pub const fn with_stable_after(mut self, stable_after: Duration) -> Self {
        self.config.stable_after = Span::saturating(stable_after);
        self
    }

    /// Clients: the longest [`RetryAfter`](crate::Event::RetryAfter) that is
    /// obeyed. Default 1 h, so that a bad hint ([RFC 9110
    /// §10.2.3](https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3)) cannot
    /// keep a client away for good.
    pub const fn with_max_retry_after(mut self, max: Duration) -> Self {
        self.config.max_retry_after = Span::saturating(max);
        self
    }

    /// Checks the whole.
    ///
    /// # Errors
    /// The first field that breaks a [`Rule`].
    pub const fn build(self) -> Result<Config, ConfigError> {
        match self.check() {
            Ok(()) => Ok(self.config),
            Err(error) => Err(error),
        }
    }

    const fn check(&self) -> Result<(), ConfigError> {
        let config = &self.config;
        let spans = [
            ("interval", config.interval),
            ("silence_timeout", config.silence_timeout),
            ("answer_timeout", config.answer_timeout),
            ("write_timeout", config.write_timeout),
            ("hello_timeout", config.hello_timeout),
            ("connect_timeout", config.connect_timeout),
            ("close_grace", Some(config.close_grace)),
            ("stall_tolerance", config.stall_tolerance),
            ("resume_grace", Some(config.resume_grace)),
            ("flood", config.flood_gap),
            ("max_age", config.max_age),
            ("stable_after", Some(config.stable_after)),
            ("max_retry_after", Some(config.max_retry_after)),
        ];
        let mut rest = spans.as_slice();
        while let [(field, span), others @ ..] = rest {
            if let Some(span) = span {
                if let Err(error) = ConfigError::check_span(field, *span) {
                    return Err(error);
                }
            }
            rest = others;
        }
        if config.flood_gap.is_some() && config.flood_strikes == 0 {
            return Err(ConfigError::new("flood", Rule::Zero));
        }
        if let Some(refused) = self.refused {
            return Err(refused);
        }
        if config.probes == 0 {
            return Err(ConfigError::new("probes", Rule::Zero));
        }
        let one = Ratio::ONE.as_permille();
        if config.interval_jitter.ratio().as_permille() >= one {
            return Err(ConfigError::new("interval_jitter", Rule::NotBelowOne));
        }
        if config.max_age_jitter.ratio().as_permille() >= one {
            return Err(ConfigError::new("max_age_jitter", Rule::NotBelowOne));
        }
        if let (Some(hello), Some(silence)) = (config.hello_timeout, config.silence_timeout) {
            if hello.nanos() >= silence.nanos() {
                return Err(ConfigError::new("hello_timeout", Rule::NotBelowSilence));
            }
        }
        if config.expects_answers() {
            let field = if config.answer_timeout.is_some() {
                "answer_timeout"
            } else {
                "max_unanswered"
            };
            if config.interval.is_none() {
                return Err(ConfigError::new(field, Rule::NeedsInterval));
            }
            if config.write_timeout.is_none() && config.silence_timeout.is_none() {
                return Err(ConfigError::new(field, Rule::Unbounded));
            }
        }
        match (config.role, &config.backoff) {
            (Role::Server, Some(_)) => Err(ConfigError::new("backoff", Rule::OnServer)),
            (Role::Server, None) if config.connect_timeout.is_some() => {
                Err(ConfigError::new("connect_timeout", Rule::OnServer))
            }
            (Role::Client, Some(backoff)) => backoff.check(),
            _ => Ok(()),
        }
    }
}
