//! Generated secrets: the administrator's password, the key that signs cursors, the secret that
//! signs test webhooks.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use crate::files::{self, Access};
use crate::home::Home;
use crate::real;

/// The administrator that the first start of auth creates.
const ADMIN_EMAIL: &str = "admin@mainstay.local";

/// Letters and digits that are not mistaken for one another.
const ALPHABET: &[u8] = b"abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
/// Length of every password that is made up.
pub(crate) const PASSWORD_LENGTH: usize = 24;
const KEY_BYTES: usize = 32;

/// `admin.json`: who may log in first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Admin {
    /// E-mail address.
    pub(crate) email: String,
    /// Password.
    pub(crate) password: String,
}

/// Secrets of a state folder.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    home: Home,
}

impl Credentials {
    /// Those of a state folder.
    pub(crate) fn of(home: &Home) -> Self {
        Self { home: home.clone() }
    }

    /// Where the administrator's e-mail and password are kept.
    pub(crate) fn admin_file(&self) -> PathBuf {
        self.home.path("admin.json")
    }

    /// The password alone, as auth reads it.
    pub(crate) fn admin_password_file(&self) -> PathBuf {
        self.home.path("secrets/admin-password")
    }

    /// The key with which the gateway signs cursors.
    pub(crate) fn cursor_key_file(&self) -> PathBuf {
        self.home.path("secrets/gateway-cursor-key")
    }

    /// The secret with which a test signs webhooks as Stripe does.
    pub(crate) fn webhook_secret_file(&self) -> PathBuf {
        self.home.path("secrets/stripe-webhook-secret")
    }

    /// The administrator.
    pub(crate) fn admin(&self) -> anyhow::Result<Admin> {
        let path = self.admin_file();
        let text =
            std::fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{} is damaged", path.display()))
    }

    /// Makes what is missing and says what was damaged.
    pub(crate) fn ensure(&self) -> anyhow::Result<Vec<String>> {
        let folder = self.home.path("secrets");
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("{} cannot be made", folder.display()))?;
        let mut notices = self.ensure_admin()?;
        notices.extend(ensure_secret(&self.cursor_key_file(), || hex(KEY_BYTES))?);
        let webhook_secret = || format!("whsec_{}", hex(KEY_BYTES));
        notices.extend(ensure_secret(&self.webhook_secret_file(), webhook_secret)?);
        Ok(notices)
    }

    /// The password stands in two files, so that either one can be restored from the other. It is
    /// only made up while auth has no accounts: afterwards a new one would open nothing.
    fn ensure_admin(&self) -> anyhow::Result<Vec<String>> {
        let (file, password_file) = (self.admin_file(), self.admin_password_file());
        let admin = self.admin().ok().filter(|admin| !admin.password.is_empty());
        let password = read_secret(&password_file);
        let was_there = file.exists() || password_file.exists();
        if admin.is_some() && password.is_some() {
            return Ok(Vec::new());
        }
        let known = admin.clone().or_else(|| {
            password.clone().map(|password| Admin { email: ADMIN_EMAIL.to_owned(), password })
        });
        if known.is_none() && self.has_accounts() {
            bail!(
                "the administrator's password is lost: {} and {} are missing or damaged, and \
                 accounts exist already\nmend: put {} back, or forget all data: cargo xtask reset",
                file.display(),
                password_file.display(),
                file.display()
            );
        }
        let restored = known.is_some();
        let admin = known.unwrap_or_else(|| Admin {
            email: ADMIN_EMAIL.to_owned(),
            password: password_of(PASSWORD_LENGTH),
        });
        let mut text = serde_json::to_vec(&admin)?;
        text.push(b'\n');
        files::write(&file, &text, Access::Owner)?;
        files::write(&password_file, format!("{}\n", admin.password).as_bytes(), Access::Owner)?;
        Ok(match (was_there, restored) {
            (false, _) => Vec::new(),
            (true, true) => vec!["one of the administrator's two files was lost: restored".into()],
            (true, false) => vec!["the administrator's password was damaged: made anew".into()],
        })
    }

    fn has_accounts(&self) -> bool {
        self.home.path("data/auth-svc.db").exists() || real::file(&self.home).exists()
    }
}

/// Makes a secret's file if it is not there; says when it was damaged.
pub(crate) fn ensure_secret(
    path: &Path,
    make: impl Fn() -> String,
) -> anyhow::Result<Option<String>> {
    if read_secret(path).is_some() {
        return Ok(None);
    }
    let was_there = path.exists();
    files::write(path, format!("{}\n", make()).as_bytes(), Access::Owner)?;
    Ok(was_there.then(|| format!("{} was damaged: made anew", path.display())))
}

/// A secret's value; `None` when its file is missing, empty or not text.
pub(crate) fn read_secret(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let value = text.trim();
    (!value.is_empty()).then(|| value.to_owned())
}

/// A password of letters and digits, which needs no escaping anywhere.
pub(crate) fn password_of(length: usize) -> String {
    (0..length).map(|_| char::from(ALPHABET[rand::random_range(0..ALPHABET.len())])).collect()
}

fn hex(bytes: usize) -> String {
    (0..bytes).map(|_| format!("{:02x}", rand::random::<u8>())).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn secrets_are_made_once_for_the_owner_alone() {
        let (_folder, credentials) = credentials();
        assert_eq!(credentials.ensure().unwrap(), Vec::<String>::new());
        let admin = credentials.admin().unwrap();
        assert_eq!(admin.password.len(), PASSWORD_LENGTH);
        assert_eq!(credentials.ensure().unwrap(), Vec::<String>::new());
        assert_eq!(credentials.admin().unwrap(), admin);
        for path in [
            credentials.admin_file(),
            credentials.admin_password_file(),
            credentials.cursor_key_file(),
            credentials.webhook_secret_file(),
        ] {
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_half_written_admin_file_is_restored_with_the_same_password() {
        let (_folder, credentials) = credentials();
        credentials.ensure().unwrap();
        let admin = credentials.admin().unwrap();
        std::fs::write(credentials.admin_file(), "{\"email\":\"adm").unwrap();
        let notices = credentials.ensure().unwrap();
        assert!(notices[0].contains("restored"), "{notices:?}");
        assert_eq!(credentials.admin().unwrap(), admin);
    }

    #[test]
    fn a_password_that_is_lost_for_good_is_an_error_that_names_the_mend() {
        let (_folder, credentials) = credentials();
        credentials.ensure().unwrap();
        std::fs::create_dir(credentials.home.path("data")).unwrap();
        std::fs::write(credentials.home.path("data/auth-svc.db"), "accounts").unwrap();
        std::fs::remove_file(credentials.admin_file()).unwrap();
        std::fs::write(credentials.admin_password_file(), "").unwrap();
        let refused = credentials.ensure().unwrap_err().to_string();
        assert!(refused.contains("cargo xtask reset"), "{refused}");
    }

    #[test]
    fn an_empty_key_is_made_anew_with_a_word() {
        let (_folder, credentials) = credentials();
        credentials.ensure().unwrap();
        std::fs::write(credentials.cursor_key_file(), "").unwrap();
        let notices = credentials.ensure().unwrap();
        assert!(notices[0].contains("gateway-cursor-key was damaged"), "{notices:?}");
        assert_eq!(read_secret(&credentials.cursor_key_file()).unwrap().len(), 2 * KEY_BYTES);
    }

    fn credentials() -> (tempfile::TempDir, Credentials) {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path().to_owned()).unwrap();
        (folder, Credentials::of(&home))
    }
}
