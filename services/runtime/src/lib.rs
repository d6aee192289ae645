//! What every server of the suite has: one port, the layers around each call, the watch loop, the proofs of its logs,
//! configuration, telemetry and an orderly end.

pub mod agreements;
pub mod audit;
pub mod barrier;
pub mod caller;
pub mod channel;
pub mod config;
pub mod erasures;
pub mod follow;
pub mod identity;
pub mod layers;
pub mod lifecycle;
pub mod matching;
pub mod permissions;
pub mod reading;
pub mod secret;
pub mod server;
pub mod status;
pub mod telemetry;
pub mod watch;
pub mod wire;
