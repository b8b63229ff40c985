//! A Redis server that closes who was idle for two seconds.

use nabiz_interop::{clients, peers};

use crate::Case;
use crate::config::{secs, with_beats, without_beats};

const PEER: &str = "Redis, timeout 2 s";

pub const CASES: &[Case] = &[
    (PEER, "no beats", || {
        let server = peers::redis(2);
        let mut watch = clients::redis(server.address(), without_beats());
        let (ended, back_in) = watch.ends_and_returns();
        ended.by_peer(1.5, 7.0);
        format!("closed at {:.3?}, back in {back_in:.3?}", ended.after)
    }),
    (PEER, "a beat each second", || {
        let server = peers::redis(2);
        let mut watch = clients::redis(server.address(), with_beats(secs(1)));
        watch.stays_up(secs(7));
        let rtt = watch.gauge().rtt.expect("beats were answered");
        format!("up for 7 s, round trip {rtt:.1?}")
    }),
    ("a NATS server", "taken for Redis", || {
        let server = peers::nats("1s", 2);
        let mut watch = clients::redis(server.address(), with_beats(secs(1)));
        let (ended, back_in) = watch.ends_and_returns();
        ended.by_peer(0.0, 5.0); // at its word, as if it were the server's doing
        format!("dropped at {:.3?}, back in {back_in:.3?}", ended.after)
    }),
];
