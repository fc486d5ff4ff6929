//! Golden bytes: one sample of every released event, as a publisher of that release wrote it.
//!
//! `proto/released/<version>/<event>.binpb` has every field set, so that nothing is understood by chance. The
//! samples follow from the contracts of their release alone; the platform's own tests decode them with the
//! generated code of today, and `check` with today's contracts, in both directions.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use prost_reflect::prost::Message as _;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor,
    ReflectMessage as _, Value,
};

use super::breaks;
use super::released::{EXTENSION, FOLDER, Version};

/// What every event travels in, and what becomes of those that are given up: kept by brokers as well.
const STORED: &str = "mainstay.events.v1";
/// How deep a message that holds itself is filled.
const MAX_DEPTH: usize = 4;
/// How many elements a list has: more than one, for a single one may pass for a field that is not repeated.
const ELEMENTS: i32 = 2;

/// Samples by the full name of their message.
type Samples = BTreeMap<String, Vec<u8>>;

/// Keeps the samples of a release.
pub(super) fn write(root: &Path, version: Version, pool: &DescriptorPool) -> anyhow::Result<()> {
    let folder = folder(root, version);
    // Of a version that is kept anew nothing may stay behind.
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    for (name, bytes) in samples(pool) {
        let path = folder.join(format!("{name}.{EXTENSION}"));
        std::fs::write(&path, bytes)
            .with_context(|| format!("{} cannot be written", path.display()))?;
    }
    Ok(())
}

/// Fails unless the samples of a release are whole, today's contracts read them without loss, and those of
/// the release read what is written today.
pub(super) fn check(
    root: &Path,
    version: Version,
    kept: &DescriptorPool,
    today: &DescriptorPool,
) -> anyhow::Result<()> {
    let written = read(&folder(root, version))?;
    ensure!(
        written == samples(kept),
        "the samples in {FOLDER}/{version} are not those of its contracts: restore them"
    );
    for (name, bytes) in &written {
        understood(name, bytes, kept, today)
            .with_context(|| format!("today's contracts do not read {name} of {version}"))?;
    }
    for (name, bytes) in samples(today).iter().filter(|(name, _)| written.contains_key(*name)) {
        understood(name, bytes, today, kept)
            .with_context(|| format!("the contracts of {version} do not read today's {name}"))?;
    }
    Ok(())
}

/// Whether a reader finds what a writer wrote, as far as it knows the fields.
fn understood(
    name: &str,
    bytes: &[u8],
    writer: &DescriptorPool,
    reader: &DescriptorPool,
) -> anyhow::Result<()> {
    let decode = |pool: &DescriptorPool| -> anyhow::Result<DynamicMessage> {
        let message = pool.get_message_by_name(name).context("it is gone")?;
        Ok(DynamicMessage::decode(message, bytes)?)
    };
    compare(&decode(writer)?, &decode(reader)?)
}

fn compare(written: &DynamicMessage, read: &DynamicMessage) -> anyhow::Result<()> {
    for (field, value) in written.fields() {
        let Some(known) = read.descriptor().get_field(field.number()) else { continue };
        let found = read.get_field(&known);
        let name = field.name();
        ensure!(alike(value, &found), "{name} reads {found:?} where {value:?} was written");
    }
    Ok(())
}

/// Equal, whatever the width and sign of an integer.
fn alike(written: &Value, read: &Value) -> bool {
    match (written, read) {
        (Value::Message(written), Value::Message(read)) => compare(written, read).is_ok(),
        (Value::List(written), Value::List(read)) => {
            let mut pairs = written.iter().zip(read);
            written.len() == read.len() && pairs.all(|(written, read)| alike(written, read))
        }
        (Value::Map(written), Value::Map(read)) => {
            let found = |(key, value): (&MapKey, &Value)| {
                read.get(key).is_some_and(|read| alike(value, read))
            };
            written.len() == read.len() && written.iter().all(found)
        }
        _ => match (integer(written), integer(read)) {
            (Some(written), Some(read)) => written == read,
            _ => written == read,
        },
    }
}

