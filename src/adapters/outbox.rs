//! Bytes on their way out: whole messages, heartbeats between them.

use std::collections::VecDeque;
use std::io;
use std::vec::Vec;

use crate::session::HeartbeatId;

/// What waits to be written. A heartbeat goes ahead of the messages, but never
/// inside one that is partly written.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    messages: VecDeque<Message>,
    /// How much of the first message is written.
    written: usize,
    /// Bytes that wait, all messages together.
    waiting: usize,
}

#[derive(Debug)]
struct Message {
    bytes: Vec<u8>,
    heartbeat: Option<HeartbeatId>,
    /// Whether heartbeats must wait for it.
    first: bool,
}

/// Small messages share a buffer, and a write, up to this size.
const SHARED: usize = 16 * 1024;

/// What one write achieved.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Flushed {
    /// Bytes went out.
    Some,
    /// Bytes went out, and with them the end of this heartbeat.
    Heartbeat(HeartbeatId),
}

impl Outbox {
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Bytes that wait to be written.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// No heartbeat goes ahead of what is said `first` on a link.
    pub(super) fn push(&mut self, bytes: &[u8], first: bool) {
        if bytes.is_empty() {
            return;
        }
        self.waiting = self.waiting.saturating_add(bytes.len());
        let is_started = self.written > 0 && self.messages.len() == 1;
        if let Some(last) = self.messages.back_mut() {
            let together = last.bytes.len().saturating_add(bytes.len());
            if !is_started && last.heartbeat.is_none() && last.first == first && together <= SHARED
            {
                last.bytes.extend_from_slice(bytes);
                return;
            }
        }
        self.messages.push_back(Message {
            bytes: bytes.to_vec(),
            heartbeat: None,
            first,
        });
    }

    pub(super) fn push_heartbeat(&mut self, id: HeartbeatId, bytes: Vec<u8>) {
        let first = self.messages.iter().take_while(|message| message.first);
        let place = first.count().max(usize::from(self.written > 0));
        self.waiting = self.waiting.saturating_add(bytes.len());
        let heartbeat = Message {
            bytes,
            heartbeat: Some(id),
            first: false,
        };
        self.messages.insert(place, heartbeat);
    }

    /// Writes what `write` takes of the first message; none if there is none.
    pub(super) fn flush(
        &mut self,
        write: impl FnOnce(&[u8]) -> io::Result<usize>,
    ) -> Option<io::Result<Flushed>> {
        let message = self.messages.front()?;
        let rest = message.bytes.get(self.written..).unwrap_or_default();
        let written = match rest.len() {
            0 => 0,
            len => match write(rest) {
                Ok(0) => return Some(Err(io::ErrorKind::WriteZero.into())),
                Ok(written) => written.min(len),
                Err(error) => return Some(Err(error)),
            },
        };
        let is_whole = written == rest.len();
        let heartbeat = message.heartbeat;
        self.waiting = self.waiting.saturating_sub(written);
        self.written = self.written.saturating_add(written);
        if is_whole {
            self.messages.pop_front();
            self.written = 0;
        }
        Some(Ok(match heartbeat {
            Some(id) if is_whole => Flushed::Heartbeat(id),
            _ => Flushed::Some,
        }))
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    fn id(number: u8) -> HeartbeatId {
        HeartbeatId::from_bytes([0, 0, 0, number])
    }

    /// Writes all, at most `most` bytes at a time.
    fn drain(outbox: &mut Outbox, most: usize) -> Vec<u8> {
        let mut wire = Vec::new();
        while let Some(flushed) = outbox.flush(|bytes| {
            let taken = bytes.len().min(most);
            wire.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }) {
            flushed.unwrap();
        }
        wire
    }

    #[test]
    fn heartbeats_go_ahead_of_messages() {
        let mut outbox = Outbox::default();
        outbox.push(b"one", false);
        outbox.push(b"two", false);
        outbox.push_heartbeat(id(1), b"!".to_vec());
        assert_eq!(drain(&mut outbox, 100), b"!onetwo");
        assert_eq!(outbox.waiting(), 0);
    }

    #[test]
    fn never_inside_a_message_partly_written() {
        for most in 1..5 {
            let mut outbox = Outbox::default();
            outbox.push(b"first", false);
            let mut wire = Vec::new();
            outbox
                .flush(|bytes| {
                    wire.extend_from_slice(&bytes[..most]);
                    Ok(most)
                })
                .unwrap()
                .unwrap();
            outbox.push(b"second", false);
            outbox.push_heartbeat(id(1), b"!".to_vec());
            wire.extend(drain(&mut outbox, most));
            assert_eq!(wire, b"first!second");
        }
    }

    #[test]
    fn a_heartbeat_is_flushed_when_its_last_byte_is() {
        let mut outbox = Outbox::default();
        outbox.push_heartbeat(id(7), b"ab".to_vec());
        assert_eq!(outbox.flush(|_| Ok(1)).unwrap().unwrap(), Flushed::Some);
        assert_eq!(
            outbox.flush(|_| Ok(1)).unwrap().unwrap(),
            Flushed::Heartbeat(id(7))
        );
        assert!(outbox.flush(|_| Ok(1)).is_none());
    }

    #[test]
    fn an_empty_heartbeat_is_flushed_at_once() {
        let mut outbox = Outbox::default();
        outbox.push_heartbeat(id(7), vec![]);
        assert_eq!(
            outbox
                .flush(|_| panic!("nothing to write"))
                .unwrap()
                .unwrap(),
            Flushed::Heartbeat(id(7))
        );
    }

    #[test]
    fn what_is_said_first_stays_first() {
        let mut outbox = Outbox::default();
        outbox.push(b"login", true);
        outbox.push(b"more", false);
        outbox.push_heartbeat(id(1), b"!".to_vec());
        assert_eq!(drain(&mut outbox, 3), b"login!more");
    }

    #[test]
    fn small_messages_share_a_write() {
        let mut outbox = Outbox::default();
        for _ in 0..10 {
            outbox.push(b"small", false);
        }
        let mut writes = 0;
        while let Some(flushed) = outbox.flush(|bytes| Ok(bytes.len())) {
            flushed.unwrap();
            writes += 1;
        }
        assert_eq!(writes, 1);
    }

    #[test]
    fn errors_lose_nothing() {
        let mut outbox = Outbox::default();
        outbox.push(b"all", false);
        let blocked = |_: &[u8]| Err(io::ErrorKind::WouldBlock.into());
        assert!(outbox.flush(blocked).unwrap().is_err());
        assert!(outbox.flush(|_| Ok(0)).unwrap().is_err());
        assert_eq!(drain(&mut outbox, 2), b"all");
    }
}
