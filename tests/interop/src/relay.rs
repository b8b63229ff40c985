//! A relay that brings the server's bytes in small pieces, and through which a
//! client can fall silent without knowing it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

/// Bytes at once, where it does not matter.
const MANY: usize = 4096;

/// Relays connections until it is dropped; those it has then go on.
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    accepted: AtomicUsize,
    /// What the clients before this one say is swallowed.
    first_heard: AtomicUsize,
    closed: AtomicBool,
}

impl Relay {
    /// To this server.
    pub fn start(backend: SocketAddr) -> Self {
        Self::with(backend, MANY)
    }

    /// The same, but what the server says comes in pieces of so many bytes.
    pub fn trickle(backend: SocketAddr, bytes: usize) -> Self {
        Self::with(backend, bytes)
    }

    fn with(backend: SocketAddr, at_once: usize) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let shared = Arc::<Shared>::default();
        let relay = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming() {
                if relay.closed.load(SeqCst) {
                    break;
                }
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(backend)) else {
                    continue;
                };
                let number = relay.accepted.fetch_add(1, SeqCst);
                let (from_client, to_client) = both(client);
                let (from_server, to_server) = both(server);
                let shared = Arc::clone(&relay);
                let is_heard = move || number >= shared.first_heard.load(SeqCst);
                thread::spawn(move || pump(from_client, to_server, MANY, is_heard));
                thread::spawn(move || pump(from_server, to_client, at_once, || true));
            }
        });
        Self { address, shared }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on nothing that the present clients say gets through.
    ///
    /// # Panics
    /// Where there is none.
    pub fn mute_clients(&self) {
        let accepted = self.shared.accepted.load(SeqCst);
        assert!(accepted > 0, "no client yet");
        self.shared.first_heard.store(accepted, SeqCst);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.closed.store(true, SeqCst);
        let _ = TcpStream::connect(self.address); // wakes it
    }
}

fn both(stream: TcpStream) -> (TcpStream, TcpStream) {
    (stream.try_clone().expect("a second handle"), stream)
}

fn pump(mut from: TcpStream, mut to: TcpStream, at_once: usize, is_heard: impl Fn() -> bool) {
    let _ = to.set_nodelay(true);
    let mut buffer = vec![0; at_once];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if is_heard() && to.write_all(&buffer[..read]).is_err() {
            break;
        }
        if at_once < MANY {
            thread::sleep(Duration::from_micros(100)); // for the reader to see just this
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
