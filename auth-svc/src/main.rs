//! The auth service.

fn main() -> std::process::ExitCode {
    mainstay::kernel::lifecycle::run(
        mainstay::contract::auth::SERVICE,
        auth_svc::DEFAULT_PORT,
        env!("CARGO_PKG_VERSION"),
        auth_svc::module,
    )
}
