//! The server: a thread and a `Pulse` for each connection.
//!
//! The protocol is single bytes, so that there is nothing to parse: a client
//! first says its letter, the server answers with a welcome, both send beats.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use nabiz::blocking::Pulse;
use nabiz::{Action, Config, Event};

use crate::timeline::{Lane, Timeline, What};

pub const WELCOME: u8 = b'!';
pub const BEAT: u8 = b'.';

/// Stops threads where they stand, which is what a frozen process looks like
/// from outside: the kernel still accepts and still takes bytes in.
#[derive(Default)]
pub struct Gate {
    closed: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    pub fn set_closed(&self, closed: bool) {
        *self.closed.lock().unwrap_or_else(PoisonError::into_inner) = closed;
        self.opened.notify_all();
    }

    pub fn is_closed(&self) -> bool {
        *self.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while it is closed; whether it was.
    pub fn pass(&self) -> bool {
        let closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        let was_closed = *closed;
        let opened = self.opened.wait_while(closed, |closed| *closed);
        drop(opened.unwrap_or_else(PoisonError::into_inner));
        was_closed
    }
}

pub struct Server {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    config: Config,
    timeline: Arc<Timeline>,
    gate: Gate,
    /// Whom the scene may cut off.
    guests: Mutex<Vec<(Lane, Arc<TcpStream>)>>,
}

impl Server {
    /// Its threads end with the process.
    pub fn start(config: Config, timeline: &Arc<Timeline>) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let shared = Arc::new(Shared {
            config,
            timeline: Arc::clone(timeline),
            gate: Gate::default(),
            guests: Mutex::default(),
        });
        let server = Self {
            address: listener.local_addr()?,
            shared: Arc::clone(&shared),
        };
        timeline.record(Lane::Server, What::Listening);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                shared.gate.pass();
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.serve(stream));
            }
        });
        Ok(server)
    }

    pub fn freeze(&self) {
        self.shared.gate.set_closed(true);
        self.shared.timeline.record(Lane::Server, What::Freeze);
    }

    pub fn thaw(&self) {
        self.shared.timeline.record(Lane::Server, What::Thaw);
        self.shared.gate.set_closed(false);
    }

    /// Ends a client's link, as a server that restarts does.
    pub fn cut_off(&self, lane: Lane) {
        self.shared.timeline.record(lane, What::CutOff);
        let guests = self.shared.guests();
        for (_, stream) in guests.iter().filter(|(guest, _)| *guest == lane) {
            // Where the client was faster there is nothing left to end.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn guests(&self) -> MutexGuard<'_, Vec<(Lane, Arc<TcpStream>)>> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, stream: TcpStream) {
        let stream = Arc::new(stream);
        let mut guest = None;
        // An error is the connection's end, as its end of file is.
        let closed_by_us = self.converse(&stream, &mut guest).unwrap_or(false);
        self.guests()
            .retain(|(_, other)| !Arc::ptr_eq(other, &stream));
        if let Some(lane) = guest {
            if !closed_by_us {
                self.timeline.record(lane, What::Gone);
            }
        }
    }

    /// Whether it was us who ended it.
    fn converse(&self, stream: &Arc<TcpStream>, guest: &mut Option<Lane>) -> io::Result<bool> {
        stream.set_nodelay(true)?;
        let mut pulse = Pulse::new(self.config);
        let mut buffer = [0; 256];
        loop {
            stream.set_read_timeout(pulse.timeout())?;
            let read = (&**stream).read(&mut buffer);
            let was_frozen = self.gate.pass();
            match read {
                Ok(0) => return Ok(false),
                Ok(read) => {
                    pulse.handle(Event::Received);
                    if guest.is_none() {
                        *guest = Lane::of_client(buffer[0]);
                        if let Some(lane) = *guest {
                            self.guests().push((lane, Arc::clone(stream)));
                        }
                        (&**stream).write_all(&[WELCOME])?;
                        pulse.handle(Event::Sent);
                    }
                    let beats = buffer[..read].iter().filter(|byte| **byte == BEAT);
                    beats.for_each(|_| pulse.handle(Event::HeartbeatReceived));
                }
                // What came meanwhile is read before anybody is judged.
                Err(error) if is_timeout(&error) && was_frozen => {}
                // Polled only here, when nothing is left to read; these clients
                // do pause between two beats.
                Err(error) if is_timeout(&error) => {
                    if self.act(&mut pulse, stream, *guest)? {
                        return Ok(true);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Does what is due; whether that ended the link.
    fn act(&self, pulse: &mut Pulse, stream: &TcpStream, guest: Option<Lane>) -> io::Result<bool> {
        let record = |what| {
            if let Some(lane) = guest {
                self.timeline.record(lane, what);
            }
        };
        loop {
            let silence = pulse.status().silence.unwrap_or_default();
            match pulse.poll() {
                None => return Ok(false),
                Some(Action::SendHeartbeat { .. }) => {
                    (&*stream).write_all(&[BEAT])?;
                    pulse.handle(Event::HeartbeatSent);
                    record(What::BeatFromServer);
                }
                Some(Action::Close(why)) => {
                    record(What::Closed { why, silence });
                    // Its peer may be gone already.
                    let _ = stream.shutdown(Shutdown::Both);
                    return Ok(true);
                }
                Some(Action::Abort) => return Ok(true),
                // Only clients do these.
                Some(Action::Connect { .. } | Action::Reconnect { .. } | Action::GiveUp(_)) => {}
            }
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
