//! The process of the billing service.

fn main() -> std::process::ExitCode {
    mainstay::kernel::lifecycle::run(
        mainstay::contract::billing::SERVICE,
        billing_svc::DEFAULT_PORT,
        env!("CARGO_PKG_VERSION"),
        billing_svc::module,
    )
}
