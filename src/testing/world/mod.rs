//! Two ends and a wire between them, in virtual time: what your own wrapper
//! does when the wire delays, loses, breaks and freezes.
//!
//! A [`World`] holds a client's end, which dials, and a server's end for each
//! link. An end is anything that is an [`Endpoint`]: a wrapper of yours that
//! has a session inside, or a bare [`SessionEnd`] to play the peer. Real bytes
//! travel, so the wrapper's framing is tested too. A [`Plan`] tells what
//! happens; it is one line of text, so that what failed can be run again. After
//! a run the world is asked: who came [up](World::ups) and who
//! [closed](World::closes) when, how long a link was
//! [quiet](World::longest_quiet), how soon the client [dialled
//! again](World::redials), whether both ends [agree](World::is_agreed) now.
//!
//! [`Checked`](super::Checked) has the calls of [`Session`](crate::Session). A
//! wrapper that names it in its tests has its session watched for each law:
//!
//! ```ignore
//! #[cfg(not(test))]
//! use nabiz::Session as Pulse;
//! #[cfg(test)]
//! use nabiz::testing::Checked as Pulse;
//! ```
//!
//! A wrapper for lines of text, whose heartbeat is `PING` and whose answer is
//! `PONG`, in a world that cuts the wire for ten minutes and then freezes the
//! server for one:
//!
//! ```
//! use core::time::Duration;
//! use nabiz::testing::Checked as Pulse;
//! use nabiz::testing::world::{Deed, Endpoint, Plan, Side, World};
//! use nabiz::{Action, Config, Event, Timestamp};
//!
//! struct Lines {
//!     pulse: Pulse,
//!     line: Vec<u8>,
//!     pongs: u32,
//!     beating: bool,
//! }
//!
//! impl Lines {
//!     fn new(config: Config, seed: u64, now: Timestamp) -> Self {
//!         let pulse = Pulse::new(config, seed, now);
//!         Self { pulse, line: Vec::new(), pongs: 0, beating: false }
//!     }
//!
//!     fn forget(&mut self) {
//!         (self.line, self.pongs, self.beating) = (Vec::new(), 0, false);
//!     }
//! }
//!
//! impl Endpoint for Lines {
//!     fn connected(&mut self, now: Timestamp) {
//!         self.pulse.handle(Event::Connected, now);
//!     }
//!
//!     fn dial_failed(&mut self, now: Timestamp) {
//!         self.pulse.handle(Event::ConnectFailed, now);
//!     }
//!
//!     fn received(&mut self, bytes: &[u8], now: Timestamp) {
//!         self.pulse.handle(Event::Received, now);
//!         for byte in bytes {
//!             match (byte, self.line.as_slice()) {
//!                 (b'\n', b"PING") => {
//!                     self.pulse.handle(Event::HeartbeatReceived, now);
//!                     self.pongs += 1;
//!                 }
//!                 (b'\n', b"PONG") => {
//!                     self.pulse.handle(Event::AnswerReceived { id: None }, now);
//!                 }
//!                 (b'\n', line) => println!("{}", String::from_utf8_lossy(line)),
//!                 _ => {
//!                     self.line.push(*byte);
//!                     continue;
//!                 }
//!             }
//!             self.line.clear();
//!         }
//!     }
//!
//!     fn flushed(&mut self, now: Timestamp) {
//!         let beat = core::mem::take(&mut self.beating);
//!         self.pulse.handle(if beat { Event::HeartbeatSent } else { Event::Sent }, now);
//!     }
//!
//!     fn disconnected(&mut self, now: Timestamp) {
//!         self.forget();
//!         self.pulse.handle(Event::Disconnected, now);
//!     }
//!
//!     fn poll(&mut self, now: Timestamp) -> Option<Deed> {
//!         if let Some(fewer) = self.pongs.checked_sub(1) {
//!             self.pongs = fewer;
//!             return Some(Deed::Write(b"PONG\n".to_vec()));
//!         }
//!         loop {
//!             match self.pulse.poll(now)? {
//!                 Action::Connect { .. } => return Some(Deed::Dial),
//!                 Action::SendHeartbeat { .. } => {
//!                     self.beating = true;
//!                     return Some(Deed::Write(b"PING\n".to_vec()));
//!                 }
//!                 Action::Close(_) => {
//!                     self.forget();
//!                     return Some(Deed::Close);
//!                 }
//!                 Action::Abort => {
//!                     self.forget();
//!                     return Some(Deed::Abort);
//!                 }
//!                 Action::Reconnect { .. } | Action::GiveUp(_) => {}
//!             }
//!         }
//!     }
//!
//!     fn deadline(&self) -> Option<Timestamp> {
//!         self.pulse.deadline()
//!     }
//! }
//!
//! let (client, server) = (Config::client().build()?, Config::server().build()?);
//! let plan: Plan = "delay=20ms..80ms cut=1h..70m freeze-server=2h..121m".parse()?;
//! let by = plan.agreed_by(&client, &server).unwrap();
//! let mut world = World::new(
//!     Lines::new(client, 42, Timestamp::EPOCH),
//!     move |link, now| Lines::new(server, u64::from(link), now),
//!     plan,
//! );
//! world.run(by);
//! assert!(world.is_agreed());
//! // The cut was noticed, the short freeze was not.
//! assert_eq!(world.ups().len(), 2);
//! assert!(world.longest_quiet(Side::Client) <= Duration::from_secs(55));
//! // It came back, and did not hammer.
//! assert!(world.redials().len() < 40);
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

mod bound;
mod end;
mod kernel;
mod log;
mod plan;
mod run;
mod script;
mod session;
mod text;
mod wire;

pub use end::{Deed, Endpoint};
pub use log::{Entry, What};
pub use plan::{Happening, Plan, Side, Who};
pub use run::World;
pub use script::WorldScript;
pub use session::SessionEnd;
