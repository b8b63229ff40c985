//! A smol task for each client, and one for the roster.

use std::net::{TcpListener, TcpStream};

use nabiz::smol::Driver;
use smol::future::{FutureExt, pending};
use smol::{Async, Timer};

use crate::Failed;
use crate::client::Client;
use crate::server::{NAP, PAUSE, Plan, Server};

pub fn serve(listener: TcpListener, plan: Plan) -> Result<(), Failed> {
    smol::block_on(run(listener, plan))
}

async fn run(listener: TcpListener, plan: Plan) -> Result<(), Failed> {
    let listener = Async::new(listener)?;
    let (server, driver) = Server::<Driver>::new(plan)?;
    let driver = smol::spawn(driver.run());
    while server.goes_on() {
        let nap = async {
            Timer::after(NAP).await;
            None
        };
        let Some(accepted) = async { Some(listener.accept().await) }.or(nap).await else {
            continue;
        };
        let welcomed = accepted.and_then(|(stream, peer)| {
            stream.get_ref().set_nodelay(true)?; // a heartbeat that waits for company comes late
            smol::spawn(attend(stream, server.admit(peer))).detach();
            Ok(())
        });
        if let Err(error) = welcomed {
            server.accept_failed(&error);
            Timer::after(PAUSE).await;
        }
    }
    drop(listener);
    server.drain();
    drop(server);
    driver.await;
    Ok(())
}

async fn attend(stream: Async<TcpStream>, mut client: Client<Driver>) {
    while client.is_here() {
        wait(&stream, &mut client).await;
        client.turn(stream.get_ref());
    }
    let grace = client.grace();
    let farewell = async {
        while client.turn(stream.get_ref()) {
            wait(&stream, &mut client).await;
        }
    };
    // Who takes too long to leave is dropped.
    let too_long = async {
        Timer::after(grace).await;
    };
    farewell.or(too_long).await;
}

/// Until there is something to read, room for what waits to be written, or a
/// duty; in this order. What is wrong with the socket the turn will see.
async fn wait(stream: &Async<TcpStream>, client: &mut Client<Driver>) {
    let input = async {
        if !client.wants_input() {
            pending::<()>().await;
        }
        let _ = stream.readable().await;
        None
    };
    let room = async {
        if !client.has_output() {
            pending::<()>().await;
        }
        let _ = stream.writable().await;
        None
    };
    let duty = async { Some(client.duty().await) };
    if let Some(duty) = input.or(room).or(duty).await {
        client.take(duty);
    }
}
