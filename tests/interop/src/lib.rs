//! Real servers, proxies and brokers for tests, and the wrappers that meet
//! them.

pub mod clients;
pub mod peers;
pub mod relay;
pub mod server;
pub mod watch;
pub mod wrappers;
