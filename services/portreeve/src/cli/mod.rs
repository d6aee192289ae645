//! The command line: one module for each subject.

/// `println!`, but an output that nobody reads any more is an error like others, and not a panic.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        writeln!(std::io::stdout(), $($text)*).map_err($crate::cli::failure::Failure::from)
    }};
}
pub(crate) use say;

mod addresses;
mod agreement;
mod challenge;
pub(crate) mod clause;
mod clock;
mod completions;
mod config;
pub(crate) mod connection;
mod consultations;
mod content;
mod decide;
mod draft;
mod evidence;
pub(crate) mod failure;
mod flag;
#[cfg(test)]
#[path = "../../../core/tests/fuzz/texts.rs"]
mod fuzz;
mod grant;
mod health;
pub(crate) mod import;
mod inbox;
mod interest;
mod json;
mod lease;
mod measure;
mod non_disclosure;
mod observe;
mod operation;
mod order;
mod organisation;
mod pki;
mod pre_notice;
mod prioritise;
mod refer;
pub(crate) mod report;
mod retention;
mod serve;
mod sheet;
mod sign;
mod statements;
mod stay;
pub(crate) mod table;
mod transparency;
mod upkeep;
mod verify;
pub(crate) mod watch;
pub(crate) mod words;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::Failure;

use crate::demo::Demo;

/// An exchange for referrals of online content between public authorities and platforms
#[derive(Debug, Parser)]
#[command(name = "portreeve", version, arg_required_else_help = true)]
#[command(
    after_help = "Start with `portreeve demo`. Ends with 0 when it succeeded, 1 when it was refused, 2 when the \
    command line or a file is wrong, 3 when no server answers, 10 and above when `verify` disproved something."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Demo(Demo),
    Refer(Box<refer::Refer>),
    Withdraw(refer::Withdraw),
    Link(refer::Link),
    PreNotice(Box<pre_notice::PreNotice>),
    Prioritise(Box<prioritise::Prioritise>),
    NonDisclosure(Box<non_disclosure::NonDisclosure>),
    Draft(Box<draft::Draft>),
    Import(import::Import),
    Inbox(inbox::Inbox),
    Decide(Box<decide::Decide>),
    Statements(Box<statements::Statements>),
    Report(report::Report),
    Flow(report::flow::Flow),
    Survival(report::survival::Survival),
    Recurrence(report::recurrence::Recurrence),
    Publication(report::publication::Publication),
    Transparency(Box<transparency::Transparency>),
    Watch(watch::Watch),
    Observe(Box<observe::Observe>),
    Observations(observe::Observations),
    Evidence(Box<evidence::Evidence>),
    Interest(Box<interest::Interest>),
    Hold(interest::Hold),
    Organisation(organisation::Organisation),
    Addresses(addresses::Addresses),
    Challenge(Box<challenge::Challenge>),
    Lease(lease::Lease),
    Stay(Box<stay::Stay>),
    Clock(clock::Clock),
    Clause(clause::Clause),
    Consultations(consultations::Consultations),
    Verify(verify::Verify),
    Sign(sign::Sign),
    Grant(grant::Grant),
    Measure(Box<measure::Measure>),
    Operation(Box<operation::Operation>),
    Flag(flag::Flag),
    Retention(retention::Retention),
    Agreement(Box<agreement::Agreement>),
    Health(health::Health),
    Pki(pki::Pki),
    Rebuild(upkeep::Rebuild),
    Compact(upkeep::Compact),
    Config(config::Config),
    Completions(completions::Completions),
}

/// Runs the command line of this process to its end.
pub fn main() -> ExitCode {
    // Wrong usage ends the process here, with code 2.
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(cli.command)) {
        Ok(code) => code,
        Err(Failure::Failed(text)) if text == failure::CLOSED_PIPE => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            failure.exit_code()
        }
    }
}

async fn run(command: Command) -> failure::Result<ExitCode> {
    match command {
        Command::Serve(command) => return command.run().await,
        Command::Demo(command) => return command.run().await,
        Command::Refer(command) => command.run().await?,
        Command::Withdraw(command) => command.run().await?,
        Command::Link(command) => command.run().await?,
        Command::PreNotice(command) => command.run().await?,
        Command::Prioritise(command) => command.run().await?,
        Command::NonDisclosure(command) => command.run().await?,
        Command::Draft(command) => command.run().await?,
        Command::Import(command) => command.run().await?,
        Command::Inbox(command) => command.run().await?,
        Command::Decide(command) => command.run().await?,
        Command::Statements(command) => command.run().await?,
        Command::Report(command) => command.run().await?,
        Command::Flow(command) => command.run().await?,
        Command::Survival(command) => command.run().await?,
        Command::Recurrence(command) => command.run().await?,
        Command::Publication(command) => command.run().await?,
        Command::Transparency(command) => command.run().await?,
        Command::Watch(command) => command.run().await?,
        Command::Observe(command) => command.run().await?,
        Command::Observations(command) => command.run().await?,
        Command::Evidence(command) => command.run().await?,
        Command::Interest(command) => command.run().await?,
        Command::Hold(command) => command.run().await?,
        Command::Organisation(command) => command.run().await?,
        Command::Lease(command) => command.run().await?,
        Command::Stay(command) => command.run().await?,
        Command::Clock(command) => command.run().await?,
        Command::Addresses(command) => command.run().await?,
        Command::Clause(command) => command.run().await?,
        Command::Consultations(command) => command.run().await?,
        Command::Verify(command) => command.run().await?,
        Command::Sign(command) => command.run().await?,
        Command::Grant(command) => command.run().await?,
        Command::Measure(command) => command.run().await?,
        Command::Operation(command) => command.run().await?,
        Command::Challenge(command) => command.run().await?,
        Command::Flag(command) => command.run().await?,
        Command::Retention(command) => command.run().await?,
        Command::Agreement(command) => command.run().await?,
        Command::Health(command) => command.run().await?,
        Command::Pki(command) => command.run()?,
        Command::Rebuild(command) => command.run().await?,
        Command::Compact(command) => command.run().await?,
        Command::Config(command) => command.run()?,
        Command::Completions(command) => command.run()?,
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound_and_every_command_has_an_example() {
        fn check(command: &clap::Command) {
            for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
                let help = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains("Example") && help.contains("portreeve "), "{} has no example", sub.get_name());
                check(sub);
            }
        }
        Cli::command().debug_assert();
        check(&Cli::command());
    }
}
