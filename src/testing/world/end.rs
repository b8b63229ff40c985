//! What sits at an end of the wire.

use alloc::vec::Vec;

use crate::time::Timestamp;

/// What sits at an end of the wire: your wrapper, or a
/// [`SessionEnd`](super::SessionEnd).
///
/// It does no I/O and reads no clock: it is told what happened, and asked what
/// to do. `now` is the time by its own end's clock, which a
/// [`Plan`](super::Plan) can make jump.
///
/// The world keeps a driver's side of the bargain: it delivers all that has
/// arrived before it polls, polls until there is nothing left, and wakes the
/// end at its deadline. It also holds the end to its own side, and panics if
/// the end
/// - writes, closes or aborts where there is no link, or closes twice,
/// - dials while it has a link or a dial, or dials at the server,
/// - never runs out of deeds at one instant, or has nothing to do though its
///   deadline is past.
///
/// See the [module](super) for an example. What is added to this trait later has
/// a default.
pub trait Endpoint {
    /// The dial succeeded; told to the client alone. A server's end is made
    /// when its link is accepted, and starts with it.
    fn connected(&mut self, now: Timestamp);

    /// The dial failed.
    fn dial_failed(&mut self, now: Timestamp);

    /// These bytes came. On a stream they are those of several writes at times.
    fn received(&mut self, bytes: &[u8], now: Timestamp);

    /// Everything written so far is flushed.
    fn flushed(&mut self, now: Timestamp);

    /// The transport is gone, whoever ended it; also what a [`Deed::Close`]
    /// comes to, but not a [`Deed::Abort`].
    fn disconnected(&mut self, now: Timestamp);

    /// What to do now, until it is `None`.
    fn poll(&mut self, now: Timestamp) -> Option<Deed>;

    /// When to poll again, if nothing happens before.
    fn deadline(&self) -> Option<Timestamp>;
}

/// What an end asks its driver to do.
///
/// ```
/// use nabiz::testing::world::Deed;
///
/// let ping = Deed::Write(b"PING\r\n".to_vec());
/// assert_ne!(ping, Deed::Close);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[must_use = "a deed that is dropped is not done"]
pub enum Deed {
    /// Dial; told as [`connected`](Endpoint::connected) or
    /// [`dial_failed`](Endpoint::dial_failed).
    Dial,
    /// Write these bytes; told as [`flushed`](Endpoint::flushed).
    Write(Vec<u8>),
    /// Close politely, after what was written, or abandon the dial; told as
    /// [`disconnected`](Endpoint::disconnected).
    Close,
    /// Drop the transport at once, with what is not flushed; not told.
    Abort,
}
