//! Chains too long for one call: a sealed checkpoint, and verification in the background.

use std::time::Duration;

use audit_svc::config::Config;
use audit_svc::domain::Head;
use base64::Engine as _;
use mainstay::contract::audit::proto::VerifyResponse;
use mainstay_testing::eventually;
use sea_orm::{ConnectionTrait as _, Statement};

use crate::harness::{Audit, by_actor, config, parcel};
use crate::tamper::{Trail, record_in};

/// Every second, which is as often as a pattern can say.
const OFTEN: &str = "* * * * * *";
/// Not while a story lasts.
const NEVER: &str = "0 0 1 1 *";

/// A call has no time to walk the chain from its beginning.
fn long_chain(checkpoint: &str, verify: &str) -> Config {
    Config { verify_budget: Duration::ZERO, ..short_chain(checkpoint, verify) }
}

fn short_chain(checkpoint: &str, verify: &str) -> Config {
    Config {
        checkpoint_key: base64::engine::general_purpose::STANDARD.encode([7; 32]).into(),
        checkpoint_schedule: checkpoint.to_owned(),
        verify_schedule: verify.to_owned(),
        ..config()
    }
}

async fn verify_when(
    audit: &Audit,
    what: &str,
    holds: impl Fn(&VerifyResponse) -> bool,
) -> VerifyResponse {
    eventually(what, async || {
        let found = audit.verify().await;
        holds(&found).then_some(found)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_intact_chain_is_vouched_for_up_to_the_checkpoint() {
    let trail = Trail::begin_with(long_chain(OFTEN, OFTEN)).await;
    let newest = trail.place_of_newest().await;
    let found = verify_when(&trail.audit, "the background has verified it", |found| {
        found.checkpoint_sequence >= newest && found.background_verify_time.is_some()
    })
    .await;
    assert!(found.intact, "{found:?}");
    assert!(found.verified_records >= newest, "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_edited_below_the_checkpoint_is_found_in_the_background_and_named() {
    let edits: [(&str, i64); 4] = [
        ("UPDATE audit_event SET actor = 'user:0' WHERE sequence = 3", 3),
        ("DELETE FROM audit_event WHERE sequence IN (3, 4)", 5),
        ("UPDATE audit_event SET time = 'noon' WHERE sequence = 2", 2),
        ("UPDATE audit_event SET outcome = 'OK ' WHERE sequence = 1", 1),
    ];
    for (edit, sequence) in edits {
        let trail = Trail::begin_with(long_chain(OFTEN, OFTEN)).await;
        // A column of numbers takes text on SQLite alone.
        if edit.contains("noon") && !trail.is_sqlite() {
            continue;
        }
        let newest = trail.place_of_newest().await;
        verify_when(&trail.audit, "a checkpoint", |found| found.checkpoint_sequence >= newest)
            .await;
        let expected = trail.id_at(sequence).await;
        trail.edit(edit).await;
        let found = verify_when(&trail.audit, "the edit is found", |found| !found.intact).await;
        assert_eq!(found.first_broken_sequence, sequence, "{edit}: {found:?}");
        assert_eq!(found.first_broken_id, expected, "{edit}: {found:?}");
        assert!(found.verified_records < sequence && !found.reason.is_empty(), "{found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_edited_behind_the_checkpoint_is_named_by_the_call_itself() {
    let trail = Trail::begin_with(long_chain(NEVER, NEVER)).await;
    let found = trail.audit.verify().await;
    assert!(found.intact, "{found:?}");
    trail.edit("UPDATE audit_event SET details = '{}x' WHERE sequence = 4").await;
    let found = trail.audit.verify().await;
    assert_eq!((found.intact, found.first_broken_sequence), (false, 4), "{found:?}");
    trail.edit("DELETE FROM audit_event WHERE sequence = 2").await;
    assert_eq!(trail.audit.verify().await.first_broken_sequence, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finding_goes_when_a_later_verification_finds_the_chain_restored() {
    let trail = Trail::begin_with(long_chain(OFTEN, OFTEN)).await;
    let newest = trail.place_of_newest().await;
    verify_when(&trail.audit, "a checkpoint", |found| found.checkpoint_sequence >= newest).await;
    trail.edit("UPDATE audit_event SET actor = actor || '!' WHERE sequence = 3").await;
    verify_when(&trail.audit, "the edit is found", |found| !found.intact).await;
    trail.edit("UPDATE audit_event SET actor = rtrim(actor, '!') WHERE sequence = 3").await;
    verify_when(&trail.audit, "the chain is intact", |found| found.intact).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_was_moved_is_noticed_at_once() {
    for edit in [
        "UPDATE chain_mark SET sequence = 2 WHERE kind = 'checkpoint'",
        "UPDATE chain_mark SET hash = 'none' WHERE kind = 'checkpoint'",
        "UPDATE chain_mark SET seal = '' WHERE kind = 'checkpoint'",
    ] {
        let trail = Trail::begin_with(long_chain(OFTEN, NEVER)).await;
        let newest = trail.place_of_newest().await;
        verify_when(&trail.audit, "a checkpoint", |found| found.checkpoint_sequence >= newest)
            .await;
        // The job may be moving the checkpoint on just now, and undo the edit by that.
        let found = eventually("the edit is noticed", async || {
            trail.edit(edit).await;
            Some(trail.audit.verify().await).filter(|found| !found.intact)
        })
        .await;
        assert!(found.reason.contains("seal is broken"), "{edit}: {found:?}");
    }
}

/// Somebody with the file computes the whole chain anew, its head included: no hash is wrong. Only
/// the seal, whose key they do not have, tells.
#[tokio::test(flavor = "multi_thread")]
async fn a_chain_computed_anew_does_not_fit_the_seal() {
    for config in [short_chain(OFTEN, NEVER), long_chain(OFTEN, NEVER)] {
        let trail = Trail::begin_with(config).await;
        sealed(&trail).await;
        forge(&trail).await;
        let found = trail.audit.verify().await;
        assert!(!found.intact, "{found:?}");
        assert!(found.reason.contains("computed anew"), "{found:?}");
    }
}

/// Somebody cuts the end of the chain off and sets its head back: what is left is without a fault.
#[tokio::test(flavor = "multi_thread")]
async fn a_chain_cut_off_together_with_its_head_lacks_what_was_sealed() {
    for config in [short_chain(OFTEN, NEVER), long_chain(OFTEN, NEVER)] {
        let trail = Trail::begin_with(config).await;
        let newest = sealed(&trail).await;
        trail.edit("DELETE FROM audit_event WHERE sequence > 3").await;
        trail
            .edit(
                "UPDATE chain_head SET sequence = 3, \
                 hash = (SELECT hash FROM audit_event WHERE sequence = 3), \
                 record_id = (SELECT id FROM audit_event WHERE sequence = 3)",
            )
            .await;
        let found = trail.audit.verify().await;
        assert!(!found.intact && found.first_broken_sequence >= newest, "{found:?}");
        assert!(found.reason.contains("is missing"), "{found:?}");

        let others = usize::try_from(newest).unwrap();
        let events = (0..others).map(|number| parcel("user:2", number as i64)).collect();
        trail.audit.happen(events).await;
        trail.audit.recorded(&by_actor("user:2"), others).await;
        let found = trail.audit.verify().await;
        assert!(!found.intact, "{found:?}");
        assert!(found.reason.contains("computed anew"), "{found:?}");
    }
}

/// Waits until the newest record is sealed, and returns its place.
async fn sealed(trail: &Trail) -> i64 {
    let newest = trail.place_of_newest().await;
    eventually("a checkpoint", async || {
        let query = format!("SELECT * FROM chain_mark WHERE sequence >= {newest}");
        let statement = Statement::from_string(trail.database.get_database_backend(), query);
        trail.database.query_one_raw(statement).await.unwrap()
    })
    .await;
    newest
}

/// Makes the first record say something else, and every hash fit.
async fn forge(trail: &Trail) {
    let mut head = Head::genesis();
    for sequence in 1..=trail.place_of_newest().await {
        let row =
            trail.row(&format!("SELECT * FROM audit_event WHERE sequence = {sequence}")).await;
        let mut record = record_in(&row);
        if sequence == 1 {
            record.actor = "user:somebody-else".to_owned();
        }
        let entry = head.extend(record);
        let (actor, hash, previous) = (&entry.record.actor, entry.hash, entry.previous_hash);
        trail
            .edit(&format!(
                "UPDATE audit_event SET actor = '{actor}', hash = '{hash}', \
                 previous_hash = '{previous}' WHERE sequence = {sequence}"
            ))
            .await;
        head = entry.as_head();
    }
    trail.edit(&format!("UPDATE chain_head SET hash = '{}'", head.hash)).await;
}
