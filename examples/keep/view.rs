//! What a link's events come to, whatever the link runs on: lines on stderr,
//! bytes on stdout, and answers and heartbeats that are recognised in them.

use std::io::{self, StdoutLock, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nabiz::blocking::{self, LinkEvent, Transport};
use nabiz::runtime::{self, Runtime, Stream};
use nabiz::{Event, Status};
use nabiz_examples::bytes::{Bytes, Scanner};
use nabiz_examples::events::{Line, Log};

/// What a view asks of a link, which each runtime's has.
pub trait Link {
    fn report(&mut self, event: Event);
    fn status(&self) -> Status;
}

impl<T: Transport> Link for blocking::Link<T> {
    fn report(&mut self, event: Event) {
        self.report(event);
    }

    fn status(&self) -> Status {
        self.status()
    }
}

impl<R: Runtime, T: Stream<R>> Link for runtime::Link<R, T> {
    fn report(&mut self, event: Event) {
        self.report(event);
    }

    fn status(&self) -> Status {
        self.status()
    }
}

pub struct View {
    log: Log,
    answers: Option<Scanner>,
    heartbeats: Option<Scanner>,
    stdout: StdoutLock<'static>,
    stopping: Arc<AtomicBool>,
}

impl View {
    pub fn new(
        log: Log,
        answer: Option<Bytes>,
        peer_heartbeat: Option<Bytes>,
        stopping: Arc<AtomicBool>,
    ) -> Self {
        Self {
            log,
            answers: answer.map(Scanner::new),
            heartbeats: peer_heartbeat.map(Scanner::new),
            stdout: io::stdout().lock(),
            stopping,
        }
    }

    /// Shows what happened, and tells the link what its bytes mean.
    pub fn show(&mut self, event: LinkEvent<'_>, link: &mut impl Link) {
        if let Some(line) = Line::of(&event) {
            self.log.write(line);
        }
        match event {
            LinkEvent::Up { .. } => {
                // The last connection may have ended in half an answer.
                self.answers.iter_mut().for_each(Scanner::reset);
                self.heartbeats.iter_mut().for_each(Scanner::reset);
            }
            LinkEvent::Data(bytes) => self.take_in(bytes, link),
            _ => {}
        }
    }

    fn take_in(&mut self, bytes: &[u8], link: &mut impl Link) {
        for _ in 0..count(&mut self.heartbeats, bytes) {
            link.report(Event::HeartbeatReceived);
        }
        for _ in 0..count(&mut self.answers, bytes) {
            self.log.write(answer(link));
        }
        let written = self
            .stdout
            .write_all(bytes)
            .and_then(|()| self.stdout.flush());
        if written.is_err() && !self.stopping.swap(true, Ordering::Relaxed) {
            link.report(Event::Shutdown); // nobody reads any more: `keep … | head -1`
        }
    }
}

fn count(scanner: &mut Option<Scanner>, bytes: &[u8]) -> usize {
    scanner.as_mut().map_or(0, |scanner| scanner.count(bytes))
}

/// Tells the link of an answer. Not every answer gives a round-trip time: it
/// must be clear which heartbeat it answers.
fn answer(link: &mut impl Link) -> Line {
    link.report(Event::AnswerReceived { id: None });
    let status = link.status();
    Line::new("answer").round_trip("rtt", status.rtt.filter(|_| status.rtt_is_new))
}
