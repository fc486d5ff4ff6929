//! Consul.

use super::{Server, free_port};

/// A Consul of the story's own, which forgets everything when it is killed.
pub(crate) struct PrivateConsul {
    server: Server,
    url: String,
}

impl PrivateConsul {
    /// Starts an agent on a port of its own, with settings in its own language.
    pub(crate) fn start(config: &str) -> Self {
        let port = free_port();
        Self::serve(&format!("http://127.0.0.1:{port}"), &["-http-port", &port.to_string()], config)
    }

    /// Starts an agent that is reached at `url` on these ports.
    pub(crate) fn serve(url: &str, ports: &[&str], config: &str) -> Self {
        let [lan, wan, rpc] = [free_port(), free_port(), free_port()].map(|port| port.to_string());
        let fixed = [
            "agent",
            "-dev",
            "-bind",
            "127.0.0.1",
            "-client",
            "127.0.0.1",
            "-dns-port",
            "-1",
            "-grpc-port",
            "-1",
            "-serf-lan-port",
            &lan,
            "-serf-wan-port",
            &wan,
            "-server-port",
            &rpc,
            "-hcl",
            config,
        ];
        let arguments: Vec<_> = fixed.iter().chain(ports).map(|text| (*text).to_owned()).collect();
        Self { server: Server::start("consul", &arguments), url: url.to_owned() }
    }

    /// Where its API is.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(&mut self) {
        self.server.kill();
    }

    /// Starts it with the arguments it had and no memory.
    pub(crate) fn restart(&mut self) {
        self.server.restart();
    }
}
