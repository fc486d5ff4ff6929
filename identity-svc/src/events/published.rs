//! Domain events become the events of the contract.

use mainstay::contract::identity::proto;
use mainstay::kernel::Result;
use mainstay::kernel::database::Transaction;

use crate::domain::UserEvent;

/// Stores an event in the outbox of the transaction that makes it true.
pub async fn store(transaction: &Transaction, event: &UserEvent) -> Result<()> {
    match event {
        UserEvent::Created { user_id, email, display_name } => {
            let event = proto::UserCreated {
                user_id: user_id.to_string(),
                email: email.as_typed().to_owned(),
                display_name: display_name.clone(),
            };
            transaction.publish(&event).await
        }
        UserEvent::Updated { user_id, changed } => {
            let event = proto::UserUpdated {
                user_id: user_id.to_string(),
                changed_fields: changed.iter().map(|field| field.name().to_owned()).collect(),
            };
            transaction.publish(&event).await
        }
        UserEvent::Deleted { user_id } => {
            transaction.publish(&proto::UserDeleted { user_id: user_id.to_string() }).await
        }
    }
}
