//! What can be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::command::{audit, dlq, events, jobs, roles, sagas, users};

/// Operates a Mainstay platform: its services, events, dead letters, people and trail.
///
/// It is a member of the mesh named `operator` and needs that certificate, by default
/// `tls/operator.pem` in the state folder. Exit codes: 0 done, 1 failed, 2 used wrongly.
#[derive(Debug, Parser)]
#[command(name = "mainstayctl", version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Where the platform is, and how to answer.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// State folder of the platform, such as that of `cargo xtask up` [default: .mainstay]
    #[arg(long, global = true, env = "MAINSTAY_HOME", value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,
    /// Settings file with `home`, `output`, and the tables `[tls]` and `[registry]` of the services
    #[arg(long, global = true, env = "MAINSTAYCTL_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Certificates of the mesh's authorities [default: tls/ca.pem in the state folder]
    #[arg(long, global = true, env = "MAINSTAY_TLS__CA_FILE", value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// The operator's certificate [default: tls/operator.pem in the state folder]
    #[arg(long, global = true, env = "MAINSTAY_TLS__CERT_FILE", value_name = "FILE")]
    pub(crate) cert: Option<PathBuf>,
    /// The certificate's private key [default: tls/operator.key in the state folder]
    #[arg(long, global = true, env = "MAINSTAY_TLS__KEY_FILE", value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// Folder of the registry `directory` [default: registry in the state folder]
    #[arg(long, global = true, env = "MAINSTAY_REGISTRY__PATH", value_name = "DIR")]
    pub(crate) registry: Option<PathBuf>,
    /// Access token of the person to act for, instead of the one of `mainstayctl login`
    #[arg(long, global = true, env = "MAINSTAY_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// File with the tokens of `mainstayctl login` [default: mainstay/session.json in the user's
    /// configuration folder]
    #[arg(long, global = true, env = "MAINSTAYCTL_SESSION", value_name = "FILE")]
    pub(crate) session: Option<PathBuf>,
    /// How to answer [default: table]
    #[arg(long, short, global = true, env = "MAINSTAYCTL_OUTPUT", value_name = "FORM")]
    pub(crate) output: Option<Form>,
}

/// The forms of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Form {
    /// For people.
    #[default]
    Table,
    /// For programs: the contracts' messages, fields by their names in the contract.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Instances of every service: version, contracts, health
    Services,
    /// Events on their topics
    #[command(subcommand)]
    Events(events::Command),
    /// Dead letters: events that a consumer gave up
    #[command(subcommand)]
    Dlq(dlq::Command),
    /// Events that wait to be published
    #[command(subcommand)]
    Outbox(Outbox),
    /// Sagas that do not get on
    #[command(subcommand)]
    Sagas(sagas::Command),
    /// Jobs that are not done, and how they ran
    #[command(subcommand)]
    Jobs(jobs::Command),
    /// Users
    #[command(subcommand)]
    Users(users::Command),
    /// Roles, and who has them
    #[command(subcommand)]
    Roles(roles::Command),
    /// The audit trail
    #[command(subcommand)]
    Audit(audit::Command),
    /// Log in as the person for whom users, roles and the trail are asked
    Login {
        /// E-mail address
        #[arg(long)]
        email: String,
        /// Read the password from standard input, without asking for it
        #[arg(long)]
        password_stdin: bool,
    },
    /// End the session of `login`
    Logout,
    /// Print the completions of a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Outbox {
    /// How many events wait, since when, and which of them fail
    Status {
        /// Only this service
        #[arg(long)]
        service: Option<String>,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        super::Cli::command().debug_assert();
    }
}
