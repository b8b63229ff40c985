//! The wrappers under observation.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nabiz::{Config, Status};
use tokio::sync::mpsc;

use crate::watch::{Gauge, Seen, Watch};
use crate::wrappers::lines::{LineEvent, Lines};
use crate::wrappers::mqtt::{Mqtt, MqttEvent};
use crate::wrappers::nats::{Nats, NatsEvent};
use crate::wrappers::redis::{Redis, RedisEvent};
use crate::wrappers::websocket::{self, WsEvent};

const IS_CLIENT: &str = "a client's configuration";

pub fn lines(address: SocketAddr, config: Config) -> Watch {
    let mut lines = Lines::new(address.to_string(), config).expect(IS_CLIENT);
    let (stop, status) = (lines.link.handle(), lines.link.handle());
    Watch::start(
        move |tell| {
            while let Some(event) = lines.next() {
                let seen = match event {
                    LineEvent::Up => Seen::Up,
                    LineEvent::Line(line) => Seen::Said(line),
                    LineEvent::Down(why, error) => Seen::Down(Some(why), format!("{error:?}")),
                };
                let _ = tell.send((Instant::now(), seen));
            }
        },
        move || stop.shutdown(),
        move || gauge(status.status()),
    )
}

pub fn redis(address: SocketAddr, config: Config) -> Watch {
    let mut redis = Redis::new(address.to_string(), config).expect(IS_CLIENT);
    let (stop, status) = (redis.link.handle(), redis.link.handle());
    Watch::start(
        move |tell| {
            while let Some(event) = redis.next() {
                let seen = match event {
                    RedisEvent::Up => Seen::Up,
                    RedisEvent::Reply(reply) => Seen::Said(text(reply)),
                    RedisEvent::Down(why, error) => Seen::Down(Some(why), format!("{error:?}")),
                };
                let _ = tell.send((Instant::now(), seen));
            }
        },
        move || stop.shutdown(),
        move || gauge(status.status()),
    )
}

pub fn nats(address: SocketAddr, config: Config) -> Watch {
    let mut nats = Nats::new(address.to_string(), "greetings", config).expect(IS_CLIENT);
    let (stop, status) = (nats.link.handle(), nats.link.handle());
    Watch::start(
        move |tell| {
            runtime().block_on(async {
                while let Some(event) = nats.next().await {
                    let seen = match event {
                        NatsEvent::Up => Seen::Up,
                        NatsEvent::Message(payload) => Seen::Said(text(payload)),
                        NatsEvent::Complaint(words) => Seen::Said(words),
                        NatsEvent::Down(why, error) => Seen::Down(Some(why), format!("{error:?}")),
                    };
                    let _ = tell.send((Instant::now(), seen));
                }
            });
        },
        move || smol::block_on(stop.shutdown()),
        move || gauge(status.status()),
    )
}

/// It announces a keep alive of so many seconds.
pub fn mqtt(address: SocketAddr, keep_alive: u16, config: Config) -> Watch {
    let mut mqtt = Mqtt::new(address.to_string(), keep_alive, config).expect(IS_CLIENT);
    let (stop, status) = (mqtt.link.handle(), mqtt.link.handle());
    Watch::start(
        move |tell| {
            smol::block_on(async {
                while let Some(event) = mqtt.next().await {
                    let seen = match event {
                        MqttEvent::Up => Seen::Up,
                        MqttEvent::Packet(kind, body) => Seen::Said(format!("{kind:#x} {body:?}")),
                        MqttEvent::Down(why, error) => Seen::Down(Some(why), format!("{error:?}")),
                    };
                    let _ = tell.send((Instant::now(), seen));
                }
            });
        },
        move || smol::block_on(stop.shutdown()),
        move || gauge(status.status()),
    )
}

pub fn websocket(address: SocketAddr, config: Config) -> Watch {
    let (outgoing, messages) = mpsc::channel(1);
    let (events, mut told) = mpsc::channel(1);
    let latest = Arc::new(Mutex::new(None));
    let rtt = Arc::clone(&latest);
    Watch::start(
        move |tell| {
            let client = websocket::run(format!("ws://{address}/"), config, messages, events);
            let observer = async {
                while let Some(event) = told.recv().await {
                    let seen = match event {
                        WsEvent::Up => Seen::Up,
                        WsEvent::Message(message) => Seen::Said(message.to_string()),
                        WsEvent::Pong(rtt) => {
                            *lock(&latest) = Some(rtt);
                            continue;
                        }
                        WsEvent::Closing(frame) => Seen::Said(match frame {
                            Some(frame) => format!("{} {}", u16::from(frame.code), frame.reason),
                            None => String::new(),
                        }),
                        WsEvent::Down(why, error) => Seen::Down(why, format!("{error:?}")),
                    };
                    let _ = tell.send((Instant::now(), seen));
                }
            };
            runtime().block_on(async { tokio::join!(client, observer) });
        },
        move || drop(outgoing),
        move || Gauge {
            rtt: *lock(&rtt),
            stalls: 0,
        },
    )
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

fn gauge(status: Status) -> Gauge {
    Gauge {
        rtt: status.rtt,
        stalls: status.stalls,
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

fn lock(latest: &Mutex<Option<Duration>>) -> std::sync::MutexGuard<'_, Option<Duration>> {
    latest.lock().unwrap_or_else(PoisonError::into_inner)
}
