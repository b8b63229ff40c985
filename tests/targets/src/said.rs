//! Lines for a file, and their digest.

use core::fmt::{self, Write as _};

/// FNV-1a in 64 bits (Fowler, Noll, Vo), a byte at a time: the same wherever it
/// runs.
const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// Text on its way to a file, which is written in pieces.
pub(crate) struct Said {
    file: u32,
    digest: u64,
    waiting: [u8; 1024],
    count: usize,
}

impl Said {
    pub(crate) const fn new(file: u32) -> Self {
        Self {
            file,
            digest: BASIS,
            waiting: [0; 1024],
            count: 0,
        }
    }

    pub(crate) fn line(&mut self, text: fmt::Arguments<'_>) {
        // It cannot fail: `write_str` does not.
        let _ = self.write_fmt(text);
        let _ = self.write_str("\n");
    }

    /// Of all that was said.
    pub(crate) const fn digest(&self) -> u64 {
        self.digest
    }

    fn flush(&mut self) {
        nabiz_start::write(self.file, &self.waiting[..self.count]);
        self.count = 0;
    }
}

impl fmt::Write for Said {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for &byte in text.as_bytes() {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(PRIME);
            if self.count == self.waiting.len() {
                self.flush();
            }
            self.waiting[self.count] = byte;
            self.count += 1;
        }
        Ok(())
    }
}

impl Drop for Said {
    fn drop(&mut self) {
        self.flush();
    }
}
