//! One link, as the server sees it.

use std::io;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use nabiz::CloseReason;
use nabiz::tokio::Duty;
use nabiz_examples::events::Line;
use tokio::time::timeout;

use crate::roster::Link;
use crate::server::Server;

/// The page's heartbeat, as `pulse.js` has it by default.
const BEAT: &str = "beat";

/// How a link ended.
enum End {
    /// The page went away, or the network broke.
    Gone { error: Option<axum::Error> },
    Closed {
        reason: CloseReason,
        retry_after: Option<Duration>,
    },
}

fn gone(error: axum::Error) -> End {
    End::Gone { error: Some(error) }
}

/// Serves one link until it ends.
pub async fn serve(server: &Server, socket: WebSocket) {
    let link = server.roster.enter(server.registry.register());
    let log = server.log.of_connection(link.id);
    log.write(Line::new("open"));
    let (mut output, mut input) = socket.split();
    let end = keep(server, &link, &mut output, &mut input).await;

    let silence = link.lease.silence();
    let line = Line::new("closed");
    match end {
        End::Gone { error } => {
            server.roster.leave(&link, "Disconnected", silence);
            let error = error.map(io::Error::other);
            log.write(
                line.word("reason", "Disconnected")
                    .seconds("silent", silence)
                    .error(error.as_ref()),
            );
        }
        End::Closed {
            reason,
            retry_after,
        } => {
            log.write(
                line.word("reason", reason)
                    .seconds("silent", silence)
                    .seconds("retry_in", retry_after),
            );
            let goodbye = say_goodbye(&mut output, &mut input, reason, retry_after);
            // Who does not answer it is dropped.
            let _ = timeout(server.registry.config().close_grace(), goodbye).await;
            server.roster.leave(&link, &reason.to_string(), silence);
        }
    }
}

async fn keep(
    server: &Server,
    link: &Link,
    output: &mut SplitSink<WebSocket, Message>,
    input: &mut SplitStream<WebSocket>,
) -> End {
    let log = server.log.of_connection(link.id);
    let news = |beat| {
        let news = server.roster.news(link, beat);
        // Strings and numbers always serialize.
        Message::text(serde_json::to_string(&news).unwrap_or_default())
    };
    if let Err(error) = output.feed(news(None)).await {
        return gone(error);
    }
    let (mut is_flushing, mut is_beating) = (true, false);
    loop {
        tokio::select! {
            biased; // however much comes, duties are done; verdicts let it go first
            duty = link.lease.next() => match duty {
                // The output is asked for one beat at a time, so this does not wait.
                Duty::Heartbeat => {
                    if let Err(error) = output.feed(news(Some(link.beaten()))).await {
                        return gone(error);
                    }
                    (is_flushing, is_beating) = (true, true);
                }
                Duty::Close { reason, retry_after } => return End::Closed { reason, retry_after },
            },
            flushed = output.flush(), if is_flushing => {
                if let Err(error) = flushed {
                    return gone(error);
                }
                is_flushing = false;
                if is_beating {
                    is_beating = false;
                    link.lease.heartbeat_sent();
                    log.write(Line::new("beat").number("id", link.beats()));
                } else {
                    link.lease.sent();
                }
            }
            message = input.next() => match message {
                Some(Ok(Message::Text(text))) if text == BEAT => {
                    link.heard();
                    link.lease.heartbeat_received();
                }
                Some(Ok(Message::Text(_) | Message::Binary(_))) => link.lease.received(),
                // A browser answers pings on behalf of a page that is frozen:
                // they are no evidence of the page's life.
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_))) | None => return End::Gone { error: None },
                Some(Err(error)) => return gone(error),
            },
        }
    }
}

/// Says why, and waits for the answer: what is unread when a socket is dropped
/// may take the goodbye with it.
async fn say_goodbye(
    output: &mut SplitSink<WebSocket, Message>,
    input: &mut SplitStream<WebSocket>,
    reason: CloseReason,
    retry_after: Option<Duration>,
) {
    let words = match retry_after {
        Some(wait) => format!("{reason}, retry-after={:.3}", wait.as_secs_f64()),
        None => reason.to_string(),
    };
    let frame = CloseFrame {
        code: code(reason),
        reason: words.into(),
    };
    if output.send(Message::Close(Some(frame))).await.is_ok() {
        while let Some(Ok(_)) = input.next().await {}
    }
}

/// What a browser is told in place of a reason: a code of the registry for
/// WebSockets, or one for private use.
fn code(reason: CloseReason) -> u16 {
    match reason {
        CloseReason::Draining | CloseReason::TooOld => 1012, // Service Restart
        CloseReason::Shutdown => 1001,                       // Going Away
        _ => 4000,
    }
}
