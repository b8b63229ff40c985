//! MQTT brokers, to which a keep alive of two seconds is announced.

use nabiz_interop::{clients, peers, server::Server};

use crate::Case;
use crate::config::{secs, with_beats, without_beats};

pub const CASES: &[Case] = &[
    ("aedes, keep alive 2 s", "no beats", || {
        closed(&peers::aedes(), 2.0, 6.0)
    }),
    ("aedes, keep alive 2 s", "a beat each 2 s", || {
        kept(&peers::aedes())
    }),
    // It looks at its clients every few seconds only.
    ("mosquitto, keep alive 2 s", "no beats", || {
        closed(&peers::mosquitto(), 2.0, 15.0)
    }),
    ("mosquitto, keep alive 2 s", "a beat each 2 s", || {
        kept(&peers::mosquitto())
    }),
];

fn closed(broker: &Server, least: f64, most: f64) -> String {
    let mut watch = clients::mqtt(broker.address(), 2, without_beats());
    let (ended, back_in) = watch.ends_and_returns();
    ended.by_peer(least, most);
    format!("closed at {:.3?}, back in {back_in:.3?}", ended.after)
}

fn kept(broker: &Server) -> String {
    let mut watch = clients::mqtt(broker.address(), 2, with_beats(secs(2)));
    watch.stays_up(secs(10));
    let rtt = watch.gauge().rtt.expect("beats were answered");
    format!("up for 10 s, round trip {rtt:.1?}")
}
