//! Finding dead letters.

use prost::Message as _;
use sea_orm::sea_query::{Expr, ExprTrait as _, Order, Query, SelectStatement};
use sea_orm::{ConnectionTrait, QueryResult};

use super::State;
use super::schema::DeadLetters;
use crate::kernel::database::Database;
use crate::kernel::error::{Error, Result};
use crate::kernel::events::tried::Attempt;
use crate::kernel::proto::events::Envelope;

/// A letter as it is kept.
#[derive(Clone, Debug)]
pub(crate) struct Letter {
    pub(crate) position: i64,
    pub(crate) id: String,
    pub(crate) consumer: String,
    pub(crate) event: Envelope,
    pub(crate) state: State,
    pub(crate) code: String,
    pub(crate) reason: String,
    pub(crate) attempts: u32,
    pub(crate) history: Vec<Attempt>,
    pub(crate) parked_at: i64,
    pub(crate) updated_at: i64,
    pub(crate) updated_by: String,
    pub(crate) note: String,
}

/// Which letters are meant: all that is stated must hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    pub(crate) id: String,
    pub(crate) topic: String,
    pub(crate) r#type: String,
    pub(crate) consumer: String,
    pub(crate) subject: String,
    pub(crate) event_id: String,
    /// Error code.
    pub(crate) code: String,
    /// A part of the reason, upper and lower case alike.
    pub(crate) reason: String,
    pub(crate) state: Option<State>,
    /// Parked at this time or later, in Unix microseconds.
    pub(crate) parked_from: Option<i64>,
    /// Parked before this time.
    pub(crate) parked_until: Option<i64>,
}

/// The letters that a filter means, in the order of parking, from behind a position.
pub(crate) async fn find(
    connection: &impl ConnectionTrait,
    filter: &Filter,
    after: i64,
    limit: u64,
) -> Result<Vec<Letter>> {
    let query = select(filter)
        .expr(Expr::cust("*"))
        .and_where(Expr::col(DeadLetters::Position).gt(after))
        .order_by(DeadLetters::Position, Order::Asc)
        .limit(limit)
        .take();
    connection.query_all(&query).await?.iter().map(Letter::read).collect()
}

/// One letter.
pub(crate) async fn get(database: &Database, id: &str) -> Result<Letter> {
    let filter = Filter { id: id.to_owned(), ..Filter::default() };
    let letters = find(database.connection(), &filter, 0, 1).await?;
    letters.into_iter().next().ok_or_else(|| Error::not_found("dead letter", id))
}

/// How many letters of a consumer are in a state.
pub(crate) async fn count(database: &Database, consumer: &str, state: State) -> Result<i64> {
    let query = Query::select()
        .expr_as(Expr::col(DeadLetters::Position).count(), "letters")
        .from(DeadLetters::Table)
        .and_where(Expr::col(DeadLetters::Consumer).eq(consumer))
        .and_where(Expr::col(DeadLetters::State).eq(state.name()))
        .take();
    let row = database.connection().query_one(&query).await?;
    Ok(row.map(|row| row.try_get("", "letters")).transpose()?.unwrap_or_default())
}

/// Whether a letter that is parked or being replayed stands before an event of its aggregate.
pub(crate) async fn blocks(database: &Database, consumer: &str, event: &Envelope) -> Result<bool> {
    let of_event = Query::select()
        .column(DeadLetters::Position)
        .from(DeadLetters::Table)
        .and_where(Expr::col(DeadLetters::Consumer).eq(consumer))
        .and_where(Expr::col(DeadLetters::EventId).eq(event.id.as_str()))
        .take();
    let own = database.connection().query_one(&of_event).await?;
    let own: Option<i64> = own.map(|row| row.try_get("", "position")).transpose()?;
    let open = [State::Parked, State::Replaying].map(State::name);
    let mut query = Query::select();
    query
        .expr(Expr::val(1))
        .from(DeadLetters::Table)
        .and_where(Expr::col(DeadLetters::Consumer).eq(consumer))
        .and_where(Expr::col(DeadLetters::Topic).eq(event.topic.as_str()))
        .and_where(Expr::col(DeadLetters::Subject).eq(event.subject.as_str()))
        .and_where(Expr::col(DeadLetters::State).is_in(open))
        .limit(1);
    if let Some(own) = own {
        query.and_where(Expr::col(DeadLetters::Position).lt(own));
    }
    Ok(database.connection().query_one(&query).await?.is_some())
}

fn select(filter: &Filter) -> SelectStatement {
    let mut query = Query::select();
    query.from(DeadLetters::Table);
    let equal = [
        (DeadLetters::Id, &filter.id),
        (DeadLetters::Topic, &filter.topic),
        (DeadLetters::Type, &filter.r#type),
        (DeadLetters::Consumer, &filter.consumer),
        (DeadLetters::Subject, &filter.subject),
        (DeadLetters::EventId, &filter.event_id),
        (DeadLetters::Code, &filter.code),
    ];
    for (column, wanted) in equal.into_iter().filter(|(_, wanted)| !wanted.is_empty()) {
        query.and_where(Expr::col(column).eq(wanted.as_str()));
    }
    if let Some(state) = filter.state {
        query.and_where(Expr::col(DeadLetters::State).eq(state.name()));
    }
    if !filter.reason.is_empty() {
        let wanted = filter.reason.to_lowercase();
        let lowered = Expr::expr(sea_orm::sea_query::Func::lower(Expr::col(DeadLetters::Reason)));
        query.and_where(lowered.like(like(&wanted)));
    }
    if let Some(from) = filter.parked_from {
        query.and_where(Expr::col(DeadLetters::ParkedAt).gte(from));
    }
    if let Some(until) = filter.parked_until {
        query.and_where(Expr::col(DeadLetters::ParkedAt).lt(until));
    }
    query
}

/// A pattern that finds a text anywhere, its own wildcards taken as they are.
fn like(text: &str) -> sea_orm::sea_query::LikeExpr {
    let escaped = text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    sea_orm::sea_query::LikeExpr::new(format!("%{escaped}%")).escape('\\')
}

impl Letter {
    fn read(row: &QueryResult) -> Result<Self> {
        let envelope: Vec<u8> = row.try_get("", "envelope")?;
        let history: String = row.try_get("", "history")?;
        Ok(Self {
            position: row.try_get("", "position")?,
            id: row.try_get("", "id")?,
            consumer: row.try_get("", "consumer")?,
            event: Envelope::decode(&*envelope).map_err(Error::internal)?,
            state: State::of(&row.try_get::<String>("", "state")?),
            code: row.try_get("", "code")?,
            reason: row.try_get("", "reason")?,
            attempts: u32::try_from(row.try_get::<i64>("", "attempts")?).unwrap_or(u32::MAX),
            history: serde_json::from_str(&history).map_err(Error::internal)?,
            parked_at: row.try_get("", "parked_at")?,
            updated_at: row.try_get("", "updated_at")?,
            updated_by: row.try_get("", "updated_by")?,
            note: row.try_get("", "note")?,
        })
    }
}
