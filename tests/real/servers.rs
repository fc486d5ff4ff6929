//! Servers of a story's own: killed and started again, as nobody may do with those of the run.

pub(crate) mod consul;
pub(crate) mod etcd;
pub(crate) mod kafka;
pub(crate) mod postgres;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use mainstay_testing::INFRA_VARIABLE;

/// Folders deeper than this hold no programs.
const DEEPEST: usize = 5;

/// A server process; dropped, it is killed.
pub(crate) struct Server {
    program: PathBuf,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl Server {
    /// Starts a program that `cargo xtask infra up` has found or brought along.
    pub(crate) fn start(program: &str, arguments: &[String]) -> Self {
        let mut server =
            Self { program: find(program), arguments: arguments.to_vec(), child: None };
        server.restart();
        server
    }

    /// Runs it to its end, which must be a good one.
    fn run(program: &str, arguments: &[String]) {
        let ended = Command::new(find(program)).args(arguments).output().unwrap();
        assert!(ended.status.success(), "{program}: {}", String::from_utf8_lossy(&ended.stdout));
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts it with the arguments it had.
    pub(crate) fn restart(&mut self) {
        self.kill();
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.child = Some(child.unwrap_or_else(|error| panic!("{:?}: {error}", self.program)));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port of the loopback that is free.
pub(crate) fn free_port() -> u16 {
    mainstay_testing::free_address().port()
}

/// Installed, or unpacked beside the file that says where the servers are.
fn find(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&path).map(|folder| folder.join(program));
    if let Some(found) = installed.into_iter().find(|path| path.is_file()) {
        return found;
    }
    beneath(&infra_folder(), program, DEEPEST).unwrap_or_else(|| {
        panic!("{program} is neither installed nor unpacked; mend: cargo xtask infra up")
    })
}

/// Where `cargo xtask infra up` keeps what it brings along.
fn infra_folder() -> PathBuf {
    let infra = std::env::var_os(INFRA_VARIABLE).map(PathBuf::from).unwrap_or_default();
    infra.parent().map(Path::to_owned).unwrap_or_default()
}

/// `bin/<program>` in some folder. Folders that may not be read belong to other servers.
fn beneath(folder: &Path, program: &str, depth: usize) -> Option<PathBuf> {
    let here = folder.join("bin").join(program);
    if here.is_file() {
        return Some(here);
    }
    let entries = std::fs::read_dir(folder).ok().filter(|_| depth > 0)?;
    let folders = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir());
    folders.into_iter().find_map(|folder| beneath(&folder, program, depth - 1))
}
