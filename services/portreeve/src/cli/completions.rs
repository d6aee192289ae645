//! `portreeve completions`: completion scripts for shells.

use std::io::Write as _;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::Cli;
use super::failure::Result;

/// Print a completion script for a shell
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  portreeve completions bash > ~/.local/share/bash-completion/completions/portreeve")]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(&self) -> Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "portreeve", &mut script);
        Ok(std::io::stdout().write_all(&script)?)
    }
}
