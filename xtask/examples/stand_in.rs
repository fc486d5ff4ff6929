//! A stand-in for a service, for xtask's stories: it listens where a service would, says that it is
//! ready, drains on SIGTERM, and fails on request. It is built for tests only.
//!
//! `STAND_IN_<NAME>` says how it behaves, with the service's name in capitals: `dies` at start,
//! `never-ready`, `stubborn` when told to drain; a service without a word from it is well.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::SIGTERM;
use signal_hook::iterator::Signals;

fn main() -> ExitCode {
    let name = std::env::args().next().unwrap_or_default();
    let name = Path::new(&name).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let variable = format!("STAND_IN_{}", name.to_uppercase().replace('-', "_"));
    let behaviour = std::env::var(variable).unwrap_or_default();
    println!(r#"{{"timestamp":"2026-01-01T00:00:00Z","level":"INFO","message":"{name} begins"}}"#);
    match serve(&behaviour) {
        Ok(()) => {
            println!("{name} drained");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{name} cannot serve: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(behaviour: &str) -> std::io::Result<()> {
    if behaviour == "dies" {
        return Err(std::io::Error::other("the database is a teapot"));
    }
    let _service = TcpListener::bind(address("MAINSTAY_LISTEN")?)?;
    let admin = TcpListener::bind(address("MAINSTAY_ADMIN_LISTEN")?)?;
    let ready = Arc::new(AtomicBool::new(behaviour != "never-ready"));
    std::thread::spawn({
        let ready = Arc::clone(&ready);
        move || {
            for stream in admin.incoming().flatten() {
                // Whoever asked may have gone; the next one is answered all the same.
                let _ = answer(stream, &ready);
            }
        }
    });
    for _ in Signals::new([SIGTERM])?.forever() {
        ready.store(false, Ordering::Relaxed);
        if behaviour != "stubborn" {
            break;
        }
    }
    Ok(())
}

fn answer(mut stream: std::net::TcpStream, ready: &AtomicBool) -> std::io::Result<()> {
    // Requests are small: one read has all of it.
    let _ = stream.read(&mut [0; 1024])?;
    let answer = if ready.load(Ordering::Relaxed) {
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nready"
    } else {
        "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 20\r\n\r\nwaiting for a teapot"
    };
    stream.write_all(answer.as_bytes())
}

fn address(variable: &str) -> std::io::Result<String> {
    std::env::var(variable).map_err(|_| std::io::Error::other(format!("{variable} is not set")))
}
