//! Domain events become the events of the contract.

use mainstay::contract::auth::proto::{
    AccountRegistered, PasswordChanged, RegistrationWithdrawn, SessionEndReason, SessionEnded,
    SessionStarted,
};
use mainstay::kernel::Result;
use mainstay::kernel::database::Transaction;
use mainstay::kernel::time::timestamp;

use crate::domain::{Account, AuthEvent, EndReason};

/// Stores an event in the outbox of the transaction that makes it true.
pub async fn store(transaction: &Transaction, event: &AuthEvent) -> Result<()> {
    match event {
        AuthEvent::AccountRegistered { account, roles } => {
            transaction.publish(&account_registered(account, roles)).await
        }
        AuthEvent::RegistrationWithdrawn { user_id } => {
            transaction.publish(&RegistrationWithdrawn { user_id: user_id.to_string() }).await
        }
        AuthEvent::SessionStarted { user_id, session_id } => {
            let (user_id, session_id) = (user_id.to_string(), session_id.to_string());
            transaction.publish(&SessionStarted { user_id, session_id }).await
        }
        AuthEvent::SessionEnded { user_id, session_id, reason } => {
            let (user_id, session_id) = (user_id.to_string(), session_id.to_string());
            let reason = end_reason(*reason).into();
            transaction.publish(&SessionEnded { user_id, session_id, reason }).await
        }
        AuthEvent::PasswordChanged { user_id } => {
            transaction.publish(&PasswordChanged { user_id: user_id.to_string() }).await
        }
    }
}

fn account_registered(account: &Account, roles: &[String]) -> AccountRegistered {
    AccountRegistered {
        user_id: account.id.to_string(),
        email: account.email.as_typed().to_owned(),
        display_name: account.display_name.clone(),
        roles: roles.to_vec(),
        register_time: Some(timestamp(account.create_time)),
    }
}

fn end_reason(reason: EndReason) -> SessionEndReason {
    match reason {
        EndReason::Logout => SessionEndReason::Logout,
        EndReason::Revoked => SessionEndReason::Revoked,
        EndReason::TokenReuse => SessionEndReason::TokenReuse,
        EndReason::PasswordChanged => SessionEndReason::PasswordChanged,
        EndReason::UserDeleted => SessionEndReason::UserDeleted,
    }
}
