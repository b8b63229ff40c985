//! The physical floor: one store at a random place per packet. It keeps no
//! deadline and finds nobody; nothing that remembers a packet can be faster.

use crate::roster::{Nanos, Roster, Scope, Server};

/// A plain array that remembers when each connection was last heard of.
pub struct Floor<const BYTES: usize>(Vec<[u8; BYTES]>);

/// Four bytes, as a count of ticks takes.
pub type Floor4 = Floor<4>;
/// Eight bytes, as nanoseconds take.
pub type Floor8 = Floor<8>;

impl<const BYTES: usize> Roster for Floor<BYTES> {
    const NAME: &'static str = match BYTES {
        4 => "a 4-byte store (floor)",
        _ => "an 8-byte store (floor)",
    };
    const SCOPE: Scope = Scope::TouchOnly;

    type Key = u32;
    type Now = [u8; BYTES];

    fn new(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    fn now(&self, nanos: Nanos) -> [u8; BYTES] {
        let bytes = nanos.to_le_bytes();
        std::array::from_fn(|index| bytes[index])
    }

    fn insert(&mut self, id: u32, now: [u8; BYTES]) -> u32 {
        self.0.push(now);
        id
    }

    #[inline]
    fn touch(&mut self, key: &mut u32, now: [u8; BYTES]) {
        if let Some(heard) = self.0.get_mut(*key as usize) {
            *heard = now;
        }
    }

    fn remove(&mut self, _key: u32) {}

    fn poll(&mut self, _now: [u8; BYTES], _server: &mut Server<u32>) -> bool {
        false
    }
}

/// The floor of a roster whose keys go stale: eight bytes hold a generation
/// too, which is read and compared before they are written.
pub struct Checked(Vec<u64>);

const GENERATION: u64 = (1 << 22) - 1;

impl Roster for Checked {
    const NAME: &'static str = "an 8-byte store, checked (floor)";
    const SCOPE: Scope = Scope::TouchOnly;

    type Key = u64;
    type Now = u64;

    fn new(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    fn now(&self, nanos: Nanos) -> u64 {
        nanos & !GENERATION
    }

    fn insert(&mut self, id: u32, now: u64) -> u64 {
        self.0.push(now | 1);
        u64::from(id) << 22 | 1
    }

    #[inline]
    fn touch(&mut self, key: &mut u64, now: u64) {
        match self.0.get_mut((*key >> 22) as usize) {
            Some(heard) if (*heard ^ *key) & GENERATION == 0 => *heard = now | *key & GENERATION,
            _ => {}
        }
    }

    fn remove(&mut self, _key: u64) {}

    fn poll(&mut self, _now: u64, _server: &mut Server<u64>) -> bool {
        false
    }
}
