//! The authz service.

fn main() -> std::process::ExitCode {
    mainstay::kernel::lifecycle::run(
        mainstay::contract::authz::SERVICE,
        authz_svc::DEFAULT_PORT,
        env!("CARGO_PKG_VERSION"),
        authz_svc::module,
    )
}
