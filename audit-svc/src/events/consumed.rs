//! Every event of every topic becomes a record.

use std::sync::Arc;

use mainstay::kernel::Result;
use mainstay::kernel::events::{Consumer, Envelope};

use super::observe::Observer;
use crate::app::App;

/// Records what happens on the topics. The record and the mark that the event was seen commit
/// together, so each event is recorded once, however often it is delivered.
pub fn trail(
    app: Arc<App>,
    observer: Observer,
    topics: impl IntoIterator<Item = String>,
) -> Consumer {
    let observer = Arc::new(observer);
    Consumer::new("trail").on_all(topics, move |envelope| {
        let (app, observer) = (app.clone(), observer.clone());
        async move { happened(&app, &observer, envelope).await }
    })
}

async fn happened(app: &App, observer: &Observer, envelope: Envelope) -> Result<()> {
    app.record(&observer.record_of(envelope)).await
}
