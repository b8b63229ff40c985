//! The page, and its links.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use nabiz::ConfigError;
use nabiz::tokio::{Driver, Registry};
use nabiz_examples::events::{Line, Log};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::connection;
use crate::limits::{Ends, PageLimits};
use crate::roster::Roster;

/// Pages have little to say.
const LONGEST_MESSAGE: usize = 4096;

#[derive(Clone)]
pub struct Server {
    pub registry: Registry,
    pub roster: Arc<Roster>,
    pub log: Log,
    ends: Ends,
}

impl Server {
    /// A server, and its clockwork.
    pub fn new(ends: Ends, log: Log) -> Result<(Self, Driver), ConfigError> {
        let (registry, driver) = Registry::new(ends.server)?;
        let server = Self {
            registry,
            roster: Arc::default(),
            log,
            ends,
        };
        Ok((server, driver))
    }

    pub async fn serve(&self, listener: TcpListener) -> io::Result<()> {
        let routes = Router::new()
            .route("/", file("text/html", include_str!("index.html")))
            .route("/style.css", file("text/css", include_str!("style.css")))
            .route("/page.js", file("text/javascript", include_str!("page.js")))
            .route(
                "/pulse.js",
                file("text/javascript", include_str!("pulse.js")),
            )
            .route("/limits.json", get(limits))
            .route("/link", get(link))
            .with_state(self.clone());
        axum::serve(listener, routes).await
    }

    /// When it is time, closes everyone, spread over a window, and waits until
    /// they are gone.
    pub async fn drain_after(&self, stop: impl Future<Output = ()>, window: Duration) {
        stop.await;
        self.log.write(Line::new("drain"));
        self.registry.drain(window);
        // Whoever comes meanwhile is closed with the others, so this has an end.
        let most = window + self.registry.config().close_grace() * 2;
        let _ = timeout(most, self.roster.empty()).await;
    }
}

fn file(kind: &'static str, text: &'static str) -> MethodRouter<Server> {
    get(move || async move { ([(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-cache")], text) })
}

async fn limits(State(server): State<Server>) -> impl IntoResponse {
    // Numbers always serialize.
    let json = serde_json::to_string(&PageLimits::from(server.ends)).unwrap_or_default();
    ([(CONTENT_TYPE, "application/json")], json)
}

async fn link(State(server): State<Server>, upgrade: WebSocketUpgrade) -> Response {
    upgrade
        .max_message_size(LONGEST_MESSAGE)
        .on_upgrade(async move |socket| connection::serve(&server, socket).await)
}
