//! What audit hears: everything. It tells nothing of its own; that somebody verified the trail is told
//! by the kernel, as of every audited call.

pub mod consumed;
pub mod observe;
