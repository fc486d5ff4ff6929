//! E-mail addresses: auth decides that one is unique and identity repeats it, so both compare alike.

/// The text is no e-mail address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be an e-mail address")]
pub struct NotAnEmail;

/// An e-mail address: shown as it was typed, unique without regard to case and space around it.
///
/// Whether the address exists only a sent message can tell, so that no more is asked of it than a
/// name, an `@` and a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email {
    typed: String,
}

impl Email {
    /// Reads an address; space around it is dropped.
    pub fn parse(text: &str) -> Result<Self, NotAnEmail> {
        let typed = text.trim();
        let sound = typed.rsplit_once('@').is_some_and(|(name, host)| {
            !name.is_empty() && !host.is_empty() && !typed.contains(char::is_whitespace)
        });
        if !sound {
            return Err(NotAnEmail);
        }
        Ok(Self { typed: typed.to_owned() })
    }

    /// The address as it was typed.
    pub fn as_typed(&self) -> &str {
        &self.typed
    }

    /// What is compared, and unique among those who are not deleted.
    pub fn key(&self) -> String {
        Self::key_of(&self.typed)
    }

    /// The key of a text that may be no address: what a login or a search looks for.
    pub fn key_of(text: &str) -> String {
        text.trim().to_lowercase()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_kept_as_typed_and_compared_in_lower_case() {
        let email = Email::parse(" Ada@Example.COM ").expect("an address");
        assert_eq!(
            (email.as_typed(), email.key().as_str()),
            ("Ada@Example.COM", "ada@example.com")
        );
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["", "ada", "@example.com", "ada@", "a da@example.com"] {
            assert!(Email::parse(text).is_err(), "{text:?} was taken");
        }
    }
}
