//! The service's own database: one pool, migrations, and transactions that carry the outbox.
//!
//! A [`Transaction`] is begun with [`Database::begin`]. Events published through it are rows of the
//! same transaction, so state and event commit together or not at all. Inside a consumer's handler
//! `begin` joins the transaction that also holds the inbox row, so effect and inbox row commit
//! together as well; a joined transaction's `commit` leaves the real commit to the consumer.
//!
//! If the call being served is audited, `commit` also writes its audit record.
