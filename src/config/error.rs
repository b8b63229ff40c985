//! Why a configuration, or a pair of them, is refused.

use core::error::Error;
use core::fmt;
use core::time::Duration;

use crate::time::Span;

/// A configuration that was refused: the field, and the rule it breaks.
///
/// ```
/// use core::time::Duration;
/// use nabiz::{Config, Rule};
///
/// let error = Config::client().with_interval(Duration::ZERO).build().unwrap_err();
/// assert_eq!((error.field(), error.rule()), ("interval", Rule::Zero));
/// assert_eq!(error.to_string(), "interval must not be zero");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConfigError {
    field: &'static str,
    rule: Rule,
}

impl ConfigError {
    pub(crate) const fn new(field: &'static str, rule: Rule) -> Self {
        Self { field, rule }
    }

    pub(crate) const fn check_span(field: &'static str, span: Span) -> Result<(), Self> {
        if span.nanos() == Span::ZERO.nanos() {
            Err(Self::new(field, Rule::Zero))
        } else if span.nanos() == Span::TOO_LONG.nanos() {
            Err(Self::new(field, Rule::TooLong))
        } else {
            Ok(())
        }
    }

    /// The field's name, as in the setter `with_…`.
    #[must_use]
    pub const fn field(&self) -> &'static str {
        self.field
    }

    /// The rule that it breaks.
    #[must_use]
    pub const fn rule(&self) -> Rule {
        self.rule
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field, self.rule)
    }
}

impl Error for ConfigError {}

/// What every configuration keeps to. See [`ConfigError`].
///
/// ```
/// use nabiz::{Backoff, Config, Rule};
///
/// let error = Config::server().with_backoff(Backoff::new()).build().unwrap_err();
/// assert_eq!(error.rule(), Rule::OnServer);
/// assert_eq!(error.rule().to_string(), "is for clients: a server does not dial");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// A span or a count of zero would act at once, for ever. "Never" is said
    /// by `without_…`.
    Zero,
    /// Longer than a [`Timestamp`](crate::Timestamp) can tell, about 584 years.
    TooLong,
    /// A multiplier below 1 would come back faster after every failure.
    BelowOne,
    /// A proportion above 100 % would make delays negative.
    AboveOne,
    /// A jitter of 100 % could shorten a span to nothing.
    NotBelowOne,
    /// The cap on delays is below the first of them.
    BelowInitial,
    /// The first byte may not take as long as silence may.
    NotBelowSilence,
    /// Answers are expected, but no heartbeat is ever sent.
    NeedsInterval,
    /// Answers are expected, with neither `write_timeout` nor
    /// `silence_timeout`: a heartbeat that is never flushed would end nothing.
    Unbounded,
    /// A server neither dials nor comes back.
    OnServer,
    /// Only a client stays connected.
    NotClient,
    /// A roster is a server's.
    NotServer,
    /// A roster does not tell which answer is whose.
    NotInRoster,
    /// More than 2²⁸ ticks, of which there are two to four in a resolution:
    /// 26 days at 20 ms.
    TooLongForResolution,
    /// The resolution is set before the first connection comes.
    AfterInsert,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Zero => "must not be zero",
            Self::TooLong => "must be shorter than 584 years",
            Self::BelowOne => "must be at least 1",
            Self::AboveOne => "must be at most 100%",
            Self::NotBelowOne => "must be below 100%",
            Self::BelowInitial => "must not be below the initial delay",
            Self::NotBelowSilence => "must be below silence_timeout",
            Self::NeedsInterval => "needs an interval: no heartbeat is sent that could be answered",
            Self::Unbounded => {
                "needs write_timeout or silence_timeout: a heartbeat never flushed would end nothing"
            }
            Self::OnServer => "is for clients: a server does not dial",
            Self::NotClient => "must be client: a server does not dial",
            Self::NotServer => "must be server: a roster is a server's",
            Self::NotInRoster => "is not for a roster: use a session for each connection",
            Self::TooLongForResolution => "is too long for so fine a resolution",
            Self::AfterInsert => "must be set before the first connection comes",
        })
    }
}

/// One of the two ends of a connection, in [`Incompatible`].
///
/// ```
/// use nabiz::End;
///
/// assert_eq!(End::Peers.to_string(), "the peer's");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// The configuration that was asked.
    Ours,
    /// The one it was compared with.
    Peers,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ours => "our",
            Self::Peers => "the peer's",
        })
    }
}

/// Two configurations that would lose a healthy link, from
/// [`Config::compatible_with`](crate::Config::compatible_with).
///
/// ```
/// use core::time::Duration;
/// use nabiz::Config;
///
/// let client = Config::client().build()?; // beats every 55 s
/// let server = Config::server()
///     .with_silence_timeout(Duration::from_secs(55))
///     .build()?;
/// assert_eq!(
///     client.compatible_with(&server).unwrap_err().to_string(),
///     "the peer's silence_timeout of 55s leaves no margin over an interval of 55s: \
///      at least 82.5s",
/// );
/// # Ok::<(), nabiz::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Incompatible {
    /// A limit is below 1.5 × the interval of the beats that must meet it:
    /// the first delayed packet loses the link.
    #[non_exhaustive]
    NoMargin {
        /// Whose limit it is.
        end: End,
        /// Which limit.
        field: &'static str,
        /// How long it is.
        limit: Duration,
        /// The interval it is held against.
        interval: Duration,
    },
    /// A limit waits for beats that nobody sends.
    #[non_exhaustive]
    NoBeats {
        /// Whose limit it is.
        end: End,
        /// Which limit.
        field: &'static str,
    },
    /// Only recognised heartbeats count as evidence
    /// ([`Evidence::Heartbeats`](crate::Evidence::Heartbeats)), but the other
    /// end sends none while other traffic flows (`only_when_idle`).
    #[non_exhaustive]
    Suppressed {
        /// Whose evidence it is.
        end: End,
    },
}

impl fmt::Display for Incompatible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMargin {
                end,
                field,
                limit,
                interval,
            } => {
                let least = Span::saturating(*interval).scaled(3, 2).duration();
                write!(
                    f,
                    "{end} {field} of {limit:?} leaves no margin over an interval of {interval:?}: \
                     at least {least:?}"
                )
            }
            Self::NoBeats { end, field } => {
                write!(f, "{end} {field} waits for beats that nobody sends")
            }
            Self::Suppressed { end } => write!(
                f,
                "{end} evidence is heartbeats alone, and the other end sends none while it is busy: \
                 switch its only_when_idle off"
            ),
        }
    }
}

impl Error for Incompatible {}

#[cfg(test)]
mod tests {
    extern crate alloc;
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn each_refusal_says_what_it_wants() {
        let error = |rule| ConfigError::new("flood", rule).to_string();
        assert_eq!(error(Rule::AboveOne), "flood must be at most 100%");
        assert_eq!(error(Rule::BelowOne), "flood must be at least 1");
        assert_eq!(
            error(Rule::NotBelowSilence),
            "flood must be below silence_timeout"
        );
        let told = Incompatible::NoBeats {
            end: End::Ours,
            field: "silence_timeout",
        };
        assert_eq!(
            told.to_string(),
            "our silence_timeout waits for beats that nobody sends"
        );
        let told = Incompatible::Suppressed { end: End::Peers }.to_string();
        assert!(told.starts_with("the peer's evidence is"), "{told}");
    }
}
