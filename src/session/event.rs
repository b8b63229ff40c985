//! What goes into a session, and what comes out.

use core::fmt;
use core::time::Duration;

/// What happened, for [`Session::handle`](crate::Session::handle).
///
/// An event in a phase where it means nothing is ignored, so drivers need not
/// keep track.
///
/// ```
/// use core::time::Duration;
/// use nabiz::{Action, Backoff, Config, Event, Jitter, Session, Timestamp};
///
/// let now = Timestamp::EPOCH;
/// let exact = Backoff::new().with_jitter(Jitter::None);
/// let config = Config::client().with_backoff(exact).build()?;
/// let mut session = Session::new(config, 7, now);
/// assert_eq!(session.poll(now), Some(Action::Connect { attempt: 0 }));
/// session.handle(Event::ConnectFailed, now);
/// let after = Duration::from_secs(1);
/// assert_eq!(session.poll(now), Some(Action::Reconnect { after, attempt: 1 }));
/// # Ok::<(), nabiz::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Event {
    /// The dial succeeded. Counts only after a
    /// [`Connect`](Action::Connect), and starts every clock afresh.
    Connected,
    /// The dial failed.
    ConnectFailed,
    /// Any bytes came, a partial frame too.
    Received,
    /// They were the peer's heartbeat. Implies [`Received`](Self::Received);
    /// counted against the flood limit.
    HeartbeatReceived,
    /// They answered our heartbeat. Implies [`Received`](Self::Received).
    AnswerReceived {
        /// Which one, where the protocol echoes it.
        id: Option<HeartbeatId>,
    },
    /// Bytes of ours were flushed: handed to the transport in full or in part.
    Sent,
    /// The heartbeat asked for was flushed. Implies [`Sent`](Self::Sent).
    HeartbeatSent,
    /// The transport is gone, whoever did it.
    Disconnected,
    /// The peer asked us to stay away for so long: a floor for the next delay,
    /// with jitter on top, because identical hints would bring a fleet back
    /// together.
    RetryAfter(Duration),
    /// Coming back is pointless: bad credentials, a wrong version.
    Rejected,
    /// The machine slept, the network changed, the tab is visible again, or
    /// the user asks to retry now. Tells the session what its clock cannot.
    Resumed,
    /// The user is done. Final.
    Shutdown,
    /// Our side is being emptied: closes an open link, then goes on as after
    /// any end.
    Drain,
}

/// What to do, from [`Session::poll`](crate::Session::poll).
///
/// Exhaustive on purpose: a wildcard that swallows a new duty would be a
/// silent bug.
///
/// ```
/// use nabiz::Action;
///
/// fn describe(action: Action) -> String {
///     match action {
///         Action::Connect { attempt } => format!("dial, attempt {attempt}"),
///         Action::SendHeartbeat { id } => format!("write heartbeat {id}"),
///         Action::Close(reason) => format!("close: {reason}"),
///         Action::Abort => "drop it".into(),
///         Action::Reconnect { after, .. } => format!("back in {after:?}"),
///         Action::GiveUp(reason) => format!("for good: {reason}"),
///     }
/// }
/// assert_eq!(describe(Action::Connect { attempt: 0 }), "dial, attempt 0");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use = "an action that is dropped is not done"]
pub enum Action {
    /// Dial, and report [`Connected`](Event::Connected) or
    /// [`ConnectFailed`](Event::ConnectFailed). Dial at no other time.
    Connect {
        /// 0 for the first dial, then counted from the last stable link.
        attempt: u32,
    },
    /// Write the heartbeat, and report
    /// [`HeartbeatSent`](Event::HeartbeatSent) when it is flushed.
    SendHeartbeat {
        /// For protocols that echo it.
        id: HeartbeatId,
    },
    /// Close the transport politely, or abandon the dial, and report
    /// [`Disconnected`](Event::Disconnected).
    Close(CloseReason),
    /// Drop the transport at once: it was not closed within `close_grace`.
    /// Report nothing; later events of that transport are the driver's to
    /// drop.
    Abort,
    /// Tell the user. [`Connect`](Self::Connect) follows when it is due.
    Reconnect {
        /// Counted from the poll that returned this.
        after: Duration,
        /// The number of the dial to come.
        attempt: u32,
    },
    /// Tell the user. The last action of all.
    GiveUp(GiveUpReason),
}

