//! The auth service.

/// A password hash takes 19 MiB for a moment, on whichever thread is free. The allocator of glibc keeps as much
/// for each of eight arenas a core once it has given it out: half a gigabyte on two cores.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    mainstay::kernel::lifecycle::run(
        mainstay::contract::auth::SERVICE,
        auth_svc::DEFAULT_PORT,
        env!("CARGO_PKG_VERSION"),
        auth_svc::module,
    )
}
