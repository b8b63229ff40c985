//! A WebSocket server that pings each second, and closes where the pong that
//! belongs to it does not come within two.

use std::time::Duration;

use nabiz_interop::{clients, peers, relay::Relay};

use crate::Case;
use crate::config::{millis, secs, with_beats, without_beats};

const PEER: &str = "websockets, ping 1 s, 2 s to answer";

pub const CASES: &[Case] = &[
    (PEER, "our pongs are lost", || {
        let server = peers::websockets(Some((1, 2)));
        let relay = Relay::start(server.address());
        let mut watch = clients::websocket(relay.address(), without_beats());
        watch.stays_up(millis(500)); // until it has said what it says first
        relay.mute_clients();
        let (ended, back_in) = watch.ends_and_returns();
        ended.by_peer(2.0, 8.0);
        let said = ended.said.concat();
        assert!(said.starts_with("1011"), "{said}");
        format!(
            "closed at {:.3?} with {said}, back in {back_in:.3?}",
            ended.after
        )
    }),
    (PEER, "pongs, a beat each second with its number", || {
        let server = peers::websockets(Some((1, 2)));
        let mut watch = clients::websocket(server.address(), with_beats(secs(1)));
        watch.stays_up(secs(7));
        let ours = watch.gauge().rtt.expect("beats were answered");
        let log = server.log();
        let latency = log
            .lines()
            .rev()
            .find_map(|line| line.strip_prefix("latency "));
        let theirs: f64 = latency
            .and_then(|secs| secs.parse().ok())
            .expect("it measures");
        let theirs = Duration::from_secs_f64(theirs);
        assert!(!theirs.is_zero() && theirs < secs(2), "{log}");
        assert!(!ours.is_zero() && ours < secs(2), "{ours:?}");
        format!("up for 7 s, round trip {ours:.1?}, by the server {theirs:.1?}")
    }),
];
