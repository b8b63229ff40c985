//! What the server says comes byte by byte, and the wrappers put it together;
//! their heartbeats, several a second, do not get in the way.

use std::time::{Duration, Instant};

use nabiz_interop::peers;
use nabiz_interop::relay::Relay;
use nabiz_interop::wrappers::lines::{LineEvent, Lines};
use nabiz_interop::wrappers::mqtt::{Mqtt, MqttEvent};
use nabiz_interop::wrappers::nats::{Nats, NatsEvent};
use nabiz_interop::wrappers::redis::{Redis, RedisEvent};
use nabiz_interop::wrappers::websocket::{self, WsEvent};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use crate::Case;
use crate::config::{millis, secs, with_steady_beats};
use crate::proxies::{line_server, without_server_beats};

const PEER: &str = "answers byte by byte";

pub const CASES: &[Case] = &[
    (PEER, "lines, blocking", lines),
    (PEER, "Redis, blocking", redis),
    (PEER, "NATS, tokio", nats),
    (PEER, "MQTT, smol", mqtt),
    (PEER, "WebSocket, tokio", websocket),
];

/// How often the server is asked, at least, and for how long.
const ROUNDS: u32 = 20;
const WHILE: Duration = secs(2);
const BEAT: Duration = millis(200);

/// Rounds that were made.
struct Rounds {
    start: Instant,
    made: u32,
}

impl Rounds {
    fn start() -> Self {
        let start = Instant::now();
        Self { start, made: 0 }
    }

    /// One more; whether it was the last.
    fn is_last(&mut self) -> bool {
        self.made += 1;
        self.made >= ROUNDS && self.start.elapsed() > WHILE
    }

    fn beside(&self, heartbeats: u32) -> String {
        assert!(heartbeats >= 3, "{heartbeats} heartbeats");
        format!("{} rounds beside {heartbeats} heartbeats", self.made)
    }
}

fn lines() -> String {
    let relay = Relay::trickle(line_server(without_server_beats()), 1);
    let mut lines =
        Lines::new(relay.address().to_string(), with_steady_beats(BEAT)).expect("it is valid");
    let mut rounds = Rounds::start();
    loop {
        match lines.next().expect("it goes on") {
            LineEvent::Up => {}
            LineEvent::Line(line) => {
                assert_eq!(line, "hello");
                if rounds.is_last() {
                    return rounds.beside(lines.link.status().heartbeats);
                }
            }
            LineEvent::Down(why, error) => panic!("{why} {error:?}"),
        }
        lines.send("hello").expect("it is up");
    }
}

fn redis() -> String {
    let server = peers::redis(0);
    let relay = Relay::trickle(server.address(), 1);
    let mut redis =
        Redis::new(relay.address().to_string(), with_steady_beats(BEAT)).expect("it is valid");
    let mut rounds = Rounds::start();
    let mut replies = Vec::new();
    loop {
        match redis.next().expect("it goes on") {
            RedisEvent::Up => {}
            RedisEvent::Reply(reply) => {
                replies.push(String::from_utf8(reply).expect("text"));
                if replies.len() < 4 {
                    continue;
                }
                let array = "*2\r\n$1\r\na\r\n$6\r\nb\r\nc\r\n\r\n";
                assert_eq!(replies, [":2\r\n", array, "$-1\r\n", ":1\r\n"]);
                replies.clear();
                if rounds.is_last() {
                    return rounds.beside(redis.link.status().heartbeats);
                }
            }
            RedisEvent::Down(why, error) => panic!("{why} {error:?}"),
        }
        for command in [
            &["RPUSH", "list", "a", "b\r\nc\r\n"][..],
            &["LRANGE", "list", "0", "-1"],
            &["GET", "nothing"],
            &["DEL", "list"],
        ] {
            redis.send(command).expect("it is up");
        }
    }
}

fn nats() -> String {
    let server = peers::nats("1s", 2);
    let relay = Relay::trickle(server.address(), 1);
    let address = relay.address().to_string();
    let mut nats = Nats::new(address, "news", with_steady_beats(BEAT)).expect("it is valid");
    let payload = b"a message\r\nof two lines\r\n";
    let mut rounds = Rounds::start();
    tokio().block_on(async {
        loop {
            match nats.next().await.expect("it goes on") {
                NatsEvent::Up => {}
                NatsEvent::Message(message) => {
                    assert_eq!(message, payload);
                    if rounds.is_last() {
                        return rounds.beside(nats.link.status().heartbeats);
                    }
                }
                other => panic!("{other:?}"),
            }
            nats.publish("news", payload).expect("it is up");
        }
    })
}

fn mqtt() -> String {
    const SUBSCRIBE: u8 = 0x82;
    const SUBACK: u8 = 0x90;
    const PUBLISH: u8 = 0x30;
    let server = peers::aedes();
    let relay = Relay::trickle(server.address(), 1);
    let address = relay.address().to_string();
    let mut mqtt = Mqtt::new(address, 60, with_steady_beats(BEAT)).expect("it is valid");
    // Long enough for a length of two bytes.
    let message = [&[0, 4][..], b"news", &[b'x'; 300]].concat();
    let mut rounds = Rounds::start();
    smol::block_on(async {
        loop {
            match mqtt.next().await.expect("it goes on") {
                MqttEvent::Up => {
                    let subscription = [&[0, 1, 0, 4][..], b"news", &[0]].concat();
                    mqtt.send(SUBSCRIBE, &subscription).expect("it is up");
                    continue;
                }
                MqttEvent::Packet(SUBACK, body) => assert_eq!(body, [0, 1, 0]),
                MqttEvent::Packet(kind, body) => {
                    assert_eq!((kind, &body), (PUBLISH, &message));
                    if rounds.is_last() {
                        return rounds.beside(mqtt.link.status().heartbeats);
                    }
                }
                MqttEvent::Down(why, error) => panic!("{why} {error:?}"),
            }
            mqtt.send(PUBLISH, &message).expect("it is up");
        }
    })
}

fn websocket() -> String {
    let server = peers::websockets(Some((1, 2)));
    // To tungstenite a handshake of single bytes is an attack.
    let relay = Relay::trickle(server.address(), 7);
    let url = format!("ws://{}/", relay.address());
    let (outgoing, messages) = mpsc::channel(1);
    let (events, mut told) = mpsc::channel(1);
    let client = websocket::run(url, with_steady_beats(BEAT), messages, events);
    let user = async {
        let message = Message::text("x".repeat(300));
        let (mut rounds, mut pongs) = (Rounds::start(), 0);
        loop {
            match told.recv().await.expect("it goes on") {
                WsEvent::Up => {}
                WsEvent::Pong(_) => {
                    pongs += 1;
                    continue;
                }
                WsEvent::Message(came) => {
                    assert_eq!(came, message);
                    if rounds.is_last() {
                        drop(outgoing);
                        while let Some(last) = told.recv().await {
                            println!("leaving: {last:?}");
                        }
                        return rounds.beside(pongs);
                    }
                }
                other => panic!("{other:?}"),
            }
            outgoing.send(message.clone()).await.expect("it runs");
        }
    };
    tokio().block_on(async { tokio::join!(client, user).1 })
}

fn tokio() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}
