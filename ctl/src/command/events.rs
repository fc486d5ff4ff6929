//! Events on their topics.

use clap::{Args, Subcommand};
use mainstay::contract::operations::OperationsClient as _;
use mainstay::contract::operations::proto::{
    ListConsumersRequest, ListTopicsRequest, ReadEventsRequest, ReplayEventsRequest,
};
use serde_json::json;

use super::{Desk, confirm};
use crate::cli::Form;
use crate::mesh::Mesh;
use crate::output::{self, Column, Show};
use crate::pace::Pace;
use crate::time::Time;

const TAIL: [Column; 6] = [
    ("TIME", "/time"),
    ("TYPE", "/type"),
    ("SUBJECT", "/subject"),
    ("ACTOR", "/actor"),
    ("ID", "/id"),
    ("PAYLOAD", "/payload"),
];

const TOPICS: [Column; 2] = [("TOPIC", "/name"), ("TYPES", "/types")];

const CONSUMERS: [Column; 7] = [
    ("CONSUMER", "/consumer"),
    ("STATE", "/state"),
    ("LAG", "/lag"),
    ("RETRYING", "/retrying"),
    ("REDELIVERIES", "/redeliveries"),
    ("PARKED", "/parked"),
    ("REASON", "/reason"),
];

/// How long a service waits at the end of a topic before it answers that there is no more.
const WAIT_MS: i32 = 10_000;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the topics of the contracts
    Topics,
    /// List the consumers of every service: state, lag, retries, dead letters
    Consumers {
        /// Only this service
        #[arg(long)]
        service: Option<String>,
    },
    /// Show the events of a topic
    Tail(Tail),
    /// Deliver retained events once more, with their ids kept: who has handled one passes it over
    Replay(Replay),
}

#[derive(Debug, Args)]
pub(crate) struct Tail {
    /// The topic
    topic: String,
    /// Go on with what comes
    #[arg(long, short)]
    follow: bool,
    /// From this time on: how long ago, or a time; from the oldest event when not stated, or with
    /// --follow from now on
    #[arg(long, value_name = "TIME")]
    since: Option<Time>,
    /// The most events to show
    #[arg(long, short = 'n')]
    limit: Option<usize>,
    /// Show personal data and secrets of payloads; this is audited
    #[arg(long)]
    reveal: bool,
    /// The service to ask; any when not stated
    #[arg(long)]
    service: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// The topic
    topic: String,
    #[command(flatten)]
    to: To,
    /// From this time on: how long ago, or a time; from the oldest event when not stated
    #[arg(long, value_name = "TIME")]
    since: Option<Time>,
    /// Before this time; now when not stated
    #[arg(long, value_name = "TIME")]
    until: Option<Time>,
    /// Only events of this type, by its full name
    #[arg(long = "type", value_name = "TYPE")]
    r#type: Option<String>,
    /// Only events about this aggregate
    #[arg(long)]
    subject: Option<String>,
    /// Say how many are meant, and deliver nothing
    #[arg(long)]
    dry_run: bool,
    /// The most events a second
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct To {
    /// Deliver to this consumer group alone, what it has not handled
    #[arg(long, value_name = "GROUP")]
    consumer: Option<String>,
    /// Publish once more, for every consumer group
    #[arg(long)]
    publish: bool,
}

pub(crate) async fn run(desk: &Desk, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Topics => topics(desk).await,
        Command::Consumers { service } => consumers(desk, service).await,
        Command::Tail(tail) => follow(desk, tail).await,
        Command::Replay(replay) => redeliver(desk, replay).await,
    }
}

async fn topics(desk: &Desk) -> anyhow::Result<()> {
    let service = any_service(desk, None).await?;
    let reply = desk.mesh.operations(&service)?.list_topics(ListTopicsRequest {}).await?;
    let shown = |topic| output::json(topic, Show::All);
    let topics: Vec<_> = reply.topics.iter().map(shown).collect::<Result<_, _>>()?;
    output::list(desk.settings.output, &TOPICS, &topics)
}

