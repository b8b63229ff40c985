//! What waits to be written to a client.

use std::collections::VecDeque;

/// More than this, and we read no more of the client's until it reads ours.
const MOST: usize = 1 << 20;
/// Room for so much is kept when all is written.
const KEPT: usize = 1 << 10;

/// Whole lines, so that a heartbeat at the end is never inside one.
#[derive(Default)]
pub struct Output {
    bytes: VecDeque<u8>,
    /// How many bytes there are up to the end of the heartbeat that waits, of
    /// which there is never more than one.
    heartbeat: Option<usize>,
}

impl Output {
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub fn is_full(&self) -> bool {
        self.bytes.len() > MOST
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    pub fn push_heartbeat(&mut self, bytes: &[u8]) {
        self.push(bytes);
        self.heartbeat = Some(self.bytes.len());
    }

    /// Some of it, to be written next.
    pub fn next(&self) -> &[u8] {
        self.bytes.as_slices().0
    }

    /// So much of it was written; true: with it the heartbeat's end.
    pub fn written(&mut self, count: usize) -> bool {
        self.bytes.drain(..count);
        if self.bytes.is_empty() {
            self.bytes.shrink_to(KEPT);
        }
        self.heartbeat = match self.heartbeat {
            Some(end) if end <= count => return self.heartbeat.take().is_some(),
            Some(end) => Some(end - count),
            None => None,
        };
        false
    }
}
