//! What today's contracts break of kept ones.
//!
//! The measure is bytes and JSON together: a change is let through when what was written by either side,
//! in either form, is read by the other. Names count as numbers do, for JSON carries them.

mod enums;
mod events;
mod fields;
mod messages;
pub(super) mod options;
mod routes;
mod services;

use std::fmt;

use prost_reflect::{DescriptorPool, FileDescriptor};

pub(super) use events::is_event;

/// A promise that is not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Break {
    /// The contract that made it, below `proto/`.
    file: String,
    /// What it was about, such as `mainstay.identity.v1.User.email`.
    subject: String,
    /// What became of it.
    what: String,
    /// What to do instead.
    mend: String,
}

impl fmt::Display for Break {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, subject, what, mend } = self;
        write!(formatter, "proto/{file}: {subject}: {what}: {mend}")
    }
}

impl Break {
    fn new(
        file: &FileDescriptor,
        subject: &str,
        what: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self {
            file: file.name().to_owned(),
            subject: subject.to_owned(),
            what: what.into(),
            mend: mend.into(),
        }
    }
}

/// Every break, file by file.
pub(super) fn find(kept: &DescriptorPool, today: &DescriptorPool) -> Vec<Break> {
    let mut breaks = messages::find(kept, today);
    breaks.extend(enums::find(kept, today));
    breaks.extend(services::find(kept, today));
    breaks.sort_by(|left, right| (&left.file, &left.subject).cmp(&(&right.file, &right.subject)));
    breaks
}

/// A message, an enum or a service that is no longer there; `others` are the names of its kind today.
fn gone(
    file: &FileDescriptor,
    name: &str,
    kind: &str,
    mut others: impl Iterator<Item = (String, String)>,
) -> Break {
    let package = file.package_name();
    let short = name.strip_prefix(package).unwrap_or(name);
    let moved = others.find_map(|(other, other_package)| {
        (other.strip_prefix(other_package.as_str()) == Some(short)).then_some(other_package)
    });
    match moved {
        Some(other) => Break::new(
            file,
            name,
            format!("the {kind} moved from package {package} to {other}"),
            format!("leave it in {package}; the other package may have a copy"),
        ),
        None => Break::new(
            file,
            name,
            format!("the {kind} was removed"),
            "restore it, marked deprecated; a new version of the package may leave it out",
        ),
    }
}

#[cfg(test)]
mod edits;
