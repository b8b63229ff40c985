//! A WebSocket client that stays connected, on tokio's [`Pulse`]: the pong that
//! brings back a ping's number gives the round trip. The server's own pings are
//! answered by tungstenite.

use std::time::Duration;

use futures_util::stream::{self, PollNext, Stream, StreamExt, TryStreamExt};
use futures_util::{SinkExt, future::ready};
use nabiz::tokio::Pulse;
use nabiz::{Action, CloseReason, Config, EndReason, Event, HeartbeatId, Phase};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio_tungstenite::connect_async_with_config;
use tokio_tungstenite::tungstenite::{Error, Message, protocol::CloseFrame};

/// What happened.
#[derive(Debug)]
pub enum WsEvent {
    /// The link is up.
    Up,
    /// A text or binary message.
    Message(Message),
    /// Our ping was answered, after so long.
    Pong(Duration),
    /// The server closes, and says why.
    Closing(Option<CloseFrame>),
    /// The link ended, or could not be made.
    Down(Option<EndReason>, Option<Error>),
}

/// Stays connected to `url` until the senders of `outgoing` are gone. What
/// comes out of that while there is no link is thrown away.
pub async fn run(
    url: String,
    config: Config,
    mut outgoing: Receiver<Message>,
    events: Sender<WsEvent>,
) {
    let mut pulse = Pulse::new(config);
    let mut wire = stream::pending().boxed();
    let (mut queue, mut error) = (mpsc::channel(1).0, None);
    loop {
        let is_closing = pulse.session().phase() == Phase::Closing;
        let mut told = None;
        tokio::select! {
            biased; // however much comes, beats go out; a verdict lets it go first
            action = pulse.next() => match action {
                Some(Action::Connect { .. }) => {
                    let (sender, queued) = mpsc::channel(8);
                    (queue, wire) = (sender, dial(url.clone(), queued).boxed());
                }
                Some(Action::SendHeartbeat { id }) => {
                    let ping = Message::Ping(id.to_bytes().to_vec().into());
                    let _ = queue.try_send((ping, Event::HeartbeatSent));
                }
                Some(Action::Close(CloseReason::Shutdown | CloseReason::TooOld)) => {
                    let _ = queue.try_send((Message::Close(None), Event::Sent));
                }
                // There is nobody to say it to.
                Some(Action::Close(_) | Action::Abort) => wire = stream::empty().boxed(),
                Some(Action::Reconnect { .. } | Action::GiveUp(_)) => {
                    told = Some(WsEvent::Down(pulse.status().last_end, error.take()));
                }
                None => return,
            },
            happened = wire.next() => match happened {
                Some(Ok((event, message))) => told = take_in(event, message, &mut pulse),
                end => {
                    error = end.and_then(Result::err);
                    wire = stream::pending().boxed();
                    pulse.handle(Event::Disconnected);
                }
            },
            // Two places stay free, for a ping and a close.
            message = outgoing.recv(), if queue.capacity() > 2 && !is_closing => match message {
                Some(message) => drop(queue.try_send((message, Event::Sent))),
                None => pulse.handle(Event::Shutdown),
            },
        }
        if let Some(told) = told {
            let _ = events.send(told).await;
        }
    }
}

fn take_in(event: Event, message: Option<Message>, pulse: &mut Pulse) -> Option<WsEvent> {
    pulse.handle(event);
    match message {
        None => return (event == Event::Connected).then_some(WsEvent::Up),
        Some(Message::Ping(_)) => pulse.handle(Event::HeartbeatReceived),
        Some(Message::Pong(payload)) => {
            let id = payload[..].try_into().ok().map(HeartbeatId::from_bytes);
            pulse.handle(Event::AnswerReceived { id });
            return pulse.status().rtt.map(WsEvent::Pong);
        }
        Some(Message::Close(frame)) => return Some(WsEvent::Closing(frame)),
        Some(message) => return Some(WsEvent::Message(message)),
    }
    None
}

/// What happens to one connection, from the dial on; it sends what is queued.
fn dial(
    url: String,
    queued: Receiver<(Message, Event)>,
) -> impl Stream<Item = Result<(Event, Option<Message>), Error>> {
    let connection = async move {
        let (sink, input) = connect_async_with_config(url, None, true).await?.0.split(); // no delay
        let came = input.map_ok(|message| (Event::Received, Some(message)));
        let came = came.chain(stream::once(ready(Err(Error::ConnectionClosed))));
        let sent = stream::unfold((sink, queued), async |(mut sink, mut queued)| {
            let (message, event) = queued.recv().await?;
            let sent = sink.send(message).await;
            Some((sent.map(|()| (event, None)), (sink, queued)))
        });
        let both = stream::select_with_strategy(came, sent, |_: &mut ()| PollNext::Left);
        Ok::<_, Error>(stream::once(ready(Ok((Event::Connected, None)))).chain(both))
    };
    stream::once(connection).try_flatten()
}
