//! Rows, and their way to and from the domain.
//!
//! Times are microseconds since 1970 in a 64-bit integer, which orders alike on every database and
//! is what the hash is taken over. Hashes are in hexadecimal, for whoever looks into the tables.
#![allow(unreachable_pub, missing_docs, reason = "what sea-orm derives is public and undocumented")]

use chrono::DateTime;
use mainstay::kernel::{Error, Result};

use crate::domain::{Entry, Hash, Record};

/// The records.
pub mod audit_event {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "audit_event")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub sequence: i64,
        #[sea_orm(unique)]
        pub id: String,
        pub time: i64,
        pub actor: String,
        pub action: String,
        pub resource: String,
        pub outcome: String,
        pub request_id: String,
        pub trace_id: String,
        pub source: String,
        pub details: String,
        pub hash: String,
        pub previous_hash: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// The newest end of the chain.
pub mod chain_head {
    use sea_orm::entity::prelude::*;

    /// Id of the one row.
    pub const ROW: i32 = 1;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "chain_head")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: i32,
        pub sequence: i64,
        pub hash: String,
        pub record_id: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// How far the chain was verified.
pub mod chain_mark {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "chain_mark")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub kind: String,
        pub sequence: i64,
        pub hash: String,
        pub record_id: String,
        pub time: i64,
        pub seal: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// What the last complete verification found.
pub mod chain_finding {
    use sea_orm::entity::prelude::*;

    /// Id of the one row.
    pub const ROW: i32 = 1;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "chain_finding")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: i32,
        pub sequence: i64,
        pub record_id: String,
        pub reason: String,
        pub verified_records: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// The row of an entry.
pub fn from_domain(entry: &Entry) -> audit_event::Model {
    let record = entry.record.clone();
    audit_event::Model {
        sequence: entry.sequence,
        id: record.id,
        time: record.time.timestamp_micros(),
        actor: record.actor,
        action: record.action,
        resource: record.resource,
        outcome: record.outcome,
        request_id: record.request_id,
        trace_id: record.trace_id,
        source: record.source,
        details: record.details,
        hash: entry.hash.to_string(),
        previous_hash: entry.previous_hash.to_string(),
    }
}

/// The entry of a row.
pub fn into_domain(row: audit_event::Model) -> Result<Entry> {
    let time = DateTime::from_timestamp_micros(row.time)
        .ok_or_else(|| Error::internal(anyhow::anyhow!("{} is no time", row.time)))?;
    Ok(Entry {
        sequence: row.sequence,
        hash: Hash::parse(&row.hash)?,
        previous_hash: Hash::parse(&row.previous_hash)?,
        record: Record {
            id: row.id,
            time,
            actor: row.actor,
            action: row.action,
            resource: row.resource,
            outcome: row.outcome,
            request_id: row.request_id,
            trace_id: row.trace_id,
            source: row.source,
            details: row.details,
        },
    })
}
