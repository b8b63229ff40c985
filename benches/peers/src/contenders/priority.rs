//! `priority_queue::PriorityQueue`, with the hasher that its documentation
//! proposes for speed.

use std::cmp::Reverse;

use hashbrown::DefaultHashBuilder;
use priority_queue::PriorityQueue;

use crate::roster::{LIMIT, Nanos, Roster, Server};

pub struct PriorityRoster(PriorityQueue<u32, Reverse<Nanos>, DefaultHashBuilder>);

impl Roster for PriorityRoster {
    const NAME: &'static str = "priority-queue";
    const CRATE: Option<&'static str> = Some("priority-queue");

    type Key = u32;
    type Now = Nanos;

    fn new(capacity: usize) -> Self {
        Self(PriorityQueue::with_capacity_and_default_hasher(capacity))
    }

    fn now(&self, nanos: Nanos) -> Nanos {
        nanos
    }

    #[inline]
    fn insert(&mut self, id: u32, now: Nanos) -> u32 {
        self.0.push(id, Reverse(now + LIMIT));
        id
    }

    #[inline]
    fn touch(&mut self, key: &mut u32, now: Nanos) {
        self.0.change_priority(key, Reverse(now + LIMIT));
    }

    #[inline]
    fn remove(&mut self, key: u32) {
        self.0.remove(&key);
    }

    #[inline]
    fn poll(&mut self, now: Nanos, server: &mut Server<u32>) -> bool {
        match self.0.pop_if(|_, deadline| deadline.0 <= now) {
            Some((id, _)) => {
                server.close(id);
                true
            }
            None => false,
        }
    }
}
