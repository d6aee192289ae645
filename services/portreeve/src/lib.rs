//! The command line, the suite in one process, and the demo.

pub mod cli;
mod demo;
pub mod suite;
