//! `reset`: forget all data, here and on the real servers that the platform was run on.

use std::process::ExitCode;

use anyhow::{Context as _, bail};

use crate::folder::FORGOTTEN;
use crate::home::Home;
use crate::real::Real;
use crate::{files, standing};

/// Removes everything that the next `up` can lay anew; edited settings stay.
pub(crate) fn run(home: &Home) -> anyhow::Result<ExitCode> {
    let Some(lock) = home.take()? else {
        bail!("Mainstay is running on {}\nmend: cargo xtask down first", home.root().display());
    };
    standing::mend(home, &lock)?;
    if let Some(real) = Real::load(home)? {
        real.forget(home)
            .context("what the platform has on real servers cannot be forgotten, so nothing was")?;
    }
    for entry in std::fs::read_dir(home.root())?.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        // SQLite keeps `broker.db-wal` and `broker.db-shm` beside `broker.db`.
        if FORGOTTEN.iter().any(|forgotten| {
            name == *forgotten || (forgotten.ends_with(".db") && name.starts_with(forgotten))
        }) {
            files::remove(&entry.path())?;
        }
    }
    println!(
        "All data in {} is forgotten; settings stay. The next `cargo xtask up` makes a new \
         administrator.",
        home.root().display()
    );
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_forgotten_and_settings_stay() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path().to_owned()).unwrap();
        crate::folder::lay(&home).unwrap();
        for name in ["broker.db", "broker.db-wal", "data/auth-svc.db"] {
            std::fs::write(home.path(name), "data").unwrap();
        }
        run(&home).unwrap();
        let left: Vec<_> = std::fs::read_dir(home.root())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(left, ["settings"]);
    }

    #[test]
    fn nothing_is_forgotten_while_a_supervisor_runs() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path().to_owned()).unwrap();
        std::fs::write(home.path("broker.db"), "data").unwrap();
        let _lock = home.take().unwrap().unwrap();
        assert!(run(&home).unwrap_err().to_string().contains("cargo xtask down"));
        assert!(home.path("broker.db").exists());
    }
}