/// The number of a heartbeat of ours, 4 bytes, for protocols that echo it.
///
/// ```
/// use nabiz::HeartbeatId;
///
/// let id = HeartbeatId::from_bytes([0, 0, 0, 7]);
/// assert_eq!(id.get(), 7);
/// assert_eq!(id.to_bytes(), [0, 0, 0, 7]);
/// assert_eq!(id.to_string(), "7");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HeartbeatId(pub(super) u32);

impl HeartbeatId {
    /// The number as it goes over the wire, big-endian.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 4] {
        self.0.to_be_bytes()
    }

    /// The number as it came over the wire.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 4]) -> Self {
        Self(u32::from_be_bytes(bytes))
    }

    /// The number: 1 for the session's first heartbeat.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for HeartbeatId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Why a session closes its link. The earliest limit wins.
///
/// ```
/// use nabiz::CloseReason;
///
/// assert_eq!(CloseReason::PeerSilent.to_string(), "PeerSilent");
/// assert!(CloseReason::PeerSilent.is_liveness());
/// assert!(!CloseReason::Draining.is_liveness());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// No evidence of life for `silence_timeout`.
    PeerSilent,
    /// Heartbeats went unanswered (`answer_timeout`, `max_unanswered`).
    NoAnswer,
    /// No byte at all within `hello_timeout`.
    NoHello,
    /// The dial took longer than `connect_timeout`.
    ConnectTimeout,
    /// A heartbeat could not be flushed within `write_timeout`: our output
    /// stalled, which is not the peer's silence.
    WriteStalled,
    /// The peer's heartbeats came too fast (`flood`).
    Flooded,
    /// The link reached `max_age`.
    TooOld,
    /// [`Event::Drain`].
    Draining,
    /// [`Event::Rejected`].
    Rejected,
    /// [`Event::Shutdown`].
    Shutdown,
}

impl CloseReason {
    /// Whether it says that the peer is dead or unreachable; then a polite
    /// close has nobody to be polite to.
    #[must_use]
    pub const fn is_liveness(self) -> bool {
        matches!(
            self,
            Self::PeerSilent | Self::NoAnswer | Self::NoHello | Self::WriteStalled
        )
    }
}

/// The name of the variant.
impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// How a link, or an attempt at one, ended.
///
/// ```
/// use nabiz::{CloseReason, EndReason};
///
/// assert_eq!(EndReason::Closed(CloseReason::TooOld).to_string(), "TooOld");
/// assert_eq!(EndReason::Disconnected.to_string(), "Disconnected");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndReason {
    /// The session closed it.
    Closed(CloseReason),
    /// The transport went away by itself: the peer closed, or it broke.
    Disconnected,
    /// The dial failed.
    ConnectFailed,
}

/// The name of the innermost variant: `PeerSilent`, `Disconnected`.
impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(reason) => fmt::Display::fmt(reason, f),
            other => fmt::Debug::fmt(other, f),
        }
    }
}

/// Why a client gave up.
///
/// ```
/// use nabiz::{Action, Config, Event, GiveUpReason, Session, Timestamp};
///
/// let now = Timestamp::EPOCH;
/// let mut session = Session::new(Config::client().build()?, 7, now);
/// session.handle(Event::Rejected, now);
/// assert_eq!(session.poll(now), Some(Action::GiveUp(GiveUpReason::Rejected)));
/// # Ok::<(), nabiz::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GiveUpReason {
    /// [`Event::Rejected`].
    Rejected,
    /// `max_attempts` of the backoff were made in a row.
    AttemptsExhausted,
}

/// The name of the variant.
impl fmt::Display for GiveUpReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
