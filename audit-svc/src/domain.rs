//! What audit is about, with no framework in sight: records, the chain of hashes that holds them, its
//! verification, and the port that the store implements.

mod chain;
mod mark;
mod names;
mod port;
mod record;
mod verify;

pub use chain::{Entry, Hash, Head};
pub use mark::{Mark, MarkKind, Sealer, unreadable};
pub use names::{action_name, resource_name, source_name, trace_id_of};
pub use port::{Stored, Trail};
pub use record::{PLATFORM, Record, RecordFilter};
pub use verify::{Fault, Finding, Report, Verification};
