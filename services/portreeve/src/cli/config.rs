//! `portreeve config`: what a server would run with.

use clap::{Args, Subcommand};
use portreeve_runtime::config::{Config as Table, Options};

use super::failure::{Failure, Result};
use super::serve::settings;

/// Show a server's configuration
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  portreeve config show > portreeve.toml")]
pub(crate) struct Config {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print the configuration that flags, variables and file come to, as TOML and without passwords
    #[command(after_help = "Example:\n  PORTREEVE_LISTEN=127.0.0.1:7500 portreeve config show")]
    Show {
        #[command(flatten)]
        options: Box<Options>,
    },
    /// Print the JSON Schema of the configuration
    #[command(after_help = "Example:\n  portreeve config schema > portreeve.schema.json")]
    Schema,
}

impl Config {
    pub(crate) fn run(self) -> Result<()> {
        let text = match self.action {
            Action::Show { options } => {
                toml::to_string(&settings(*options)?.config().redacted()).map_err(|error| error.to_string())
            }
            Action::Schema => serde_json::to_string_pretty(&Table::schema()).map_err(|error| error.to_string()),
        };
        say!("{}", text.map_err(Failure::Failed)?.trim_end())?;
        Ok(())
    }
}
