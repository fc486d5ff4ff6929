//! Ports that somebody else has, found before anything starts.

use std::net::{SocketAddr, TcpListener};
use std::ops::Range;
use std::path::Path;

use anyhow::Context as _;

use crate::mesh::{PortOffset, SERVICES};
use crate::{observe, process};

/// `LISTEN` in `/proc/net/tcp`.
const LISTENING: &str = "0A";

/// How far offsets that are tried lie from each other: a platform's ports fit between.
const STEP: usize = 50;

/// Refuses to go on when a port is taken; the message names each, who has it, and the mend. With
/// `observe` those of the observer count too.
pub(crate) fn check(offset: PortOffset, observe: bool) -> anyhow::Result<()> {
    let wanted = SERVICES.iter().flat_map(|service| {
        [(service.name, service.address(offset)), (service.name, service.admin_address(offset))]
    });
    let of_observer = observe::ports(offset).into_iter().filter(|_| observe);
    let taken = taken(wanted.chain(of_observer));
    if taken.is_empty() {
        return Ok(());
    }
    anyhow::bail!(
        "{}\nmend: stop what uses the port, or shift every port: cargo xtask up --port-offset {}",
        taken.join("\n"),
        offset.get() + 100
    )
}

/// The first offset at which every port of a platform is free.
pub(crate) fn free(offsets: Range<u16>) -> anyhow::Result<PortOffset> {
    let mut tried = offsets.clone().step_by(STEP).map(|offset| PortOffset::from(Some(offset)));
    tried
        .find_map(|offset| offset.ok().filter(|offset| check(*offset, false).is_ok()))
        .with_context(|| format!("no ports are free at the offsets {offsets:?}"))
}

/// A sentence for each port that somebody else has: which, whose it should be, who has it.
pub(crate) fn taken(wanted: impl Iterator<Item = (&'static str, SocketAddr)>) -> Vec<String> {
    wanted
        .filter_map(|(name, address)| {
            let error = TcpListener::bind(address).err()?;
            Some(describe(name, address, &error))
        })
        .collect()
}

fn describe(name: &str, address: SocketAddr, error: &std::io::Error) -> String {
    let port = address.port();
    if error.kind() != std::io::ErrorKind::AddrInUse {
        return format!("port {port} of {name} cannot be opened: {error}");
    }
    match owner(port) {
        Some(pid) => {
            let who = process::name(pid).unwrap_or_else(|| "unknown".to_owned());
            format!("port {port} of {name} is in use by {who} (pid {pid})")
        }
        None => format!("port {port} of {name} is in use by a process that is not ours to see"),
    }
}

/// The process that listens on a port, if `/proc` shows it.
fn owner(port: u16) -> Option<i32> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| std::fs::read_to_string(table).ok())
        .flat_map(|table| listening_inodes(&table, port))
        .collect();
    process::all().into_iter().find(|pid| {
        process::descriptors(*pid).iter().any(|target| {
            inodes.iter().any(|inode| target == Path::new(&format!("socket:[{inode}]")))
        })
    })
}

/// Inodes of the sockets that listen on a port (proc_pid_net(5)).
fn listening_inodes(table: &str, port: u16) -> Vec<String> {
    let suffix = format!(":{port:04X}");
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let listens = fields.get(1)?.ends_with(&suffix) && *fields.get(3)? == LISTENING;
            listens.then(|| fields.get(9).map(|inode| (*inode).to_owned())).flatten()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_named_with_its_process() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let error = TcpListener::bind(address).unwrap_err();
        let message = describe("auth-svc", address, &error);
        assert!(message.contains(&format!("port {} of auth-svc", address.port())), "{message}");
        assert!(message.contains(&format!("pid {}", std::process::id())), "{message}");
    }

    #[test]
    fn only_listening_sockets_of_the_port_count() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1\n\
            1: 0100007F:1F90 0100007F:D2F0 01 00000000:00000000 00:00000000 00000000     0        0 222 1\n\
            2: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 333 1\n";
        assert_eq!(listening_inodes(table, 8080), ["111"]);
    }
}
