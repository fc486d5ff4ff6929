//! etcd.

use tempfile::TempDir;

use super::{Server, free_port};

/// An etcd of the story's own.
pub(crate) struct PrivateEtcd {
    server: Server,
    folder: TempDir,
    url: String,
}

impl PrivateEtcd {
    /// Starts a new one.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("http://127.0.0.1:{}", free_port());
        let peers = format!("http://127.0.0.1:{}", free_port());
        let data = folder.path().join("data").display().to_string();
        let arguments = [
            ("--data-dir", &data),
            ("--listen-client-urls", &url),
            ("--advertise-client-urls", &url),
            ("--listen-peer-urls", &peers),
            ("--initial-advertise-peer-urls", &peers),
            ("--initial-cluster", &format!("default={peers}")),
        ];
        let arguments: Vec<_> = arguments
            .into_iter()
            .flat_map(|(name, value)| [name.to_owned(), value.clone()])
            .collect();
        Self { server: Server::start("etcd", &arguments), folder, url }
    }

    /// Where it is.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(&mut self) {
        self.server.kill();
    }

    /// Ends it and takes all it knew away.
    pub(crate) fn kill_and_wipe(&mut self) {
        self.server.kill();
        std::fs::remove_dir_all(self.folder.path().join("data")).unwrap();
    }

    /// Starts it with what it knows.
    pub(crate) fn restart(&mut self) {
        self.server.restart();
    }
}
