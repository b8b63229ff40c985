//! Proxies that cut what is quiet for three seconds.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread;

use nabiz::Config;
use nabiz_interop::wrappers::line_server;
use nabiz_interop::{clients, peers, watch::Watch};

use crate::Case;
use crate::config::{secs, with_beats, without_beats};

pub const CASES: &[Case] = &[
    ("nginx stream, 3 s", "no beats", || {
        let nginx = peers::nginx_stream(line_server(without_server_beats()), "3s");
        cut(clients::lines(nginx.address(), without_beats()))
    }),
    ("nginx stream, 3 s", "a beat each 2 s", || {
        let nginx = peers::nginx_stream(line_server(without_server_beats()), "3s");
        kept(clients::lines(nginx.address(), with_beats(secs(2))))
    }),
    ("nginx WebSocket, 3 s", "no beats", || {
        let server = peers::websockets(None);
        let nginx = peers::nginx_websocket(server.address(), "3s");
        cut(clients::websocket(nginx.address(), without_beats()))
    }),
    ("nginx WebSocket, 3 s", "a beat each 2 s", || {
        let server = peers::websockets(None);
        let nginx = peers::nginx_websocket(server.address(), "3s");
        kept(clients::websocket(nginx.address(), with_beats(secs(2))))
    }),
    ("haproxy, 3 s", "no beats", || {
        let haproxy = peers::haproxy(line_server(without_server_beats()), "3s");
        cut(clients::lines(haproxy.address(), without_beats()))
    }),
    ("haproxy, 3 s", "a beat each 2 s", || {
        let haproxy = peers::haproxy(line_server(without_server_beats()), "3s");
        kept(clients::lines(haproxy.address(), with_beats(secs(2))))
    }),
    ("haproxy, 3 s", "the server's beat each 2 s", || {
        let beats = Config::server()
            .with_interval(secs(2))
            .with_answer_timeout(secs(4));
        let haproxy = peers::haproxy(line_server(beats.build().expect("it is valid")), "3s");
        let mut watch = clients::lines(haproxy.address(), without_beats());
        watch.stays_up(secs(7));
        "up for 7 s".into()
    }),
];

fn cut(mut watch: Watch) -> String {
    let (ended, back_in) = watch.ends_and_returns();
    ended.by_peer(2.5, 6.0);
    format!("cut at {:.3?}, back in {back_in:.3?}", ended.after)
}

fn kept(mut watch: Watch) -> String {
    watch.stays_up(secs(7));
    let rtt = watch.gauge().rtt.expect("beats were answered");
    format!("up for 7 s, round trip {rtt:.1?}")
}

pub fn without_server_beats() -> Config {
    let quiet = Config::server().without_interval();
    quiet.build().expect("it is valid")
}

/// A server of lines, for as long as this process lives.
pub fn line_server(config: Config) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("a bound address");
    thread::spawn(move || {
        smol::block_on(async {
            let listener = smol::net::TcpListener::try_from(listener).expect("a listener");
            let executor = smol::LocalExecutor::new();
            let accept = async {
                while let Ok((stream, _)) = listener.accept().await {
                    executor.spawn(line_server::serve(stream, config)).detach();
                }
            };
            executor.run(accept).await;
        });
    });
    address
}
