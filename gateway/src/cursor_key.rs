//! The key that signs cursors: of the settings, or one of the gateway's own that is kept.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use mainstay::kernel::settings::Secret;

/// Length of a key of the gateway's own, in bytes.
const LENGTH: usize = 32;

/// The key. One of the gateway's own lies in the data folder, readable by its owner alone, so that
/// cursors outlive a restart.
pub(crate) fn load(stated: &Secret<String>, data_dir: &Path) -> anyhow::Result<Vec<u8>> {
    if !stated.expose().is_empty() {
        return Ok(stated.expose().as_bytes().to_vec());
    }
    let path = data_dir.join("cursor.key");
    std::fs::create_dir_all(data_dir)
        .with_context(|| format!("the data folder {} cannot be made", data_dir.display()))?;
    let key: [u8; LENGTH] = rand::random();
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
        Ok(mut file) => file.write_all(&key)?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return kept(&path),
        Err(error) => {
            return Err(error).with_context(|| format!("{} cannot be written", path.display()));
        }
    }
    Ok(key.to_vec())
}

fn kept(path: &Path) -> anyhow::Result<Vec<u8>> {
    let key = std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
    anyhow::ensure!(
        key.len() == LENGTH,
        "{} is damaged: remove it, and clients begin their lists again",
        path.display()
    );
    Ok(key)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test fails by panicking
mod tests {
    use super::*;

    #[test]
    fn a_key_of_its_own_outlives_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let none = Secret::<String>::default();
        let first = load(&none, folder.path()).unwrap();
        assert_eq!(load(&none, folder.path()).unwrap(), first);
        std::fs::write(folder.path().join("cursor.key"), "half").unwrap();
        assert!(load(&none, folder.path()).unwrap_err().to_string().contains("damaged"));
        let stated = Secret::<String>::from("0123456789abcdef0123456789abcdef");
        assert_eq!(load(&stated, folder.path()).unwrap(), stated.expose().as_bytes());
    }
}
