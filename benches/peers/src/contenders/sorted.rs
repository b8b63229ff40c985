//! A `BTreeSet` of deadlines, and a list of what they are, to find them by.

use std::collections::BTreeSet;

use crate::roster::{LIMIT, Nanos, Roster, Server};

pub struct SortedRoster {
    sorted: BTreeSet<(Nanos, u32)>,
    deadlines: Vec<Nanos>,
}

impl Roster for SortedRoster {
    const NAME: &'static str = "BTreeSet";

    type Key = u32;
    type Now = Nanos;

    fn new(capacity: usize) -> Self {
        Self {
            sorted: BTreeSet::new(),
            deadlines: Vec::with_capacity(capacity),
        }
    }

    fn now(&self, nanos: Nanos) -> Nanos {
        nanos
    }

    #[inline]
    fn insert(&mut self, id: u32, now: Nanos) -> u32 {
        self.sorted.insert((now + LIMIT, id));
        self.deadlines.push(now + LIMIT);
        id
    }

    #[inline]
    fn touch(&mut self, key: &mut u32, now: Nanos) {
        let deadline = &mut self.deadlines[*key as usize];
        if *deadline != now + LIMIT {
            self.sorted.remove(&(*deadline, *key));
            *deadline = now + LIMIT;
            self.sorted.insert((*deadline, *key));
        }
    }

    #[inline]
    fn remove(&mut self, key: u32) {
        self.sorted.remove(&(self.deadlines[key as usize], key));
    }

    #[inline]
    fn poll(&mut self, now: Nanos, server: &mut Server<u32>) -> bool {
        if self.sorted.first().is_none_or(|(due, _)| *due > now) {
            return false;
        }
        if let Some((_, id)) = self.sorted.pop_first() {
            server.close(id);
        }
        true
    }
}
