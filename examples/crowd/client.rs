//! One of the crowd.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nabiz::tokio::Pulse;
use nabiz::{Action, Config, Event};
use nabiz_examples::bytes::{Bytes, Scanner};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::tally::Tally;

const BEAT: &[u8] = b"ping\n";
const ANSWER: &[u8] = b"pong\n";
/// How long a dial may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// So many share an address of ours: it has about 28,000 ports on Linux.
const PER_ADDRESS: u32 = 20_000;

pub async fn live(number: u32, server: SocketAddr, config: Config, tally: Arc<Tally>) {
    let dialled = timeout(PATIENCE, dial(number, server)).await;
    match dialled.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into())) {
        Err(error) => tally.failed(&error),
        Ok(stream) => {
            tally.up();
            let mut client = Client::new(stream, config, tally);
            let why = match client.converse().await {
                Ok(why) => why,
                Err(error) => error.to_string(),
            };
            client.tally.closed(why);
        }
    }
}

async fn dial(number: u32, server: SocketAddr) -> io::Result<TcpStream> {
    let socket = match server {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if let (Some(near), IpAddr::V4(Ipv4Addr::LOCALHOST)) = (address(number), server.ip()) {
        socket.bind(SocketAddr::from((near, 0)))?;
    }
    let stream = socket.connect(server).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The whole of 127.0.0.0/8 is ours; none: whichever the kernel picks.
fn address(number: u32) -> Option<Ipv4Addr> {
    let [.., last] = (number / PER_ADDRESS).to_be_bytes();
    (last > 0).then(|| Ipv4Addr::new(127, 0, 0, last.saturating_add(1)))
}

struct Client {
    stream: TcpStream,
    pulse: Pulse,
    /// What is not yet written of a beat.
    output: &'static [u8],
    beats: Scanner,
    answers: Scanner,
    /// When the server's last beat came, or the connection did.
    last: Instant,
    tally: Arc<Tally>,
}

impl Client {
    fn new(stream: TcpStream, config: Config, tally: Arc<Tally>) -> Self {
        Self {
            stream,
            pulse: Pulse::new(config),
            output: &[],
            beats: Scanner::new(Bytes(BEAT.into())),
            answers: Scanner::new(Bytes(ANSWER.into())),
            last: Instant::now(),
            tally,
        }
    }

    /// Beats, and listens for beats, until the connection ends; then tells why.
    async fn converse(&mut self) -> io::Result<String> {
        loop {
            tokio::select! {
                biased; // what came is read before anybody is judged
                _ = self.stream.readable() => {
                    if self.read()? == Some(0) {
                        return Ok("the server closed".into());
                    }
                }
                _ = self.stream.writable(), if !self.output.is_empty() => self.write()?,
                action = self.pulse.next() => match action {
                    Some(Action::Connect { .. }) => self.pulse.handle(Event::Connected), // it is already
                    Some(Action::SendHeartbeat { .. }) => self.output = BEAT,
                    Some(Action::Close(reason)) => return Ok(reason.to_string()),
                    Some(Action::Abort | Action::Reconnect { .. } | Action::GiveUp(_)) | None => {
                        return Ok("given up".into());
                    }
                },
            }
        }
    }

    /// None: there was nothing to read.
    fn read(&mut self) -> io::Result<Option<usize>> {
        let mut buffer = [0; 1024];
        let read = match self.stream.try_read(&mut buffer) {
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        };
        self.pulse.handle(Event::Received);
        let beats = self.beats.count(&buffer[..read]);
        if beats > 0 {
            self.tally.gap(self.last.elapsed());
            self.tally.beats(beats);
            self.last = Instant::now();
        }
        self.tally.answers(self.answers.count(&buffer[..read]));
        Ok(Some(read))
    }

    fn write(&mut self) -> io::Result<()> {
        match self.stream.try_write(self.output) {
            Ok(written) => self.output = &self.output[written..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        if self.output.is_empty() {
            self.pulse.handle(Event::HeartbeatSent);
        }
        Ok(())
    }
}

/// A beat that did not come is late too.
impl Drop for Client {
    fn drop(&mut self) {
        self.tally.gap(self.last.elapsed());
    }
}
