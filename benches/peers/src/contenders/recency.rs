//! `lru::LruCache`, whose least recently used entry is the first to expire
//! where all share one timeout.

use std::num::NonZeroUsize;

use lru::LruCache;

use crate::roster::{LIMIT, Nanos, Roster, Server};

pub struct RecencyRoster(LruCache<u32, Nanos>);

impl Roster for RecencyRoster {
    const NAME: &'static str = "lru";
    const CRATE: Option<&'static str> = Some("lru");

    type Key = u32;
    type Now = Nanos;

    fn new(capacity: usize) -> Self {
        let capacity = NonZeroUsize::new(capacity).unwrap_or(NonZeroUsize::MIN);
        Self(LruCache::new(capacity))
    }

    fn now(&self, nanos: Nanos) -> Nanos {
        nanos
    }

    #[inline]
    fn insert(&mut self, id: u32, now: Nanos) -> u32 {
        self.0.put(id, now + LIMIT);
        id
    }

    #[inline]
    fn touch(&mut self, key: &mut u32, now: Nanos) {
        if let Some(deadline) = self.0.get_mut(key) {
            *deadline = now + LIMIT;
        }
    }

    #[inline]
    fn remove(&mut self, key: u32) {
        self.0.pop(&key);
    }

    #[inline]
    fn poll(&mut self, now: Nanos, server: &mut Server<u32>) -> bool {
        let is_due = |(_, deadline): &(&u32, &Nanos)| **deadline <= now;
        if self.0.peek_lru().filter(is_due).is_none() {
            return false;
        }
        if let Some((id, _)) = self.0.pop_lru() {
            server.close(id);
        }
        true
    }
}
