//! What the input says happens next.

use core::time::Duration;

/// Bytes to read from; zeroes when they are used up.
#[derive(Debug, Default)]
pub struct Tape {
    bytes: Vec<u8>,
    read: usize,
}

impl Tape {
    pub fn new(bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.to_vec(),
            read: 0,
        }
    }

    pub fn is_used_up(&self) -> bool {
        self.read >= self.bytes.len()
    }

    /// How much was read so far.
    pub fn read(&self) -> usize {
        self.read
    }

    pub fn byte(&mut self) -> u8 {
        let byte = self.bytes.get(self.read).copied().unwrap_or(0);
        self.read = self.bytes.len().min(self.read + 1);
        byte
    }

    /// Of all magnitudes from a millisecond to an hour.
    pub fn span(&mut self) -> Duration {
        match self.byte() {
            byte @ 0..=63 => Duration::from_millis(u64::from(byte)),
            byte @ 64..=127 => Duration::from_millis(u64::from(byte - 63) * 50),
            byte @ 128..=223 => Duration::from_millis(u64::from(byte - 127) * 500),
            byte => Duration::from_secs(u64::from(byte - 222) * 110),
        }
    }
}
