//! What users say of themselves, and which values are acceptable.

use std::collections::BTreeMap;

use url::Url;

use super::UserError;

/// The fields of a profile that users change themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProfileField {
    /// The name that others see.
    DisplayName,
    /// Language and region by BCP 47.
    Locale,
    /// Time zone by its IANA name.
    TimeZone,
    /// Where the picture is found.
    AvatarUrl,
    /// A few sentences.
    Bio,
}

impl ProfileField {
    /// All of them: what the update mask `*` stands for.
    pub const ALL: [Self; 5] =
        [Self::DisplayName, Self::Locale, Self::TimeZone, Self::AvatarUrl, Self::Bio];

    /// The field as the contract names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DisplayName => "display_name",
            Self::Locale => "locale",
            Self::TimeZone => "time_zone",
            Self::AvatarUrl => "avatar_url",
            Self::Bio => "bio",
        }
    }

    /// The field of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.name() == name)
    }

    /// The longest value in characters.
    const fn max_length(self) -> usize {
        match self {
            Self::DisplayName => 200,
            Self::Locale => 35,
            Self::TimeZone => 64,
            Self::AvatarUrl => 2048,
            Self::Bio => 2000,
        }
    }

    /// The value as it is stored, or why it is not acceptable. Empty means not said, for every field.
    fn parse(self, text: &str) -> Result<String, String> {
        let value = text.trim();
        if value.chars().count() > self.max_length() {
            return Err(format!("must have at most {} characters", self.max_length()));
        }
        if value.is_empty() {
            return Ok(String::new());
        }
        let fault = match self {
            Self::DisplayName => one_line(value),
            Self::Locale => language_tag(value),
            Self::TimeZone => time_zone_name(value),
            Self::AvatarUrl => https_address(value),
            Self::Bio => plain_text(value),
        };
        fault.map_or_else(|| Ok(value.to_owned()), |fault| Err(fault.to_owned()))
    }
}

/// The profile of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    values: BTreeMap<ProfileField, String>,
}

impl Profile {
    /// The value of a field; empty when nothing was said.
    pub fn get(&self, field: ProfileField) -> &str {
        self.values.get(&field).map_or("", String::as_str)
    }

    /// The profile with a value as the store kept it.
    pub fn with(mut self, field: ProfileField, value: impl Into<String>) -> Self {
        self.values.insert(field, value.into());
        self
    }

    /// Takes over a change and returns the fields that now differ.
    pub fn apply(&mut self, change: &ProfileChange) -> Vec<ProfileField> {
        let differing = change.0.iter().filter(|(field, value)| self.get(**field) != **value);
        let changed: Vec<_> = differing.map(|(field, _)| *field).collect();
        self.values.extend(change.0.clone());
        changed
    }
}

/// New values for some fields of a profile, each acceptable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProfileChange(BTreeMap<ProfileField, String>);

impl ProfileChange {
    /// Adds a new value. The error names the field below `path`, such as `user.`.
    pub fn set(mut self, path: &str, field: ProfileField, text: &str) -> Result<Self, UserError> {
        let value = field
            .parse(text)
            .map_err(|reason| UserError::field(format!("{path}{}", field.name()), reason))?;
        self.0.insert(field, value);
        Ok(self)
    }
}

fn one_line(value: &str) -> Option<&'static str> {
    value.contains(char::is_control).then_some("must not contain control characters")
}

fn plain_text(value: &str) -> Option<&'static str> {
    let foreign = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    value.contains(foreign).then_some("must not contain control characters")
}

/// The shape of a language tag (BCP 47, RFC 5646 section 2.1): subtags of one to eight letters and
/// digits between hyphens, the first a language of two to eight letters.
fn language_tag(value: &str) -> Option<&'static str> {
    let mut subtags = value.split('-');
    let language = subtags.next().unwrap_or_default();
    let sound = (2..=8).contains(&language.len())
        && language.chars().all(|c| c.is_ascii_alphabetic())
        && subtags.all(|subtag| {
            (1..=8).contains(&subtag.len()) && subtag.chars().all(|c| c.is_ascii_alphanumeric())
        });
    (!sound).then_some("must be a BCP 47 language tag such as en-GB")
}

/// The shape of a name of the IANA time zone database (its file `theory.html`, "Timezone
/// identifiers"). The names themselves change several times a year, so that clients know them better.
fn time_zone_name(value: &str) -> Option<&'static str> {
    let sound = value.starts_with(|c: char| c.is_ascii_alphabetic())
        && value.split('/').count() <= 3
        && value.split('/').all(|part| {
            !part.is_empty()
                && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+'))
        });
    (!sound).then_some("must be an IANA time zone name such as Europe/Zurich")
}

fn https_address(value: &str) -> Option<&'static str> {
    let address = Url::parse(value).ok().filter(|address| address.scheme() == "https");
    let Some(address) = address.filter(Url::has_host) else {
        return Some("must be an https address");
    };
    let credentials = !address.username().is_empty() || address.password().is_some();
    credentials.then_some("must not contain credentials")
}

#[cfg(test)]
mod tests {
    use super::*;
    use ProfileField::{AvatarUrl, Bio, DisplayName, Locale, TimeZone};

    #[test]
    fn acceptable_values_are_taken() {
        for (field, text) in [
            (DisplayName, "Ada Lovelace"),
            (DisplayName, ""),
            (Locale, "en-GB"),
            (Locale, "zh-Hant-TW"),
            (Locale, "de"),
            (TimeZone, "Europe/Zurich"),
            (TimeZone, "America/Argentina/Buenos_Aires"),
            (TimeZone, "UTC"),
            (TimeZone, "Etc/GMT+3"),
            (AvatarUrl, "https://example.com/ada.png?size=64"),
            (Bio, "First line\nSecond line"),
        ] {
            let change = ProfileChange::default().set("", field, text);
            assert!(change.is_ok(), "{} {text:?}: {change:?}", field.name());
        }
    }

    #[test]
    fn unacceptable_values_are_refused_by_field_name() {
        let long = "x".repeat(201);
        for (field, text) in [
            (DisplayName, "Ada\u{0}"),
            (DisplayName, "two\nlines"),
            (DisplayName, long.as_str()),
            (Locale, "e"),
            (Locale, "en_GB"),
            (Locale, "en--GB"),
            (Locale, "12-GB"),
            (TimeZone, "Europe//Zurich"),
            (TimeZone, "/Zurich"),
            (TimeZone, "+02:00"),
            (AvatarUrl, "http://example.com/ada.png"),
            (AvatarUrl, "javascript:alert(1)"),
            (AvatarUrl, "https://user:pass@example.com/"),
            (AvatarUrl, "not an address"),
            (Bio, "bell\u{7}"),
        ] {
            match ProfileChange::default().set("user.", field, text) {
                Err(UserError::Field { field: named, .. }) => {
                    assert_eq!(named, format!("user.{}", field.name()));
                }
                other => panic!("{} {text:?}: {other:?}", field.name()),
            }
        }
    }

    #[test]
    fn a_change_tells_only_what_differs() {
        let mut profile = Profile::default().with(DisplayName, "Ada").with(Bio, "Counts");
        let change = ProfileChange::default()
            .set("", DisplayName, " Ada ")
            .and_then(|change| change.set("", Bio, ""))
            .expect("acceptable");
        assert_eq!(profile.apply(&change), [Bio]);
        assert_eq!((profile.get(DisplayName), profile.get(Bio)), ("Ada", ""));
    }
}
