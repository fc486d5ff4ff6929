//! The identity service.

fn main() -> std::process::ExitCode {
    mainstay::kernel::lifecycle::run(
        mainstay::contract::identity::SERVICE,
        identity_svc::DEFAULT_PORT,
        env!("CARGO_PKG_VERSION"),
        identity_svc::module,
    )
}
