//! The audit service.

fn main() -> std::process::ExitCode {
    mainstay::kernel::lifecycle::run(
        mainstay::contract::audit::SERVICE,
        audit_svc::DEFAULT_PORT,
        env!("CARGO_PKG_VERSION"),
        audit_svc::module,
    )
}
