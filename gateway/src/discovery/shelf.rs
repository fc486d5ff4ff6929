//! The contracts last seen, kept on disk: one file for each service.
//!
//! Losing a file loses nothing but a 503 in the place of a 404 until the service is back, so every
//! fault here is logged and passed over. A service that is gone for good is forgotten by removing
//! its file while the gateway is stopped.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::contract::Contract;

/// Where contracts are kept; nowhere when the folder is absent.
pub(crate) struct Shelf {
    folder: Option<PathBuf>,
}

#[derive(Serialize, Deserialize)]
struct Record {
    service: String,
    hash: String,
    grpc_services: Vec<String>,
    /// Milliseconds since 1970 when the service was first seen: the older keeps its routes.
    since: u64,
    descriptors: String,
}

impl Shelf {
    /// A shelf in the folder, which is made if need be.
    pub(crate) fn in_folder(folder: &Path) -> Self {
        match std::fs::create_dir_all(folder) {
            Ok(()) => Self { folder: Some(folder.to_owned()) },
            Err(error) => {
                tracing::warn!(%error, folder = %folder.display(), "contracts are not kept on disk");
                Self { folder: None }
            }
        }
    }

    /// Everything that is kept, the oldest first.
    pub(crate) fn load(&self) -> Vec<Contract> {
        let Some(entries) = self.folder.as_ref().and_then(|folder| std::fs::read_dir(folder).ok())
        else {
            return Vec::new();
        };
        let paths = entries.flatten().map(|entry| entry.path());
        let mut records: Vec<Record> = paths.filter_map(|path| read(&path)).collect();
        records.sort_by(|a, b| (a.since, &a.service).cmp(&(b.since, &b.service)));
        records.into_iter().filter_map(contract).collect()
    }

    /// Keeps a contract in the place of the service's last one.
    pub(crate) fn keep(&self, contract: &Contract) {
        let Some(path) = self.path(&contract.service) else { return };
        let record = Record {
            service: contract.service.clone(),
            hash: contract.hash.clone(),
            grpc_services: contract.grpc_services.clone(),
            since: read(&path).map_or_else(now, |before| before.since),
            descriptors: STANDARD.encode(&contract.descriptors),
        };
        if let Err(error) = write(&path, &record) {
            tracing::warn!(%error, service = contract.service, "a contract is not kept on disk");
        }
    }

    fn path(&self, service: &str) -> Option<PathBuf> {
        let plain =
            service.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        self.folder.as_ref().filter(|_| plain).map(|folder| folder.join(format!("{service}.json")))
    }
}

fn read(path: &Path) -> Option<Record> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// Written beside and renamed, so that no reader meets half a file.
fn write(path: &Path, record: &Record) -> anyhow::Result<()> {
    let beside = path.with_extension("new");
    std::fs::write(&beside, serde_json::to_vec(record)?)?;
    Ok(std::fs::rename(&beside, path)?)
}

fn contract(record: Record) -> Option<Contract> {
    Some(Contract {
        descriptors: STANDARD.decode(record.descriptors).ok()?,
        service: record.service,
        hash: record.hash,
        grpc_services: record.grpc_services,
    })
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test fails by panicking
mod tests {
    use super::*;

    #[test]
    fn contracts_come_back_and_litter_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::in_folder(&folder.path().join("contracts"));
        let contract = |service: &str, hash: &str| Contract {
            service: service.into(),
            hash: hash.into(),
            grpc_services: vec!["a.B".into()],
            descriptors: vec![1, 2, 3],
        };
        shelf.keep(&contract("b-svc", "1"));
        shelf.keep(&contract("b-svc", "2"));
        shelf.keep(&contract("../evil", "1"));
        std::fs::write(folder.path().join("contracts/half.json"), "{\"serv").unwrap();
        assert_eq!(shelf.load(), [contract("b-svc", "2")]);
    }
}
