//! Marks and findings of verification.

use chrono::DateTime;
use mainstay::kernel::Result;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ConnectionTrait, EntityTrait as _, IntoActiveModel as _};

use super::entity::{chain_finding, chain_mark};
use crate::domain::{Fault, Finding, Hash, Head, Mark, MarkKind, unreadable};

/// A mark as it stands there. One that cannot be read has a seal that does not hold.
pub(super) async fn read(
    connection: &impl ConnectionTrait,
    kind: MarkKind,
) -> Result<Option<Mark>> {
    let row = chain_mark::Entity::find_by_id(kind.as_str()).one(connection).await?;
    Ok(row.map(|row| Mark {
        last: Head {
            sequence: row.sequence,
            hash: Hash::parse(&row.hash).unwrap_or_else(|_| unreadable()),
            record_id: row.record_id,
        },
        time: DateTime::from_timestamp_micros(row.time).unwrap_or_default(),
        seal: row.seal,
    }))
}

/// Moves a mark, or makes it.
pub(super) async fn write(
    connection: &impl ConnectionTrait,
    kind: MarkKind,
    mark: &Mark,
) -> Result<()> {
    use chain_mark::Column;
    let row = chain_mark::Model {
        kind: kind.as_str().to_owned(),
        sequence: mark.last.sequence,
        hash: mark.last.hash.to_string(),
        record_id: mark.last.record_id.clone(),
        time: mark.time.timestamp_micros(),
        seal: mark.seal.clone(),
    };
    let replace = OnConflict::column(Column::Kind)
        .update_columns([
            Column::Sequence,
            Column::Hash,
            Column::RecordId,
            Column::Time,
            Column::Seal,
        ])
        .to_owned();
    chain_mark::Entity::insert(row.into_active_model())
        .on_conflict(replace)
        .exec_without_returning(connection)
        .await?;
    Ok(())
}

/// Removes a mark that may not be there.
pub(super) async fn delete(connection: &impl ConnectionTrait, kind: MarkKind) -> Result<()> {
    chain_mark::Entity::delete_by_id(kind.as_str()).exec(connection).await?;
    Ok(())
}

/// What the last complete verification found.
pub(super) async fn finding_read(connection: &impl ConnectionTrait) -> Result<Option<Finding>> {
    let row = chain_finding::Entity::find_by_id(chain_finding::ROW).one(connection).await?;
    Ok(row.map(|row| Finding {
        fault: Fault { record_id: row.record_id, sequence: row.sequence, reason: row.reason },
        verified_records: row.verified_records,
    }))
}

/// Replaces what the verification before found.
pub(super) async fn finding_replace(
    connection: &impl ConnectionTrait,
    finding: Option<&Finding>,
) -> Result<()> {
    chain_finding::Entity::delete_by_id(chain_finding::ROW).exec(connection).await?;
    let Some(Finding { fault, verified_records }) = finding else { return Ok(()) };
    let row = chain_finding::Model {
        id: chain_finding::ROW,
        sequence: fault.sequence,
        record_id: fault.record_id.clone(),
        reason: fault.reason.clone(),
        verified_records: *verified_records,
    };
    chain_finding::Entity::insert(row.into_active_model())
        .exec_without_returning(connection)
        .await?;
    Ok(())
}
