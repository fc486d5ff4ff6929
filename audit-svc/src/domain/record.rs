//! One record: what happened, to what, by whom.

use chrono::{DateTime, Utc};

/// The actor when nobody but the platform itself acted.
pub const PLATFORM: &str = "platform";

/// What happened. Texts are kept as they came, because their hash is taken over their bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Id: that of the event it was made from.
    pub id: String,
    /// When it happened, in microseconds at the finest.
    pub time: DateTime<Utc>,
    /// `user:<id>`, `service:<name>` or `platform`.
    pub actor: String,
    /// Type of the event or name of the method.
    pub action: String,
    /// What it was done to.
    pub resource: String,
    /// gRPC status code name.
    pub outcome: String,
    /// Id of the request; may be empty.
    pub request_id: String,
    /// W3C trace id; may be empty.
    pub trace_id: String,
    /// The service that reported it.
    pub source: String,
    /// A JSON object; what is personal or secret is redacted in it.
    pub details: String,
}

/// Which records to list; conditions stated together must all hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordFilter {
    /// Only what this actor did.
    pub actor: Option<String>,
    /// Only this action.
    pub action: Option<String>,
    /// Only what was done to this resource.
    pub resource: Option<String>,
    /// Only what happened at this time or later.
    pub start_time: Option<DateTime<Utc>>,
    /// Only what happened before this time.
    pub end_time: Option<DateTime<Utc>>,
}
