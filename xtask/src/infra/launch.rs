//! Becomes a server that outlives the command which started it.
//!
//! The server gets a session of its own, so that neither Ctrl-C nor the end of the terminal reaches
//! it. One that refuses root runs as another user, who may not be able to walk to the data folder:
//! the folder is opened before, and the server is given its open descriptor as a path below
//! `/proc/self/fd`, by which it reaches that folder and no other.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail};
use clap::Args;
use rustix::io::{FdFlags, fcntl_setfd};

/// What stands in a server's arguments for the open folder.
pub(crate) const FOLDER: &str = "{folder}";

/// The variables that servers keep; others could change what they do.
const KEPT_VARIABLES: [&str; 6] = ["PATH", "HOME", "LANG", "TMPDIR", "TZ", "JAVA_HOME"];

/// What to become.
#[derive(Debug, Args)]
pub(crate) struct LaunchServerArgs {
    /// User and group, as numbers.
    #[arg(long, value_name = "UID:GID")]
    user: Option<String>,
    /// The folder to open.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Stay in the session of whoever waits for the end.
    #[arg(long)]
    attached: bool,
    program: PathBuf,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// How a server is launched.
#[derive(Clone, Debug, Default)]
pub(crate) struct Launch<'a> {
    /// User and group that it runs as; whoever calls, when absent.
    pub(crate) user: Option<(u32, u32)>,
    /// The folder that [`FOLDER`] stands for.
    pub(crate) folder: Option<&'a Path>,
    /// For a program that is waited for, such as one that makes a data folder.
    pub(crate) attached: bool,
}

impl Launch<'_> {
    /// The command; arguments can be added to it.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("/proc/self/exe");
        command.env_clear().current_dir("/");
        command.envs(std::env::vars_os().filter(|(name, _)| {
            KEPT_VARIABLES.iter().any(|kept| name == kept)
                || name.to_string_lossy().starts_with("LC_")
        }));
        command.arg("launch-server");
        if let Some((uid, gid)) = self.user {
            command.args(["--user", &format!("{uid}:{gid}")]);
        }
        if let Some(folder) = self.folder {
            command.arg("--folder").arg(folder);
        }
        command.args(self.attached.then_some("--attached")).arg(program);
        command
    }
}

/// Does not return when it succeeds.
pub(crate) fn run(args: &LaunchServerArgs) -> anyhow::Result<ExitCode> {
    if !args.attached {
        rustix::process::setsid()?;
    }
    let mut command = Command::new(&args.program);
    let folder = args.folder.as_deref().map(open_for_child).transpose()?;
    let folder_path = folder.as_ref().map(|folder| format!("/proc/self/fd/{}", folder.as_raw_fd()));
    for arg in &args.args {
        command.arg(match &folder_path {
            Some(path) => arg.replace(FOLDER, path),
            None => arg.clone(),
        });
    }
    if let Some(user) = &args.user {
        let (uid, gid) = parse_user(user)?;
        command.uid(uid).gid(gid);
    }
    let error = command.exec();
    Err(error).with_context(|| format!("{} cannot be run", args.program.display()))
}

/// Opens a folder so that it stays open in the program.
fn open_for_child(folder: &Path) -> anyhow::Result<File> {
    let file =
        File::open(folder).with_context(|| format!("{} cannot be opened", folder.display()))?;
    fcntl_setfd(&file, FdFlags::empty())?;
    Ok(file)
}

fn parse_user(text: &str) -> anyhow::Result<(u32, u32)> {
    let parsed =
        text.split_once(':').and_then(|(uid, gid)| Some((uid.parse().ok()?, gid.parse().ok()?)));
    match parsed {
        Some(user) => Ok(user),
        None => bail!("{text:?} is no UID:GID"),
    }
}
