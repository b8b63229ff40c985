//! The timing that other systems document, replayed in virtual time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    missing_docs
)]

mod common;

use common::*;
use nabiz::{Action, CloseReason, Config, End, Event, Incompatible, Phase};

const SILENT: Action = Action::Close(CloseReason::PeerSilent);
const NO_ANSWER: Action = Action::Close(CloseReason::NoAnswer);

/// MQTT 3.1.1 §3.1.2.10: the server closes after one and a half times the
/// keep alive without a packet; here 60 s.
/// <https://docs.oasis-open.org/mqtt/mqtt/v3.1.1/os/mqtt-v3.1.1-os.html#_Toc398718030>
#[test]
fn mqtt_keep_alive_of_60_s_is_dead_at_90_s() {
    let mut server = session(bare_server().with_silence_timeout(secs(60) * 3 / 2));
    server.handle(Event::Received, at(0));
    idle(&mut server, at(60));
    acts(&mut server, at(90), SILENT);
}

/// The same, with a packet just in time.
#[test]
fn mqtt_input_at_90_s_keeps_the_link() {
    let mut server = session(bare_server().with_silence_timeout(secs(60) * 3 / 2));
    server.handle(Event::Received, at(90));
    idle(&mut server, at(90));
    acts(&mut server, at(180), SILENT);
}

/// MQTT 3.1.1 §3.1.2.10: a keep alive of zero turns the mechanism off.
/// <https://docs.oasis-open.org/mqtt/mqtt/v3.1.1/os/mqtt-v3.1.1-os.html#_Toc398718030>
#[test]
fn mqtt_keep_alive_of_zero_is_never() {
    let mut server = session(bare_server());
    assert_eq!(server.deadline(), None);
    idle(&mut server, at(1_000_000_000));
    assert_eq!(server.phase(), Phase::Open);
}

/// gRPC A8: a ping after the keepalive time without a read; closed when nothing
/// was read within the keepalive timeout. Here 10 s and 20 s.
/// <https://github.com/grpc/proposal/blob/master/A8-client-side-keepalive.md>
#[test]
fn grpc_keepalive_beats_at_10_s_and_closes_at_30_s() {
    let mut client = connected(grpc());
    beats(&mut client, at(10), 1);
    beats(&mut client, at(20), 2); // one beat an interval, answered or not
    acts(&mut client, at(30), NO_ANSWER);
}

/// The same: any byte within the timeout counts as the answer.
/// <https://github.com/grpc/proposal/blob/master/A8-client-side-keepalive.md>
#[test]
fn grpc_any_byte_at_29_s_keeps_the_link() {
    let mut client = connected(grpc());
    beats(&mut client, at(10), 1);
    beats(&mut client, at(20), 2);
    client.handle(Event::Received, at(29));
    idle(&mut client, before(at(30)));
    assert_eq!(client.poll(at(30)), Some(beat(3)));
    client.handle(Event::HeartbeatSent, at(30));
    beats(&mut client, at(40), 4);
    acts(&mut client, at(50), NO_ANSWER);
}

fn grpc() -> nabiz::ConfigBuilder {
    bare_client()
        .with_write_timeout(secs(20))
        .with_interval(secs(10))
        .with_answer_timeout(secs(20))
}

/// NATS: `ping_interval` 2 min, `ping_max` 2: the connection is stale when the
/// third ping would go out.
/// <https://docs.nats.io/running-a-nats-service/configuration>
#[test]
fn nats_beats_at_120_and_240_and_closes_at_360() {
    let mut server = session(nats());
    beats(&mut server, at(120), 1);
    beats(&mut server, at(240), 2);
    acts(&mut server, at(360), NO_ANSWER);
}

/// The same: an answer clears the count.
/// <https://docs.nats.io/running-a-nats-service/configuration>
#[test]
fn nats_answer_at_350_starts_afresh() {
    let mut server = session(nats());
    beats(&mut server, at(120), 1);
    beats(&mut server, at(240), 2);
    server.handle(ANSWER, at(350));
    beats(&mut server, at(360), 3);
    beats(&mut server, at(480), 4);
    acts(&mut server, at(600), NO_ANSWER);
}

fn nats() -> nabiz::ConfigBuilder {
    bare_server()
        .with_write_timeout(secs(20))
        .with_interval(secs(120))
        .with_max_unanswered(2)
}

/// Cassandra's failure detector marks nobody down when its own check comes
/// late, as it does after a long collection of garbage.
/// <https://issues.apache.org/jira/browse/CASSANDRA-9183>
#[test]
fn cassandra_no_verdict_after_a_local_pause() {
    let mut server = session(bare_server().with_silence_timeout(secs(3)));
    for second in [0, 1, 2, 9] {
        idle(&mut server, at(second));
    }
    assert!(server.is_suspect());
    acts(&mut server, at(12), SILENT);
}

/// Workerman: a server closes a client that sent nothing for 55 s.
/// <https://manual.workerman.net/doc/en/faq/heartbeat.html>
#[test]
fn workerman_is_alive_at_54_9_s_and_dead_at_55_s() {
    let mut server = session(bare_server().with_silence_timeout(secs(55)));
    server.handle(Event::Received, at(0));
    idle(&mut server, at_ms(54_900));
    acts(&mut server, at(55), SILENT);
}

/// The same with the page's timer, which looks at all connections on a fixed
/// period, here 10 s.
/// <https://manual.workerman.net/doc/en/faq/heartbeat.html>
#[test]
fn workerman_polled_every_10_s_is_dead_at_60_s() {
    let config = bare_server()
        .with_silence_timeout(secs(55))
        .with_stall_tolerance(secs(11));
    let mut server = session(config);
    server.handle(Event::Received, at(0));
    for second in [10, 20, 30, 40, 50] {
        idle(&mut server, at(second));
    }
    assert_eq!(server.poll(at(60)), Some(SILENT));
}

/// The page's own pair: a client that beats every 55 s, a limit of 55 s.
/// <https://manual.workerman.net/doc/en/faq/heartbeat.html>
#[test]
fn workerman_55_s_against_55_s_is_refused() {
    let client = Config::client().with_interval(secs(55)).build().unwrap();
    let server = Config::server()
        .with_silence_timeout(secs(55))
        .build()
        .unwrap();
    let refusal = client.compatible_with(&server).unwrap_err();
    assert!(
        matches!(
            refusal,
            Incompatible::NoMargin { end: End::Peers, field: "silence_timeout", limit, interval, .. }
                if limit == secs(55) && interval == secs(55)
        ),
        "{refusal:?}"
    );
    assert!(server.compatible_with(&client).is_err());
}
