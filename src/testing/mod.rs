//! The laws of this crate as a checker, for property tests and fuzzers: ours
//! and yours.
//!
//! [`Checked`] is a [`Session`](crate::Session) under watch: the same calls,
//! and a panic that names the law when one is broken. [`Script`] makes a run of
//! any bytes, for those who look for such a panic. [`CheckedReaper`] and
//! [`RosterScript`] are the same for a [`Reaper`](crate::Reaper). [`world`] is
//! for your own wrapper: two ends and a wire that delays, loses and breaks.
//!
//! The laws, for one session, and for each connection of a roster; there to
//! its resolution, 7 is about its drain, and 6 and 9 say nothing of it:
//!
//! 1. **Never early.** No verdict before its limit has passed.
//! 2. **Never late.** Polled at its deadlines, with nothing new from the peer,
//!    the verdict comes at the limit exactly, and the earliest limit wins.
//! 3. **Keeps the path warm.** While open, a heartbeat is asked no later than
//!    `interval` after the last flush, unless `max_unanswered` is reached.
//! 4. **Late ticks convict nobody, and forgiveness ends.** After a forgiven
//!    stall the limits run afresh; but only once a silence.
//! 5. **Once.** One `Close` a link or dial, then nothing but `Abort`. `GiveUp`
//!    is the last action.
//! 6. **Only clients return**, and nobody does after `Shutdown` or `Rejected`.
//! 7. **No storm.** Delays stay within the policy's bounds and above the
//!    peer's floor; attempts start again only after a stable link.
//! 8. **Quiescence.** After `poll` returned `None`, the deadline is later than
//!    now; spurious polls change nothing.
//! 9. **No carry-over.** Nothing of the last link survives in the next, but
//!    attempts, totals and how it ended.
//! 10. **Total.** No panic, no overflow, no unbounded work.
//! 11. **Replay.** Same configuration, seed and inputs: same actions.
//! 12. **One rule book.** A roster gives the verdicts, and the reasons, of as
//!     many server sessions: never earlier, later by at most its resolution,
//!     the lateness of the poll and what is due before. Beats may be earlier,
//!     never later. It is compared up to the connection's `Close`.
//!
//! # Replays
//!
//! A [`Replay`] is a run without its driver, and one line of text:
//! `session client interval=5s seed=42 at 0s poll at 1s connected at 6s poll`.
//! [`RosterReplay`] is one of a roster. The panic of a checker ends with the line
//! that replays it, [`Script::replay`] makes it of a fuzzer's bytes, and
//! `cargo run --example replay -- 'session …'` in this crate's repository shows
//! what happens at each of its calls.
//!
//! # Chance
//!
//! What is drawn (jitters) is not known from outside, so the checker holds it
//! against its bounds, and to what it was once it has shown.

// A checker's purpose is to panic; its arithmetic is in u128, where nothing
// that a session can be told overflows.
#![allow(clippy::panic, clippy::arithmetic_side_effects)]

mod bytes;
mod comeback;
mod fingerprint;
mod laws;
mod link;
mod model;
#[cfg(test)]
mod perturbed;
mod replay;
mod roster;
mod script;
mod span;
mod text;
mod trail;
pub mod world;

pub use crate::session::Fingerprint;
pub use fingerprint::CheckedFingerprint;
pub use laws::Checked;
pub use replay::{Call, Replay, RosterCall, RosterReplay, Who};
pub use roster::{CheckedReaper, Reaped, RosterOutput, RosterScript};
pub use script::{Output, Script, config};
pub use text::ParseTextError;
