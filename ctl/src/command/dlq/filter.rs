//! Which dead letters are meant.

use clap::{Args, ValueEnum};
use mainstay::contract::operations::proto::{DeadLetterFilter, DeadLetterState};

use crate::failure::Usage;
use crate::mesh::Mesh;
use crate::time::Time;

/// All that is stated must hold.
#[derive(Debug, Default, Args)]
pub(crate) struct Filter {
    /// Letters of this service's consumers
    #[arg(long)]
    service: Option<String>,
    /// Letters of this consumer group, such as audit-svc.trail
    #[arg(long)]
    consumer: Option<String>,
    /// Letters of this topic
    #[arg(long)]
    topic: Option<String>,
    /// Letters of this type of event, by its full name
    #[arg(long = "type", value_name = "TYPE")]
    r#type: Option<String>,
    /// Letters about this aggregate
    #[arg(long)]
    subject: Option<String>,
    /// Letters of this event
    #[arg(long, value_name = "ID")]
    event: Option<String>,
    /// Letters with this error code, such as FAILED_PRECONDITION
    #[arg(long)]
    code: Option<String>,
    /// Letters whose reason contains this text
    #[arg(long, value_name = "TEXT")]
    matching: Option<String>,
    /// Letters in this state
    #[arg(long)]
    state: Option<State>,
    /// Letters parked since then: how long ago, or a time
    #[arg(long, value_name = "TIME")]
    since: Option<Time>,
    /// Letters parked before
    #[arg(long, value_name = "TIME")]
    until: Option<Time>,
}

/// States of letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum State {
    Parked,
    Replaying,
    Replayed,
    Discarded,
}

impl Filter {
    /// As the contract states it.
    pub(super) fn stated(&self) -> DeadLetterFilter {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let state = match self.state {
            None => DeadLetterState::Unspecified,
            Some(State::Parked) => DeadLetterState::Parked,
            Some(State::Replaying) => DeadLetterState::Replaying,
            Some(State::Replayed) => DeadLetterState::Replayed,
            Some(State::Discarded) => DeadLetterState::Discarded,
        };
        DeadLetterFilter {
            id: String::new(),
            topic: text(&self.topic),
            r#type: text(&self.r#type),
            consumer: text(&self.consumer),
            subject: text(&self.subject),
            event_id: text(&self.event),
            code: text(&self.code),
            reason: text(&self.matching),
            state: state.into(),
            start_time: self.since.map(Into::into),
            end_time: self.until.map(Into::into),
        }
    }

    /// The one service that can have such letters, if that is known.
    pub(super) fn service(&self) -> anyhow::Result<Option<&str>> {
        match (&self.service, &self.consumer) {
            (Some(service), _) => Ok(Some(service)),
            (None, Some(group)) => Mesh::service_of(group).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// Refuses a change of everything that nobody has asked for.
    pub(super) fn check_bounded(&self, otherwise: bool) -> anyhow::Result<()> {
        let stated = DeadLetterFilter { state: 0, ..self.stated() };
        if otherwise || self.service.is_some() || stated != DeadLetterFilter::default() {
            return Ok(());
        }
        let usage = "state which letters: ids, a filter such as --consumer, or --all";
        Err(Usage(usage.to_owned()).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_meant_only_when_that_is_said() {
        assert!(Filter::default().check_bounded(false).is_err());
        assert!(Filter::default().check_bounded(true).is_ok());
        let of_state = Filter { state: Some(State::Parked), ..Filter::default() };
        assert!(of_state.check_bounded(false).is_err());
        let of_topic = Filter { topic: Some("auth.accounts".into()), ..Filter::default() };
        assert!(of_topic.check_bounded(false).is_ok());
    }

    #[test]
    fn a_consumer_names_its_service() {
        let filter = Filter { consumer: Some("audit-svc.trail".into()), ..Filter::default() };
        assert_eq!(filter.service().ok(), Some(Some("audit-svc")));
        let unsound = Filter { consumer: Some("trail".into()), ..Filter::default() };
        assert!(unsound.service().is_err());
    }
}
