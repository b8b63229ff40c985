//! A client on its way out: it is in the roster no longer, but gets what waits
//! for it, and a goodbye.

use std::io;
use std::time::Duration;

use nabiz::{EndReason, Timestamp};

use crate::connection::{Connection, MOST_READS, read};

pub struct Leaving {
    connection: Connection,
    reason: EndReason,
    silence: Duration,
    /// When politeness ends.
    pub until: Timestamp,
    /// The client was told that no more will come.
    has_finished: bool,
    /// The client has said all it will say.
    is_mute: bool,
}

/// How far it has come.
#[derive(PartialEq, Eq)]
pub enum Step {
    /// There is more to read.
    More,
    /// It is the client's turn.
    Wait,
    /// All is said, from both ends.
    Gone,
}

impl Leaving {
    pub fn new(
        connection: Connection,
        reason: EndReason,
        now: Timestamp,
        until: Timestamp,
    ) -> Self {
        Self {
            silence: connection.silence(now),
            connection,
            reason,
            until,
            has_finished: false,
            // Then the end of its stream is why it leaves.
            is_mute: reason == EndReason::Disconnected,
        }
    }

    /// Writes what the client takes, says goodbye after the last of it, and
    /// waits for the client's.
    pub fn go_on(&mut self, buffer: &mut [u8]) -> io::Result<Step> {
        self.connection.flush()?;
        let is_written = self.connection.output.is_empty();
        if is_written && self.is_mute {
            return Ok(Step::Gone);
        }
        if is_written && !self.has_finished {
            self.has_finished = true;
            self.connection.finish()?;
        }
        for _ in 0..MOST_READS {
            if self.is_mute {
                return Ok(if is_written { Step::Gone } else { Step::Wait });
            }
            match read(&mut self.connection.stream, buffer)? {
                None => return Ok(Step::Wait),
                Some(read) => self.is_mute = read == 0, // what it says is not heard any more
            }
        }
        Ok(Step::More)
    }

    /// It is gone.
    pub fn close(self, error: Option<&io::Error>) {
        self.connection.closed(self.reason, self.silence, error);
    }
}
