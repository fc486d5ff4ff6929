//! Following a state that another service keeps, so that what was learned of it holds until it
//! changes.
//!
//! Whoever keeps the state numbers its changes: the revision. A [`Feed`] tells it to everybody who
//! asks, by a stream: at once when it grows, and again every half second, so that a stream that has
//! fallen silent is noticed. A [`Following`] hears it and knows two things: the newest revision, and
//! the time as of which it was the newest. What was learned at that revision may be used while that
//! time is no longer than [`MAX_AGE`] ago.
//!
//! **Why that bound holds.** A message that travels for long says what was true long ago. So it
//! carries how long after the stream had been asked for the revision was read. The follower adds
//! that to the time at which it asked, by its own clock: the result is never later than the reading
//! itself, however long the message was under way, and no two clocks have to agree on the time. That
//! clocks run at different speeds does not add up either: a stream is begun anew every minute.
//!
//! So a change that was committed at some moment is not overlooked for more than [`MAX_AGE`] after
//! it, whether the stream is healthy, slow, silent or broken.

mod feed;
mod follow;

use std::time::Duration;

pub use feed::{Feed, FeedSource, MessageStream};
pub use follow::{Following, Heard, Messages, Watched};

/// How often a revision is told although nothing has changed.
pub const HEARTBEAT: Duration = Duration::from_millis(500);

/// How long ago a revision may have been the newest for what was learned at it to be used.
pub const MAX_AGE: Duration = Duration::from_secs(1);
