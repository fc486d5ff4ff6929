//! What a contract must state, and the words for what it does not.
//!
//! `build.rs` compiles this file too, and refuses a build whose contracts are at fault; the kernel
//! runs it again on every descriptor pool it compiles, so that a service built elsewhere is held to
//! the same. Each fault names file, method and mend. It depends on `prost-reflect` and nothing else,
//! and reads options without generated types, because at build time there are none yet.

// Within the kernel these items are public, within the build script nothing is.
#![allow(unreachable_pub)]

#[path = "check/access.rs"]
mod access;
#[path = "check/comments.rs"]
mod comments;
#[path = "check/events.rs"]
mod events;
#[path = "check/headers.rs"]
mod headers;
#[path = "check/methods.rs"]
mod methods;
#[path = "check/options.rs"]
mod options;
#[path = "check/routes.rs"]
mod routes;
#[path = "check/rules.rs"]
mod rules;
#[path = "check/streams.rs"]
mod streams;
#[path = "check/template.rs"]
mod template;

use std::fmt;

use prost_reflect::{DescriptorPool, FileDescriptor, ServiceDescriptor};

/// Packages of others' making that come along in a descriptor set.
const FOREIGN_PACKAGES: [&str; 3] = ["buf.", "google.", "grpc."];

/// The faults of a project's contracts: those of [`check_policies`], and comments that are missing.
pub fn check_contracts(pool: &DescriptorPool) -> Vec<Fault> {
    let mut faults = Faults(check_policies(pool));
    comments::check(pool, &mut faults);
    faults.0
}

/// The faults of policies, routes, events and validation rules in a descriptor pool.
pub fn check_policies(pool: &DescriptorPool) -> Vec<Fault> {
    let mut faults = Faults::default();
    for service in pool.services().filter(is_governed) {
        methods::check(&service, &mut faults);
    }
    routes::check(pool, &mut faults);
    let own = pool.all_messages().filter(|message| !is_foreign(&message.parent_file()));
    let messages: Vec<_> = own.collect();
    for message in &messages {
        events::check(message, &mut faults);
        rules::check(message, &mut faults);
    }
    events::check_topics(messages.iter(), &mut faults);
    faults.0
}

/// Whether the methods of a service must state a policy: all but those of gRPC and Google.
pub fn is_governed(service: &ServiceDescriptor) -> bool {
    !is_foreign(&service.parent_file())
}

fn is_foreign(file: &FileDescriptor) -> bool {
    let package = format!("{}.", file.package_name());
    FOREIGN_PACKAGES.iter().any(|foreign| package.starts_with(foreign))
}

/// What is wrong with one element of a contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file that the element is in.
    pub file: String,
    /// The element's full name.
    pub name: String,
    /// What is wrong, then the mend.
    pub text: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.file, self.name, self.text)
    }
}

/// What was found.
#[derive(Default)]
struct Faults(Vec<Fault>);

impl Faults {
    /// `name` is the full name of what is at fault; `fault` says what is wrong, then the mend.
    fn add(&mut self, file: &FileDescriptor, name: &str, fault: impl fmt::Display) {
        let (file, name, text) = (file.name().to_owned(), name.to_owned(), fault.to_string());
        self.0.push(Fault { file, name, text });
    }
}
