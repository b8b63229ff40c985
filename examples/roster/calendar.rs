//! Who speaks when.

use std::mem;

use nabiz::Key;

/// A client as it waits for its turn to speak.
#[derive(Clone, Copy)]
pub struct Client {
    pub key: Key,
    /// The step in which it spoke last, or came.
    pub since: u32,
    pub is_chatty: bool,
}

/// A wheel of buckets, one a step, that turns for ever: cheaper than a heap,
/// where nobody waits longer than the wheel takes to turn.
pub struct Calendar {
    buckets: Vec<Vec<Client>>,
}

impl Calendar {
    /// For waits of up to so many steps.
    pub fn new(longest: u32) -> Self {
        Self {
            buckets: vec![Vec::new(); longest as usize + 1],
        }
    }

    fn bucket(&mut self, step: u32) -> &mut Vec<Client> {
        let turn = self.buckets.len();
        &mut self.buckets[step as usize % turn]
    }

    pub fn put(&mut self, step: u32, client: Client) {
        self.bucket(step).push(client);
    }

    pub fn take(&mut self, step: u32) -> Vec<Client> {
        mem::take(self.bucket(step))
    }

    /// The bucket was emptied by [`take`](Self::take), and keeps its memory.
    pub fn give_back(&mut self, step: u32, mut emptied: Vec<Client>) {
        emptied.clear();
        let bucket = self.bucket(step);
        if bucket.is_empty() {
            *bucket = emptied;
        }
    }

    /// Takes out all who will not speak again.
    pub fn strike(&mut self, mut is_struck: impl FnMut(&Client) -> bool) {
        for bucket in &mut self.buckets {
            bucket.retain(|client| !is_struck(client));
        }
    }
}
