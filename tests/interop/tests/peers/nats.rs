//! A NATS server that pings each second and bears two pings unanswered.

use nabiz::CloseReason;
use nabiz_interop::{clients, peers, relay::Relay};

use crate::Case;
use crate::config::{millis, secs, with_beats, without_beats};

const PEER: &str = "NATS, ping 1 s, at most 2";

pub const CASES: &[Case] = &[
    (PEER, "our pongs are lost", || {
        let server = peers::nats("1s", 2);
        let relay = Relay::start(server.address());
        let mut watch = clients::nats(relay.address(), without_beats());
        watch.stays_up(millis(500)); // until it has said what it says first
        relay.mute_clients();
        let (ended, back_in) = watch.ends_and_returns();
        ended.by_peer(2.0, 8.0);
        let complaint = ended.said.concat();
        assert!(complaint.contains("Stale Connection"), "{complaint}");
        format!(
            "closed at {:.3?} with {complaint}, back in {back_in:.3?}",
            ended.after
        )
    }),
    (PEER, "pongs, no beats", || {
        let server = peers::nats("1s", 2);
        let mut watch = clients::nats(server.address(), without_beats());
        watch.stays_up(secs(7));
        "up for 7 s".into()
    }),
    // Its pings and our pongs are traffic enough for longer intervals.
    (PEER, "pongs, a beat each 0.5 s", || {
        let server = peers::nats("1s", 2);
        let mut watch = clients::nats(server.address(), with_beats(millis(500)));
        watch.stays_up(secs(7));
        let rtt = watch.gauge().rtt.expect("beats were answered");
        format!("up for 7 s, round trip {rtt:.1?}")
    }),
    ("NATS", "a word we do not know", || {
        let server = peers::nats_with_token();
        let mut watch = clients::nats(server.address(), with_beats(secs(1)));
        let ended = watch.ends();
        ended.by_us(&[CloseReason::Rejected]);
        watch.leaves();
        format!(
            "gone for good at {:.3?}, with {}",
            ended.after,
            ended.said.concat()
        )
    }),
];
