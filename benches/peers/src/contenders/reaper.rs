//! `nabiz::Reaper`, with and without a server's own heartbeats.

use nabiz::{Config, Key, Reap, Reaper, Timestamp};

use crate::roster::{MILLISECOND, Nanos, Roster, Server};

pub struct ReaperRoster<const BEATS: bool>(Reaper<()>);

/// `Config::server()` without an interval: it reaps, and sends nothing.
pub type Silent = ReaperRoster<false>;
/// `Config::server()`: a heartbeat each 55 s.
pub type Beating = ReaperRoster<true>;

impl<const BEATS: bool> Roster for ReaperRoster<BEATS> {
    const NAME: &'static str = match BEATS {
        false => "nabiz Reaper",
        true => "nabiz Reaper, heartbeats",
    };
    const RESOLUTION: Nanos = 20 * MILLISECOND;

    type Key = Key;
    type Now = Timestamp;

    fn new(capacity: usize) -> Self {
        let presets = Config::server();
        let config = match BEATS {
            false => presets.without_interval().build(),
            true => presets.build(),
        };
        let config = config.expect("presets");
        let reaper = Reaper::new(config, 7, Timestamp::EPOCH).expect("presets");
        Self(reaper.with_capacity(capacity))
    }

    fn now(&self, nanos: Nanos) -> Timestamp {
        Timestamp::from_nanos(nanos).expect("some hours")
    }

    #[inline]
    fn insert(&mut self, _id: u32, now: Timestamp) -> Key {
        self.0.insert((), now)
    }

    #[inline]
    fn touch(&mut self, key: &mut Key, now: Timestamp) {
        self.0.received(*key, now);
    }

    #[inline]
    fn remove(&mut self, key: Key) {
        self.0.remove(key);
    }

    #[inline]
    fn poll(&mut self, now: Timestamp, server: &mut Server<Key>) -> bool {
        match self.0.poll(now) {
            Some(Reap::Heartbeat { key, .. }) => {
                self.0.heartbeat_sent(key, now);
                true
            }
            Some(Reap::Close { key, .. }) => {
                // A roster that nobody left fills its places in turn.
                server.close(key.index() as u32);
                true
            }
            Some(Reap::Yield) => true,
            None => false,
        }
    }
}
