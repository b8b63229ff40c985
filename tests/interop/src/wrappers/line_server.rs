//! The server's end of the protocol of [`lines`](super::lines), on smol's
//! [`Pulse`]: a task per connection. Every message is sent back.

use std::future::pending;
use std::io;

use nabiz::smol::Pulse;
use nabiz::{Action, CloseReason, Config, Event};
use smol::future::or;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::TcpStream;

/// A line longer than this is no line; nor is more than this kept for a client
/// that does not read.
const MOST: usize = 64 << 10;

enum Happened {
    Read(io::Result<usize>),
    Wrote(io::Result<usize>),
    Due(Option<Action>),
}

/// Serves one client until either end closes; where it was us, why.
///
/// # Errors
/// Where the connection breaks, or no lines come.
pub async fn serve(stream: TcpStream, config: Config) -> io::Result<Option<CloseReason>> {
    let mut pulse = Pulse::new(config);
    stream.set_nodelay(true)?; // small packets do not wait for company
    let (mut input, mut output) = (stream.clone(), stream);
    let mut buffer = [0; 4096];
    let mut unread = Vec::new();
    let mut unsent = Vec::new();
    // How much is to be written until the heartbeat is, which is in it.
    let mut beat = None;
    loop {
        let read = async {
            if unsent.len() > MOST {
                pending::<()>().await;
            }
            Happened::Read(input.read(&mut buffer).await)
        };
        let wrote = async {
            if unsent.is_empty() {
                pending::<()>().await;
            }
            Happened::Wrote(output.write(&unsent).await)
        };
        let due = async { Happened::Due(pulse.next().await) };
        // However much comes, beats go out; a verdict lets it go first.
        match or(due, or(read, wrote)).await {
            Happened::Read(read) => {
                let read = read?;
                if read == 0 {
                    return Ok(None);
                }
                pulse.handle(Event::Received);
                unread.extend_from_slice(&buffer[..read]);
                take_in(&mut unread, &mut unsent, &mut pulse);
                if unread.len() > MOST {
                    return Err(io::ErrorKind::InvalidData.into());
                }
            }
            Happened::Wrote(written) => {
                let written = written?;
                unsent.drain(..written);
                beat = beat.map(|rest: usize| rest.saturating_sub(written));
                pulse.handle(Event::Sent);
                if beat == Some(0) {
                    beat = None;
                    pulse.handle(Event::HeartbeatSent);
                }
            }
            Happened::Due(Some(Action::SendHeartbeat { .. })) => {
                unsent.extend_from_slice(b"ping\n");
                beat = Some(unsent.len());
            }
            Happened::Due(Some(Action::Close(why))) => return Ok(Some(why)),
            Happened::Due(other) => unreachable!("{other:?} is not for servers"),
        }
    }
}

/// Takes in the lines that are whole.
fn take_in(unread: &mut Vec<u8>, unsent: &mut Vec<u8>, pulse: &mut Pulse) {
    while let Some(end) = unread.iter().position(|byte| *byte == b'\n') {
        let line: Vec<u8> = unread.drain(..=end).collect();
        match &line[..] {
            b"pong\n" => pulse.handle(Event::AnswerReceived { id: None }),
            b"ping\n" => {
                pulse.handle(Event::HeartbeatReceived);
                unsent.extend_from_slice(b"pong\n");
            }
            message => unsent.extend_from_slice(message),
        }
    }
}
