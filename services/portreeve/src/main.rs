//! Portreeve: an exchange for referrals of online content between public authorities and platforms.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    portreeve::cli::main()
}