fn integer(value: &Value) -> Option<i128> {
    match *value {
        Value::I32(value) => Some(value.into()),
        Value::I64(value) => Some(value.into()),
        Value::U32(value) => Some(value.into()),
        Value::U64(value) => Some(value.into()),
        _ => None,
    }
}

fn folder(root: &Path, version: Version) -> PathBuf {
    root.join(FOLDER).join(version.to_string())
}

fn read(folder: &Path) -> anyhow::Result<Samples> {
    let entries = std::fs::read_dir(folder).with_context(|| {
        format!("{} cannot be read; it has the events of a release", folder.display())
    })?;
    let mut samples = Samples::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        samples.insert(name, std::fs::read(&path)?);
    }
    Ok(samples)
}

fn samples(pool: &DescriptorPool) -> Samples {
    let mut samples = Samples::new();
    for message in pool.all_messages().filter(is_kept) {
        let sample = fill(&message, 0);
        samples.insert(message.full_name().to_owned(), sample.encode_to_vec());
    }
    samples
}

/// Whether brokers keep such messages.
fn is_kept(message: &MessageDescriptor) -> bool {
    message.package_name() == STORED && message.parent_message().is_none()
        || breaks::is_event(message)
}

/// Every field set; of a oneof the first.
fn fill(message: &MessageDescriptor, depth: usize) -> DynamicMessage {
    let mut sample = DynamicMessage::new(message.clone());
    for field in message.fields() {
        let rival = field.containing_oneof().filter(|oneof| !oneof.is_synthetic());
        let taken = rival.is_some_and(|oneof| oneof.fields().any(|other| sample.has_field(&other)));
        let endless = depth == MAX_DEPTH && matches!(field.kind(), Kind::Message(_));
        if !taken && !endless {
            sample.set_field(&field, value(&field, depth));
        }
    }
    sample
}

fn value(field: &FieldDescriptor, depth: usize) -> Value {
    if let Kind::Message(entry) = field.kind()
        && field.is_map()
    {
        let key = match single(&entry.map_entry_key_field(), 0, depth) {
            Value::Bool(key) => MapKey::Bool(key),
            Value::I32(key) => MapKey::I32(key),
            Value::I64(key) => MapKey::I64(key),
            Value::U32(key) => MapKey::U32(key),
            Value::U64(key) => MapKey::U64(key),
            // Protocol Buffers allow no other key than these and text.
            other => MapKey::String(other.as_str().unwrap_or_default().to_owned()),
        };
        let value = single(&entry.map_entry_value_field(), 0, depth);
        return Value::Map([(key, value)].into());
    }
    if field.is_list() {
        return Value::List((0..ELEMENTS).map(|index| single(field, index, depth)).collect());
    }
    single(field, 0, depth)
}

