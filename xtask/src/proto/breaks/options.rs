//! Options that contracts state, read by name.

use prost_reflect::{DescriptorPool, DynamicMessage, Value};

/// An option that is a message; `None` where it is not stated.
pub(in crate::proto) fn read(
    pool: &DescriptorPool,
    options: &DynamicMessage,
    name: &str,
) -> Option<DynamicMessage> {
    let option = pool.get_extension_by_name(name)?;
    if !options.has_extension(&option) {
        return None;
    }
    options.get_extension(&option).as_message().cloned()
}

/// A string field; empty where it is absent.
pub(super) fn text(message: &DynamicMessage, name: &str) -> String {
    let value = message.get_field_by_name(name);
    value.as_deref().and_then(Value::as_str).unwrap_or_default().to_owned()
}
