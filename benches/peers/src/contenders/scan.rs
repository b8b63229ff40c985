//! The classic way: a `HashMap` of when each was last heard of, and a look at
//! all of them every ten seconds.

use std::collections::HashMap;

use crate::roster::{LIMIT, Nanos, Roster, SECOND, Server};

const PERIOD: Nanos = 10 * SECOND;

pub struct ScanRoster {
    heard: HashMap<u32, Nanos>,
    next: Nanos,
}

impl Roster for ScanRoster {
    const NAME: &'static str = "HashMap, scanned each 10 s";
    const RESOLUTION: Nanos = PERIOD;

    type Key = u32;
    type Now = Nanos;

    fn new(capacity: usize) -> Self {
        Self {
            heard: HashMap::with_capacity(capacity),
            next: PERIOD,
        }
    }

    fn now(&self, nanos: Nanos) -> Nanos {
        nanos
    }

    #[inline]
    fn insert(&mut self, id: u32, now: Nanos) -> u32 {
        self.heard.insert(id, now);
        id
    }

    #[inline]
    fn touch(&mut self, key: &mut u32, now: Nanos) {
        if let Some(heard) = self.heard.get_mut(key) {
            *heard = now;
        }
    }

    #[inline]
    fn remove(&mut self, key: u32) {
        self.heard.remove(&key);
    }

    #[inline]
    fn poll(&mut self, now: Nanos, server: &mut Server<u32>) -> bool {
        if now < self.next {
            return false;
        }
        self.next = now + PERIOD;
        self.heard.retain(|id, heard| {
            let is_alive = now < *heard + LIMIT;
            if !is_alive {
                server.close(*id);
            }
            is_alive
        });
        false
    }
}
