//! Released events, as bytes that a publisher of that release wrote, in the hands of today's code.
//!
//! `cargo xtask proto release` wrote the samples, with every field set. Here the generated types read them
//! and write them again, and the contracts of the release must find in that what they wrote.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use mainstay::contract::proto::mainstay::{auth, authz, billing, identity};
use mainstay::kernel::proto::events;
use prost::{DecodeError, Message, Name};
use prost_reflect::{DescriptorPool, DynamicMessage, ReflectMessage as _};

/// Reads bytes with a generated type, and writes what it holds.
type PassOn = fn(&[u8]) -> Result<Vec<u8>, DecodeError>;

fn generated<M: Message + Name + Default>() -> (String, PassOn) {
    (M::full_name(), |bytes| M::decode(bytes).map(|message| message.encode_to_vec()))
}

/// Every message that brokers keep.
fn every_type() -> BTreeMap<String, PassOn> {
    [
        generated::<auth::v1::AccountRegistered>(),
        generated::<auth::v1::PasswordChanged>(),
        generated::<auth::v1::RegistrationWithdrawn>(),
        generated::<auth::v1::SessionEnded>(),
        generated::<auth::v1::SessionStarted>(),
        generated::<authz::v1::RoleBound>(),
        generated::<authz::v1::RoleChanged>(),
        generated::<authz::v1::RoleDeleted>(),
        generated::<authz::v1::RoleUnbound>(),
        generated::<billing::v1::SubscriptionChanged>(),
        generated::<events::CallAudited>(),
        generated::<events::DeadLetter>(),
        generated::<events::DeliveryAttempt>(),
        generated::<events::Envelope>(),
        generated::<events::PermissionDeclaration>(),
        generated::<events::ServiceDeclared>(),
        generated::<identity::v1::UserCreated>(),
        generated::<identity::v1::UserDeleted>(),
        generated::<identity::v1::UserUpdated>(),
    ]
    .into()
}

/// A sample and the contracts of its release.
struct Sample {
    path: PathBuf,
    name: String,
    bytes: Vec<u8>,
    release: DescriptorPool,
}

fn samples() -> Vec<Sample> {
    let mut samples = Vec::new();
    for release in files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("proto/released")) {
        if !release.is_dir() {
            continue;
        }
        let set = std::fs::read(format!("{}.binpb", release.display())).unwrap();
        let pool = DescriptorPool::decode(&*set).unwrap();
        samples.extend(files(&release).into_iter().map(|path| Sample {
            name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
            bytes: std::fs::read(&path).unwrap(),
            release: pool.clone(),
            path,
        }));
    }
    samples
}

fn files(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Takes out what today's contracts have reserved.
fn without_what_is_gone(mut message: DynamicMessage) -> DynamicMessage {
    let today = mainstay::contract::pool();
    let known = today.get_message_by_name(message.descriptor().full_name()).unwrap();
    for field in message.descriptor().fields() {
        if known.get_field(field.number()).is_none() {
            message.clear_field(&field);
        }
    }
    message
}

#[test]
fn the_generated_code_reads_every_released_event_and_the_release_reads_what_it_writes() {
    let samples = samples();
    let types = every_type();
    for Sample { path, name, bytes, release } in &samples {
        let pass_on = types.get(name).unwrap_or_else(|| panic!("name {name} in every_type"));
        let message = release.get_message_by_name(name).unwrap();
        let wrote = DynamicMessage::decode(message.clone(), &**bytes).unwrap();
        let passed_on = pass_on(bytes).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        let found = DynamicMessage::decode(message, &*passed_on).unwrap();
        assert_eq!(found, without_what_is_gone(wrote), "{}", path.display());
    }
    let released: BTreeSet<_> = samples.into_iter().map(|sample| sample.name).collect();
    let named: BTreeSet<_> = types.into_keys().collect();
    assert_eq!(released, named, "an event that is released is named here, and the reverse");
}
