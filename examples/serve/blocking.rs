//! A thread for each client, and one for the roster.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use nabiz::blocking::Driver;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::Failed;
use crate::client::Client;
use crate::server::{NAP, PAUSE, Plan, Server};

pub fn serve(listener: TcpListener, plan: Plan) -> Result<(), Failed> {
    let (server, driver) = Server::<Driver>::new(plan)?;
    let driver = thread::Builder::new().spawn(move || driver.run())?;
    while server.goes_on() {
        let welcomed = match accept(&listener) {
            Ok(Some((stream, peer))) => welcome(&server, stream, peer),
            Ok(None) => continue,
            Err(error) => Err(error),
        };
        if let Err(error) = welcomed {
            server.accept_failed(&error);
            thread::sleep(PAUSE);
        }
    }
    drop(listener);
    server.drain();
    drop(server);
    let ended = driver.join();
    ended.map_err(|_| io::Error::other("the roster's thread panicked"))?;
    Ok(())
}

/// Waits for a client for so long as it may.
fn accept(listener: &TcpListener) -> io::Result<Option<(TcpStream, SocketAddr)>> {
    let nap = Timespec {
        tv_sec: 0,
        tv_nsec: NAP.subsec_nanos().into(),
    };
    match poll(&mut [PollFd::new(listener, PollFlags::IN)], Some(&nap)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    match listener.accept() {
        Ok(came) => Ok(Some(came)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

fn welcome(server: &Arc<Server<Driver>>, stream: TcpStream, peer: SocketAddr) -> io::Result<()> {
    stream.set_nonblocking(false)?; // some systems take it over from the listener
    stream.set_nodelay(true)?; // a heartbeat that waits for company comes late
    let client = server.admit(peer);
    thread::Builder::new().spawn(move || attend(&stream, client))?;
    Ok(())
}

fn attend(stream: &TcpStream, mut client: Client<Driver>) {
    let glance = Some(client.glance());
    // They are refused only where they are zero.
    let _ = stream.set_read_timeout(glance);
    let _ = stream.set_write_timeout(glance);
    while client.is_here() {
        client.turn(stream);
    }
    let left = Instant::now();
    while client.turn(stream) && left.elapsed() < client.grace() {}
}
