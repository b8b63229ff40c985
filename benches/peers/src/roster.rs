//! What every contender does: the same few verbs.

use std::time::Duration;

/// An instant in nanoseconds since the roster was made.
pub type Nanos = u64;

pub const SECOND: Nanos = 1_000_000_000;
pub const MILLISECOND: Nanos = 1_000_000;

/// A connection is closed when nothing came for this long.
pub const LIMIT: Nanos = 120 * SECOND;
pub const LIMIT_DURATION: Duration = Duration::from_nanos(LIMIT);

/// Which measures make sense for a contender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Everything,
    /// It reads the machine's clock, so nothing expires in virtual time.
    NothingExpires,
    /// The bare stores that no roster can do without.
    TouchOnly,
}

/// A roster of connections that are closed when they are silent for
/// [`LIMIT`].
pub trait Roster {
    const NAME: &'static str;
    /// The crate whose version is told with the name.
    const CRATE: Option<&'static str> = None;
    const SCOPE: Scope = Scope::Everything;
    /// How late it may close, by its own rules.
    #[cfg_attr(not(test), expect(dead_code))]
    const RESOLUTION: Nanos = MILLISECOND;

    /// What the caller keeps with each connection, to name it by.
    type Key;
    /// An instant as the contender wants it. A server reads its clock once
    /// for many packets, so making one is not measured.
    type Now: Copy;

    /// An empty roster, with room for so many where room can be made.
    fn new(capacity: usize) -> Self;
    fn now(&self, nanos: Nanos) -> Self::Now;
    fn insert(&mut self, id: u32, now: Self::Now) -> Self::Key;
    fn touch(&mut self, key: &mut Self::Key, now: Self::Now);
    fn remove(&mut self, key: Self::Key);
    /// Moves the clock that the contender reads itself; not measured.
    fn turn(&mut self, _now: Self::Now) {}
    /// One call of what must be called from time to time. Says whether to
    /// call again at once.
    fn poll(&mut self, now: Self::Now, server: &mut Server<Self::Key>) -> bool;
}

/// The server's side: a key for each connection, and who was closed.
pub struct Server<K> {
    pub keys: Vec<Option<K>>,
    pub closed: Vec<u32>,
}

impl<K> Server<K> {
    pub fn new(connections: usize) -> Self {
        // Written once, so that no page fault falls into a measure.
        let mut closed = vec![1; connections];
        closed.clear();
        Self {
            keys: std::iter::repeat_with(|| None).take(connections).collect(),
            closed,
        }
    }

    /// The roster says that a connection is silent.
    #[inline]
    pub fn close(&mut self, id: u32) {
        self.closed.push(id);
    }

    /// The key of a closed connection, for those that want it back.
    #[inline]
    pub fn take(&mut self, id: u32) -> Option<K> {
        self.keys.get_mut(id as usize)?.take()
    }
}
