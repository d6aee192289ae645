//! The service through its public face: its calls and streams over gRPC, its store on both engines.
//!
//! The Postgres variants need a server in which they may make databases: `tests/run` starts one.
#![expect(clippy::unwrap_used, reason = "tests")]

mod calls;
mod follow;
mod sharing;
mod store;
mod streams;
mod support;