/// A value that is not the default, differs from those of the fields beside it, and needs more than one
/// byte where it is a number, so that a change of its encoding is seen.
fn single(field: &FieldDescriptor, index: i32, depth: usize) -> Value {
    let number = 1000 + i32::try_from(field.number()).unwrap_or_default() + index;
    match field.kind() {
        Kind::Double => Value::F64(f64::from(number) + 0.5),
        Kind::Float => Value::F32(0.5 + index as f32),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(number),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(i64::from(number)),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(number.unsigned_abs()),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(u64::from(number.unsigned_abs())),
        Kind::Bool => Value::Bool(true),
        Kind::String => Value::String(format!("{} {index} äöü", field.name())),
        Kind::Bytes => Value::Bytes(vec![0, 0xff, number.to_be_bytes()[3]].into()),
        Kind::Enum(kind) => {
            // The last: the first is what stands where nothing is stated.
            let last = kind.values().last();
            Value::EnumNumber(last.map_or(0, |value| value.number()))
        }
        Kind::Message(message) => Value::Message(fill(&message, depth + 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::set;
    use super::*;
    use crate::workspace;

    const EVENT: &str =
        r#"option (mainstay.policy.v1.event) = { topic: "shop.orders" key: "id" };"#;

    /// Contracts with one event of these fields.
    fn contracts(fields: &str) -> DescriptorPool {
        let folder = tempfile::tempdir().unwrap();
        let policy = "mainstay/policy/v1/policy.proto";
        for below in ["mainstay/policy/v1", "mainstay/shop/v1"] {
            std::fs::create_dir_all(folder.path().join(below)).unwrap();
        }
        let ours = workspace::root().join("proto").join(policy);
        std::fs::copy(ours, folder.path().join(policy)).unwrap();
        let text = format!(
            "syntax = \"proto3\";\npackage mainstay.shop.v1;\nimport \"{policy}\";\n\
             message OrderPlaced {{ {EVENT} string id = 1; {fields} }}\n\
             enum Kind {{ KIND_UNSPECIFIED = 0; KIND_SMALL = 1; KIND_LARGE = 2; }}\n"
        );
        std::fs::write(folder.path().join("mainstay/shop/v1/shop.proto"), text).unwrap();
        set::read(&set::compile(folder.path()).unwrap()).unwrap()
    }

    /// What the check says of contracts with fields that become other fields.
    fn change(was: &str, is: &str) -> Result<(), String> {
        let root = tempfile::tempdir().unwrap();
        let (version, kept) = ("0.1.0".parse().unwrap(), contracts(was));
        write(root.path(), version, &kept).unwrap();
        let outcome = check(root.path(), version, &kept, &contracts(is));
        outcome.map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn every_kind_of_field_is_in_the_sample() {
        let every = "double a = 2; float b = 3; sint32 c = 4; fixed64 d = 5; bool e = 6; bytes f = 7; \
                     Kind g = 8; repeated string h = 9; map<string, OrderPlaced> i = 10; \
                     oneof one { uint32 j = 11; uint64 k = 12; } optional int64 l = 13; \
                     OrderPlaced m = 14;";
        let pool = contracts(every);
        let samples = samples(&pool);
        let message = pool.get_message_by_name("mainstay.shop.v1.OrderPlaced").unwrap();
        let bytes = &*samples["mainstay.shop.v1.OrderPlaced"];
        let sample = DynamicMessage::decode(message.clone(), bytes).unwrap();
        let absent = message.fields().filter(|field| !sample.has_field(field));
        let absent: Vec<_> = absent.map(|field| field.name().to_owned()).collect();
        assert_eq!(absent, ["k"], "the second of a oneof alone");
        assert_eq!(change(every, every), Ok(()));
    }

    #[test]
    fn what_is_added_or_reserved_is_understood_and_other_changes_are_not() {
        assert_eq!(change("string name = 2;", "string name = 2; int32 size = 3;"), Ok(()));
        assert_eq!(change("string name = 2;", "reserved 2; reserved \"name\";"), Ok(()));
        let error = change("string name = 2;", "int32 name = 2;").unwrap_err();
        assert!(error.contains("mainstay.shop.v1.OrderPlaced of 0.1.0"), "{error}");
        let error = change("repeated sint32 size = 2;", "repeated int32 size = 2;").unwrap_err();
        assert!(error.contains("size reads"), "{error}");
        assert_eq!(change("int32 size = 2;", "uint32 size = 2;"), Ok(()));
    }

    #[test]
    fn samples_that_are_damaged_or_missing_are_named() {
        let root = tempfile::tempdir().unwrap();
        let (version, pool) = ("0.1.0".parse().unwrap(), contracts("string name = 2;"));
        write(root.path(), version, &pool).unwrap();
        let file = folder(root.path(), version).join("mainstay.shop.v1.OrderPlaced.binpb");
        std::fs::write(&file, b"\x0a\x01x").unwrap();
        let error = check(root.path(), version, &pool, &pool).unwrap_err().to_string();
        assert!(error.contains("proto/released/0.1.0"), "{error}");
        std::fs::remove_file(&file).unwrap();
        check(root.path(), version, &pool, &pool).unwrap_err();
    }
}
