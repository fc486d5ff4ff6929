//! One call from first attempt to reply: which failures are repeated, where, how often, how long.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::request::Parts;

use super::balancer::{Balancer, Patience};
use super::budget::RetryBudget;
use super::connector::Security;
use super::endpoint::{Attempt, Endpoint};
use super::failure::Failure;
use super::metadata;
use super::replay::{Content, Replay};
use super::reply::Reply;
use super::transport::Transport;
use crate::kernel::error::{DEADLINE_EXCEEDED, Error};
use crate::kernel::registry::Registry;
use crate::kernel::settings::ChannelSettings;
use crate::kernel::telemetry::metrics::EndpointStates;

/// So often a call is sent that no server has looked at; such attempts cost nearly nothing.
const MAX_UNSENT_ATTEMPTS: u32 = 10;
/// The pause before the second attempt, about; doubles.
const BASE_PAUSE: Duration = Duration::from_millis(5);
/// The longest pause between two attempts, about.
const MAX_PAUSE: Duration = Duration::from_millis(100);

/// What holds for one call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Traits {
    /// When the caller stops waiting.
    pub(super) deadline: Instant,
    /// Whether a call that may have run may be repeated.
    pub(super) idempotent: bool,
    /// Whether the reply is one message: it is then read whole, so that a reply that breaks off can
    /// be asked for again.
    pub(super) unary: bool,
}

/// Everything that the clones of a channel share.
pub(super) struct Exchange {
    balancer: Balancer,
    transport: Transport,
    budget: RetryBudget,
    max_attempts: u32,
}

/// What an attempt came to.
enum Outcome {
    Done(Reply),
    /// Worth another attempt; the reply for the case that there is none.
    Again(Reply),
}

impl Exchange {
    pub(super) fn new(
        service: &str,
        security: Security<'_>,
        registry: &dyn Registry,
        settings: &ChannelSettings,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            balancer: Balancer::new(service, registry),
            transport: Transport::new(service, security, settings)?,
            budget: RetryBudget::new(settings.retry_budget),
            max_attempts: settings.max_attempts.max(1),
        })
    }

    pub(super) fn service(&self) -> &str {
        self.balancer.service()
    }

    pub(super) fn endpoint_states(&self) -> EndpointStates {
        self.balancer.endpoint_states()
    }

    /// Makes the call; the head [is complete](metadata::complete).
    pub(super) async fn run(&self, mut head: Parts, mut body: Replay, traits: Traits) -> Reply {
        self.budget.pay_in();
        let mut tried: Vec<Arc<Endpoint>> = Vec::new();
        let mut patience = Patience::until(traits.deadline);
        let mut last = None;
        for number in 1.. {
            let Some(attempt) = self.balancer.start(&tried, &mut patience).await else { break };
            let Some(content) = body.take() else { break };
            metadata::set_timeout(&mut head.headers, traits.deadline);
            tried.push(Arc::clone(attempt.endpoint()));
            match self.attempt(attempt, (head.clone(), content), number, traits).await {
                Outcome::Done(reply) => return reply,
                Outcome::Again(reply) => last = Some(reply),
            }
            if !pause(number, traits.deadline).await {
                break;
            }
        }
        last.unwrap_or_else(|| self.away().unsent())
    }

    async fn attempt(
        &self,
        attempt: Attempt,
        (head, content): (Parts, Content),
        number: u32,
        traits: Traits,
    ) -> Outcome {
        let sent = self.transport.send(attempt.endpoint(), head, content, traits.unary);
        let failure = match tokio::time::timeout_at(traits.deadline.into(), sent).await {
            Err(_) => {
                attempt.failed();
                return Outcome::Done(self.late());
            }
            Ok(Ok(reply)) if reply.is_unavailable() => {
                attempt.failed();
                let again = self.may_repeat(number, traits);
                let reply = reply.guarded_by(attempt);
                return if again { Outcome::Again(reply) } else { Outcome::Done(reply) };
            }
            Ok(Ok(reply)) => {
                attempt.succeeded();
                return Outcome::Done(reply.guarded_by(attempt));
            }
            Ok(Err(failure)) => failure,
        };
        // One that is idempotent may have been tried before.
        let was_sent = traits.idempotent || matches!(failure, Failure::Broken(_));
        let again = match &failure {
            Failure::Unreachable(cause) => {
                attempt.unreachable(&format!("{cause:#}"));
                number < MAX_UNSENT_ATTEMPTS && !attempt.is_last_resort()
            }
            Failure::Unsent(_) => number < MAX_UNSENT_ATTEMPTS,
            Failure::Broken(_) => {
                attempt.failed();
                self.may_repeat(number, traits)
            }
        };
        let instance = &attempt.endpoint().id;
        let cause = failure.into_cause();
        tracing::debug!(instance, number, again, cause = format!("{cause:#}"), "attempt failed");
        let away = if was_sent { self.away() } else { self.away().unsent() };
        if again { Outcome::Again(away) } else { Outcome::Done(away) }
    }

    /// Whether a call that may have run may be sent once more.
    fn may_repeat(&self, number: u32, traits: Traits) -> bool {
        traits.idempotent && number < self.max_attempts && self.budget.take()
    }

    fn away(&self) -> Reply {
        Error::unavailable(format!("{} is away", self.service())).into()
    }

    fn late(&self) -> Reply {
        let message = format!("{} did not answer in time", self.service());
        Error::new(DEADLINE_EXCEEDED, message).into()
    }
}

/// Lets a moment pass, jittered, from the second retry on; the first goes elsewhere at once. `false`
/// when the deadline would pass meanwhile.
async fn pause(number: u32, deadline: Instant) -> bool {
    let base = BASE_PAUSE.saturating_mul(1 << number.min(10)).min(MAX_PAUSE);
    let pause =
        if number == 1 { Duration::ZERO } else { base.mul_f64(rand::random_range(0.5..1.5)) };
    let wake = Instant::now() + pause;
    if wake >= deadline {
        return false;
    }
    tokio::time::sleep_until(wake.into()).await;
    true
}
