//! The real servers, each with the limits that a test gives it.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;

use crate::server::Server;

/// nginx as a relay of bytes, with this `proxy_timeout`.
pub fn nginx_stream(backend: SocketAddr, timeout: &str) -> Server {
    nginx(
        // Debian makes it a module that is to be loaded first.
        "include /etc/nginx/modules-enabled/*-mod-stream.conf;",
        |port| {
            format!(
                "stream {{
                    server {{
                        listen 127.0.0.1:{port};
                        proxy_pass {backend};
                        proxy_timeout {timeout};
                    }}
                }}"
            )
        },
    )
}

/// nginx as a proxy of web sockets, with these timeouts of reads and writes.
pub fn nginx_websocket(backend: SocketAddr, timeout: &str) -> Server {
    nginx("", |port| {
        format!(
            "http {{
                access_log off;
                client_body_temp_path body;
                proxy_temp_path proxy;
                fastcgi_temp_path fastcgi;
                uwsgi_temp_path uwsgi;
                scgi_temp_path scgi;
                server {{
                    listen 127.0.0.1:{port};
                    location / {{
                        proxy_pass http://{backend};
                        proxy_http_version 1.1;
                        proxy_set_header Upgrade $http_upgrade;
                        proxy_set_header Connection upgrade;
                        proxy_read_timeout {timeout};
                        proxy_send_timeout {timeout};
                    }}
                }}
            }}"
        )
    })
}

fn nginx(first: &str, services: impl Fn(u16) -> String) -> Server {
    Server::start("nginx", |setup| {
        let directory = setup.directory.display();
        let services = services(setup.port);
        // Paths are relative to a directory of the system otherwise.
        let services = services.replace("_temp_path ", &format!("_temp_path {directory}/"));
        let config = setup.config(&format!(
            "{first}
            daemon off;
            master_process off;
            pid {directory}/pid;
            error_log stderr;
            events {{}}
            {services}"
        ));
        setup.command.args(["-e", "stderr", "-c", &config]);
    })
}

/// haproxy as a relay of bytes, with this limit wherever it has one.
pub fn haproxy(backend: SocketAddr, timeout: &str) -> Server {
    Server::start("haproxy", |setup| {
        let port = setup.port;
        let config = setup.config(&format!(
            "defaults
    mode tcp
    timeout connect 5s
    timeout client {timeout}
    timeout server {timeout}
    timeout tunnel {timeout}
listen relay
    bind 127.0.0.1:{port}
    server backend {backend}
"
        ));
        setup.command.args(["-db", "-f", &config]);
    })
}

/// A NATS server that pings at this interval, and bears so many unanswered.
pub fn nats(ping_interval: &str, ping_max: u32) -> Server {
    nats_with(&format!(
        "ping_interval: \"{ping_interval}\"\nping_max: {ping_max}\n"
    ))
}

/// A NATS server that lets nobody in who does not know a word.
pub fn nats_with_token() -> Server {
    nats_with("authorization { token: \"a word\" }\n")
}

fn nats_with(limits: &str) -> Server {
    Server::start("nats-server", |setup| {
        let port = setup.port;
        let config = setup.config(&format!("listen: \"127.0.0.1:{port}\"\n{limits}"));
        setup.command.args(["-c", &config]);
    })
}

/// A Redis server that closes idle clients after so many seconds; 0 for never.
pub fn redis(timeout: u32) -> Server {
    Server::start("redis-server", |setup| {
        let (port, timeout) = (setup.port.to_string(), timeout.to_string());
        let command = &mut setup.command;
        command.args(["--bind", "127.0.0.1", "--port", &port]);
        command.args(["--timeout", &timeout, "--save", "", "--appendonly", "no"]);
    })
}

/// Debian's MQTT broker, with its defaults.
pub fn mosquitto() -> Server {
    Server::start("mosquitto", |setup| {
        let port = setup.port;
        let config = setup.config(&format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nuser root\n"
        ));
        setup.command.args(["-c", &config]);
    })
}

/// The MQTT broker aedes.
pub fn aedes() -> Server {
    let directory = own("aedes", "node_modules/aedes");
    Server::start("node", |setup| {
        let broker = directory.join("broker.mjs");
        setup.command.arg(broker).arg(setup.port.to_string());
    })
}

/// A server of the Python package websockets that echoes; with these limits in
/// seconds it pings, and waits for the pongs.
pub fn websockets(ping: Option<(u32, u32)>) -> Server {
    let directory = own("websockets", "venv/bin/python");
    let python = directory.join("venv/bin/python");
    Server::start(python.to_str().expect("a plain path"), |setup| {
        let server = directory.join("server.py");
        setup.command.arg(server).arg(setup.port.to_string());
        if let Some((interval, timeout)) = ping {
            let limits = [interval.to_string(), timeout.to_string()];
            setup.command.args(limits);
        }
    })
}

/// socat as a relay of bytes, with a process for each connection.
pub fn socat(backend: SocketAddr) -> Server {
    Server::start("socat", |setup| {
        let listen = format!("TCP-LISTEN:{},bind=127.0.0.1,fork,reuseaddr", setup.port);
        setup.command.args([listen, format!("TCP:{backend}")]);
        setup.command.process_group(0); // one signal for all of them
    })
}

/// The directory of a peer of our own, in which `installed` is what it needs.
fn own(peer: &str, installed: &str) -> PathBuf {
    let peers = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("peers");
    let directory = peers.join(peer);
    assert!(
        directory.join(installed).exists(),
        "{peer} is not installed: run tests/interop/install"
    );
    directory
}
