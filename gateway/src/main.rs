//! The gateway's process.

use std::process::ExitCode;

fn main() -> ExitCode {
    mainstay::kernel::lifecycle::run(
        gateway::SERVICE,
        gateway::PORT,
        env!("CARGO_PKG_VERSION"),
        gateway::module,
    )
}
