//! Portreeve: an exchange for referrals of online content between public authorities and platforms.

use std::process::ExitCode;

fn main() -> ExitCode {
    portreeve::cli::main()
}
