//! A tokio task for each client, and one for the roster.

use std::io::{self, Read, Write};
use std::net::TcpListener;

use nabiz::tokio::Driver;
use tokio::net::{self, TcpStream};
use tokio::runtime::Builder;
use tokio::time::{sleep, timeout};

use crate::Failed;
use crate::client::{Client, Socket};
use crate::server::{NAP, PAUSE, Plan, Server};

pub fn serve(listener: TcpListener, plan: Plan) -> Result<(), Failed> {
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(listener, plan))
}

async fn run(listener: TcpListener, plan: Plan) -> Result<(), Failed> {
    let listener = net::TcpListener::from_std(listener)?;
    let (server, driver) = Server::<Driver>::new(plan)?;
    let driver = tokio::spawn(driver.run());
    while server.goes_on() {
        let Ok(accepted) = timeout(NAP, listener.accept()).await else {
            continue;
        };
        let welcomed = accepted.and_then(|(stream, peer)| {
            stream.set_nodelay(true)?; // a heartbeat that waits for company comes late
            tokio::spawn(attend(stream, server.admit(peer)));
            Ok(())
        });
        if let Err(error) = welcomed {
            server.accept_failed(&error);
            sleep(PAUSE).await;
        }
    }
    drop(listener);
    server.drain();
    drop(server);
    driver.await.map_err(io::Error::from)?;
    Ok(())
}

async fn attend(stream: TcpStream, mut client: Client<Driver>) {
    while client.is_here() {
        wait(&stream, &mut client).await;
        client.turn(AtOnce(&stream));
    }
    let grace = client.grace();
    let farewell = async {
        while client.turn(AtOnce(&stream)) {
            wait(&stream, &mut client).await;
        }
    };
    // Who takes too long to leave is dropped.
    let _ = timeout(grace, farewell).await;
}

/// Until there is something to read, room for what waits to be written, or a
/// duty; in this order. What is wrong with the socket the turn will see.
async fn wait(stream: &TcpStream, client: &mut Client<Driver>) {
    tokio::select! {
        biased;
        _ = stream.readable(), if client.wants_input() => {}
        _ = stream.writable(), if client.has_output() => {}
        duty = client.duty() => client.take(duty),
    }
}

/// Reads and writes what can be without waiting.
struct AtOnce<'a>(&'a TcpStream);

impl Read for AtOnce<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl Write for AtOnce<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Socket for AtOnce<'_> {
    fn finish(&mut self) -> io::Result<()> {
        Ok(rustix::net::shutdown(self.0, rustix::net::Shutdown::Write)?)
    }
}
