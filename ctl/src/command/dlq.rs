//! Dead letters: list, show, replay, discard.

mod filter;

use clap::{Args, Subcommand};
use mainstay::contract::operations::proto::{
    ChangeDeadLettersResponse, DeadLetter, DeadLetterFilter, DiscardDeadLettersRequest,
    GetDeadLetterRequest, ListDeadLettersRequest, ReplayDeadLettersRequest,
};
use mainstay::contract::operations::{GrpcOperationsClient, OperationsClient as _};
use mainstay::kernel::error::{Error, NOT_FOUND};
use serde_json::{Value, json};

use super::{Desk, confirm};
use crate::output::{self, Column, Show};
use crate::pace::Pace;
use filter::Filter;

const COLUMNS: [Column; 8] = [
    ("ID", "/id"),
    ("CONSUMER", "/consumer"),
    ("STATE", "/state"),
    ("TYPE", "/event/type"),
    ("SUBJECT", "/event/subject"),
    ("ATTEMPTS", "/attempts"),
    ("PARKED", "/park_time"),
    ("REASON", "/reason"),
];

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List dead letters, in the order in which they were parked
    List {
        #[command(flatten)]
        filter: Filter,
        /// The most letters of each service
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Show one with its attempts and its payload
    Show {
        /// Id of the letter
        id: String,
        /// Show personal data and secrets of the payload; this is audited
        #[arg(long)]
        reveal: bool,
        /// The service whose letter it is; asked of all when not stated
        #[arg(long)]
        service: Option<String>,
    },
    /// Hand letters back to the consumers that gave them up; their events keep their ids
    Replay(Replay),
    /// Decide against letters; they are kept, with who and why
    Discard {
        #[command(flatten)]
        change: Change,
        /// Why they are discarded
        #[arg(long)]
        reason: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Replay {
    #[command(flatten)]
    change: Change,
}

/// Which letters are changed, and how.
#[derive(Debug, Args)]
pub(crate) struct Change {
    /// Ids of letters
    ids: Vec<String>,
    #[command(flatten)]
    filter: Filter,
    /// All that are parked, where neither ids nor a filter say which
    #[arg(long)]
    all: bool,
    /// Say which letters are meant, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// The most letters a second
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

pub(crate) async fn run(desk: &Desk, command: Command) -> anyhow::Result<()> {
    match command {
        Command::List { filter, limit } => list(desk, &filter, limit).await,
        Command::Show { id, reveal, service } => show(desk, &id, reveal, service).await,
        Command::Replay(Replay { change }) => change_letters(desk, change, Decision::Replay).await,
        Command::Discard { change, reason } => {
            change_letters(desk, change, Decision::Discard(reason)).await
        }
    }
}

async fn list(desk: &Desk, filter: &Filter, limit: usize) -> anyhow::Result<()> {
    let mut letters = Vec::new();
    for service in desk.mesh.services(filter.service()?).await? {
        let client = desk.mesh.operations(&service)?;
        letters.extend(rendered(&service, &of_service(&client, filter.stated(), limit).await?)?);
    }
    output::list(desk.settings.output, &COLUMNS, &letters)
}

async fn of_service(
    client: &GrpcOperationsClient,
    filter: DeadLetterFilter,
    limit: usize,
) -> anyhow::Result<Vec<DeadLetter>> {
    let (mut letters, mut page_token) = (Vec::new(), String::new());
    while letters.len() < limit {
        let page_size = i32::try_from((limit - letters.len()).min(200))?;
        let filter = Some(filter.clone());
        let request = ListDeadLettersRequest { filter, page_size, page_token };
        let page = client.list_dead_letters(request).await?;
        letters.extend(page.dead_letters);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    Ok(letters)
}

async fn show(desk: &Desk, id: &str, reveal: bool, service: Option<String>) -> anyhow::Result<()> {
    for service in desk.mesh.services(service.as_deref()).await? {
        let client = desk.mesh.operations(&service)?;
        let request = GetDeadLetterRequest { letter_id: id.to_owned() };
        // Looking for it reveals nothing: only what is there is asked for its payload.
        let found = client.get_dead_letter(request.clone()).await;
        let letter = match found {
            Err(error) if error.is(&NOT_FOUND) => continue,
            Ok(_) if reveal => client.reveal_dead_letter(request).await?,
            other => other?,
        };
        let letter = output::of_service(&service, output::json(&letter, Show::All)?);
        return output::one(desk.settings.output, &letter);
    }
    Err(Error::not_found("dead letter", id).into())
}

enum Decision {
    Replay,
    Discard(String),
}

impl Decision {
    fn verb(&self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::Discard(_) => "discard",
        }
    }
}

async fn change_letters(desk: &Desk, change: Change, decision: Decision) -> anyhow::Result<()> {
    change.filter.check_bounded(change.all || !change.ids.is_empty())?;
    if !change.dry_run {
        confirm(change.yes, &format!("{} {}", decision.verb(), change.describe()))?;
    }
    let (mut pace, mut letters, mut changed) = (Pace::new(change.rate), Vec::new(), 0);
    for service in desk.mesh.services(change.filter.service()?).await? {
        let client = desk.mesh.operations(&service)?;
        for filter in change.filters() {
            let done = all_of(&client, filter, &change, &decision, &mut pace).await?;
            letters.extend(rendered(&service, &done.0)?);
            changed += done.1;
        }
    }
    for id in change.ids.iter().filter(|id| letters.iter().all(|letter| letter["id"] != **id)) {
        output::say(&format!("no letter {id} is there to {}", decision.verb()));
    }
    let verb = decision.verb();
    output::say(&match change.dry_run {
        true => format!("{} letters to {verb}; nothing was changed", letters.len()),
        false => format!("{changed} letters: {verb}"),
    });
    output::list(desk.settings.output, &COLUMNS, &letters)
}

/// Goes through the pages of what a filter means, and decides about each letter.
async fn all_of(
    client: &GrpcOperationsClient,
    filter: DeadLetterFilter,
    change: &Change,
    decision: &Decision,
    pace: &mut Pace,
) -> anyhow::Result<(Vec<DeadLetter>, i32)> {
    let (mut letters, mut changed, mut page_token) = (Vec::new(), 0, String::new());
    loop {
        let reply = one_page(client, filter.clone(), change, decision, pace, page_token).await?;
        pace.done(reply.dead_letters.len()).await;
        changed += reply.changed;
        letters.extend(reply.dead_letters);
        page_token = reply.next_page_token;
        if page_token.is_empty() {
            return Ok((letters, changed));
        }
    }
}

async fn one_page(
    client: &GrpcOperationsClient,
    filter: DeadLetterFilter,
    change: &Change,
    decision: &Decision,
    pace: &Pace,
    page_token: String,
) -> anyhow::Result<ChangeDeadLettersResponse> {
    let (filter, dry_run, page_size) = (Some(filter), change.dry_run, pace.batch());
    Ok(match decision {
        Decision::Replay => {
            let request = ReplayDeadLettersRequest { filter, dry_run, page_size, page_token };
            client.replay_dead_letters(request).await?
        }
        Decision::Discard(reason) => {
            let reason = reason.clone();
            let request =
                DiscardDeadLettersRequest { filter, reason, dry_run, page_size, page_token };
            client.discard_dead_letters(request).await?
        }
    })
}

impl Change {
    /// One for each id, else the one of the filter.
    fn filters(&self) -> Vec<DeadLetterFilter> {
        let stated = self.filter.stated();
        match self.ids.is_empty() {
            true => vec![stated],
            false => {
                let of = |id: &String| DeadLetterFilter { id: id.clone(), ..stated.clone() };
                self.ids.iter().map(of).collect()
            }
        }
    }

    fn describe(&self) -> String {
        match self.ids.len() {
            0 => "all letters of the filter".to_owned(),
            count => format!("{count} letters"),
        }
    }
}

fn rendered(service: &str, letters: &[DeadLetter]) -> anyhow::Result<Vec<Value>> {
    letters
        .iter()
        .map(|letter| {
            let mut json = output::of_service(service, output::json(letter, Show::All)?);
            // For people and programs alike: `PARKED`, not `DEAD_LETTER_STATE_PARKED`.
            let state = letter.state().as_str_name().trim_start_matches("DEAD_LETTER_STATE_");
            json["state"] = json!(state);
            Ok(json)
        })
        .collect()
}
