//! `moka::sync::Cache` with `time_to_idle`. It is made to be shared between
//! threads, which costs something, and reads the machine's clock.

use std::time::Duration;

use moka::sync::Cache;

use crate::roster::{Nanos, Roster, Scope, Server};

pub struct MokaRoster(Cache<u32, ()>);

impl Roster for MokaRoster {
    const NAME: &'static str = "moka";
    const CRATE: Option<&'static str> = Some("moka");
    const SCOPE: Scope = Scope::NothingExpires;

    type Key = u32;
    type Now = ();

    fn new(capacity: usize) -> Self {
        // Longer than any run, for nothing is to expire in the middle of one.
        Self::idle_for(Duration::from_secs(24 * 3600), capacity)
    }

    fn now(&self, _nanos: Nanos) {}

    #[inline]
    fn insert(&mut self, id: u32, _now: ()) -> u32 {
        self.0.insert(id, ());
        id
    }

    #[inline]
    fn touch(&mut self, key: &mut u32, _now: ()) {
        self.0.get(key);
    }

    #[inline]
    fn remove(&mut self, key: u32) {
        self.0.invalidate(&key);
    }

    // What touches leave behind for later is done here, or in them.
    fn poll(&mut self, _now: (), _server: &mut Server<u32>) -> bool {
        self.0.run_pending_tasks();
        false
    }
}

impl MokaRoster {
    fn idle_for(idle: Duration, capacity: usize) -> Self {
        let builder = Cache::builder().time_to_idle(idle);
        Self(builder.initial_capacity(capacity).build())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_silent_is_dropped() {
        let idle = Duration::from_millis(500);
        let mut roster = MokaRoster::idle_for(idle, 1000);
        for id in 0..1000 {
            roster.insert(id, ());
        }
        std::thread::sleep(idle / 2);
        for mut id in (0..1000).step_by(2) {
            roster.touch(&mut id, ());
        }
        std::thread::sleep(idle * 3 / 4);
        assert!((0..1000).all(|id| roster.0.contains_key(&id) == (id % 2 == 0)));
    }
}
