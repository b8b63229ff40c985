//! A client: a `Link` in a thread of its own, which tells the timeline what
//! it sees.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;

use nabiz::blocking::{Link, LinkEvent, LinkHandle, dial_tcp};
use nabiz::{Config, ConfigError, Event};

use crate::server::{BEAT, Gate, WELCOME};
use crate::timeline::{Down, Lane, Timeline, What};

pub struct Client {
    pub lane: Lane,
    pub link: LinkHandle<TcpStream>,
    timeline: Arc<Timeline>,
    gate: Arc<Gate>,
}

impl Client {
    /// Its thread ends when the link is done, or with the process.
    pub fn start(
        lane: Lane,
        address: SocketAddr,
        config: Config,
        timeline: &Arc<Timeline>,
    ) -> Result<Self, ConfigError> {
        let dials = Arc::clone(timeline);
        let link = Link::new(
            config,
            |_id, out: &mut Vec<u8>| out.push(BEAT),
            move |budget| {
                dials.record(lane, What::Dial);
                dial_tcp(&address, budget)
            },
        )?;
        let client = Self {
            lane,
            link: link.handle(),
            timeline: Arc::clone(timeline),
            gate: Arc::default(),
        };
        let (timeline, gate) = (Arc::clone(timeline), Arc::clone(&client.gate));
        thread::spawn(move || run(link, lane, &timeline, &gate));
        Ok(client)
    }

    /// Its thread stands still from the next event on.
    pub fn freeze(&self) {
        self.gate.set_closed(true);
    }

    pub fn thaw(&self) {
        self.gate.set_closed(false);
    }

    pub fn shutdown(&self) {
        self.timeline.record(self.lane, What::ShutdownAsked);
        self.link.shutdown();
    }
}

fn run(mut link: Link<TcpStream>, lane: Lane, timeline: &Timeline, gate: &Gate) {
    let mut buffer = [0; 256];
    while let Some(event) = link.next(&mut buffer) {
        match event {
            LinkEvent::Up { attempt, .. } => {
                timeline.record(lane, What::Connected { attempt });
                // If it fails the link is down again, and says so itself.
                let _ = link.send(&[lane.hello()]);
            }
            LinkEvent::Data(bytes) => {
                if bytes.contains(&WELCOME) {
                    timeline.record(lane, What::Welcome);
                }
                let beats = bytes.iter().filter(|byte| **byte == BEAT);
                beats.for_each(|_| link.report(Event::HeartbeatReceived));
            }
            LinkEvent::HeartbeatSent { .. } => timeline.record(lane, What::BeatToServer),
            LinkEvent::Stalled => timeline.record(lane, What::Stalled),
            LinkEvent::Down {
                why,
                silence,
                retry_in,
                attempt,
                ..
            } => {
                let down = Down {
                    why,
                    silence,
                    retry_in,
                    attempt,
                };
                timeline.record(lane, What::Down(down));
            }
            _ => {}
        }
        if gate.is_closed() {
            timeline.record(lane, What::Freeze);
            gate.pass();
            timeline.record(lane, What::Thaw);
        }
    }
    link.reconnect_now();
    let stays = link.next(&mut buffer).is_none();
    timeline.record(lane, What::Done { stays });
}
