//! Beginning a saga, in the transaction of the state that it follows from.

use serde::Serialize;
use serde_json::Value;

use super::job_name;
use super::operate::SagaState;
use super::row::{self, Row};
use crate::kernel::database::Transaction;
use crate::kernel::error::{Error, Result};
use crate::kernel::jobs::NewJob;

/// The step of a saga that has just begun: its definition knows which comes first.
pub(super) const FIRST: &str = "";

/// A saga to be begun: which, about what, with what data.
#[derive(Clone, Debug)]
pub struct NewSaga {
    name: String,
    id: String,
    data: Value,
}

impl NewSaga {
    /// A saga about the thing with this id, such as that of a user. There is one saga of a name for
    /// each id. The data is kept as JSON; keep ids in it rather than personal data, which would
    /// outlive its erasure elsewhere.
    pub fn new(name: impl Into<String>, id: impl ToString, data: impl Serialize) -> Result<Self> {
        let data = serde_json::to_value(data).map_err(Error::internal)?;
        Ok(Self { name: name.into(), id: id.to_string(), data })
    }
}

/// Writes the saga and the job of its first step; `false` when it was begun before.
pub(crate) async fn begin(transaction: &Transaction, saga: NewSaga) -> Result<bool> {
    let job = NewJob::new(job_name(&saga.name), &saga.id)?.unique(&saga.id);
    let row = Row {
        name: saga.name,
        id: saga.id,
        state: SagaState::Running,
        step: FIRST.to_owned(),
        data: saga.data,
    };
    if !row::insert(transaction.connection(), &row, true).await? {
        return Ok(false);
    }
    transaction.enqueue(job).await?;
    Ok(true)
}
