//! The options of the contract as generated types.

use anyhow::Context as _;
use prost_reflect::{DescriptorPool, DynamicMessage};

/// Option of methods.
pub(super) const METHOD: &str = "mainstay.policy.v1.method";
/// Option of services.
pub(super) const SERVICE: &str = "mainstay.policy.v1.service";
/// Option of messages.
pub(super) const EVENT: &str = "mainstay.policy.v1.event";
/// Option of fields.
pub(super) const FIELD: &str = "mainstay.policy.v1.field";
/// Validation rules of fields.
pub(super) const RULES: &str = "buf.validate.field";
/// Route of methods.
pub(super) const HTTP: &str = "google.api.http";

/// Whether an option is stated.
pub(super) fn has(pool: &DescriptorPool, options: &DynamicMessage, name: &str) -> bool {
    pool.get_extension_by_name(name).is_some_and(|option| options.has_extension(&option))
}

/// Reads an option; `None` where it is not stated.
pub(super) fn read<M: prost::Message + Default>(
    pool: &DescriptorPool,
    options: &DynamicMessage,
    name: &str,
) -> anyhow::Result<Option<M>> {
    let Some(option) = pool.get_extension_by_name(name) else { return Ok(None) };
    if !options.has_extension(&option) {
        return Ok(None);
    }
    let value = options.get_extension(&option);
    let message = value.as_message().with_context(|| format!("option {name} is no message"))?;
    Ok(Some(message.transcode_to()?))
}
