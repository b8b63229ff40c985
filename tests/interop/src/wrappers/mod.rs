//! Clients, and a server, of real protocols: each a file to copy, of at most
//! 120 lines.

pub mod line_server;
pub mod lines;
pub mod mqtt;
pub mod nats;
pub mod redis;
pub mod websocket;