async fn consumers(desk: &Desk, service: Option<String>) -> anyhow::Result<()> {
    let mut consumers = Vec::new();
    for service in desk.mesh.services(service.as_deref()).await? {
        let client = desk.mesh.operations(&service)?;
        for consumer in client.list_consumers(ListConsumersRequest {}).await?.consumers {
            let mut json = output::of_service(&service, output::json(&consumer, Show::All)?);
            // Nothing waiting is an answer too.
            json["retrying"] = json!(consumer.retrying.to_string());
            json["redeliveries"] = json!(consumer.redeliveries.to_string());
            json["parked"] = json!(consumer.parked.to_string());
            consumers.push(json);
        }
    }
    output::list(desk.settings.output, &CONSUMERS, &consumers)
}

async fn follow(desk: &Desk, tail: Tail) -> anyhow::Result<()> {
    let client = desk.mesh.operations(&any_service(desk, tail.service.clone()).await?)?;
    let mut left = tail.limit.unwrap_or(usize::MAX);
    let mut request = ReadEventsRequest {
        topic: tail.topic.clone(),
        start_time: tail.since.map(Into::into),
        from_end: tail.follow && tail.since.is_none(),
        wait_ms: if tail.follow { WAIT_MS } else { 0 },
        ..ReadEventsRequest::default()
    };
    while left > 0 {
        request.page_size = i32::try_from(left.min(200))?;
        let page = match tail.reveal {
            true => client.reveal_events(request.clone()).await?,
            false => client.read_events(request.clone()).await?,
        };
        for event in &page.events {
            output::line(desk.settings.output, &TAIL, &output::json(event, Show::All)?)?;
        }
        if page.events.is_empty() && !tail.follow {
            break;
        }
        left = left.saturating_sub(page.events.len());
        request.position = page.next_position;
        request.from_end = false;
    }
    Ok(())
}

async fn redeliver(desk: &Desk, replay: Replay) -> anyhow::Result<()> {
    let service = match &replay.to.consumer {
        Some(group) => Mesh::service_of(group)?.to_owned(),
        None => any_service(desk, None).await?,
    };
    let whom = replay.to.consumer.clone().unwrap_or_else(|| "every consumer".to_owned());
    if !replay.dry_run {
        confirm(replay.yes, &format!("deliver events of {} to {whom} once more", replay.topic))?;
    }
    let client = desk.mesh.operations(&service)?;
    let mut pace = Pace::new(replay.rate);
    let (mut read, mut selected, mut replayed) = (0i64, 0i64, 0i64);
    let mut request = request(replay, pace.batch());
    loop {
        let reply = client.replay_events(request.clone()).await?;
        read += i64::from(reply.read);
        selected += i64::from(reply.selected);
        replayed += i64::from(reply.replayed);
        pace.done(usize::try_from(reply.replayed).unwrap_or_default()).await;
        request.position = reply.next_position;
        if request.position.is_empty() {
            break;
        }
    }
    let topic = request.topic;
    let done = json!({
        "topic": topic, "to": whom, "read": read, "selected": selected, "replayed": replayed,
    });
    match desk.settings.output {
        Form::Json => output::one(Form::Json, &done),
        Form::Table => output::print(&format!(
            "{topic} to {whom}: {read} read, {selected} selected, {replayed} delivered"
        )),
    }
}

fn request(replay: Replay, page_size: i32) -> ReplayEventsRequest {
    ReplayEventsRequest {
        topic: replay.topic,
        consumer: replay.to.consumer.unwrap_or_default(),
        position: String::new(),
        start_time: replay.since.map(Into::into),
        // What is published now is not to be read again.
        end_time: Some(replay.until.unwrap_or_else(Time::now).into()),
        r#type: replay.r#type.unwrap_or_default(),
        subject: replay.subject.unwrap_or_default(),
        dry_run: replay.dry_run,
        page_size,
    }
}

/// Every service reads the same broker.
async fn any_service(desk: &Desk, named: Option<String>) -> anyhow::Result<String> {
    let services = desk.mesh.services(named.as_deref()).await?;
    services.into_iter().next().ok_or_else(|| anyhow::anyhow!("no service is registered"))
}
