//! A poison event from its arrival to its end.

use mainstay::contract::proto::mainstay::auth::v1::AccountRegistered;
use mainstay::kernel::events::Envelope;
use mainstay_testing::{ADMIN_EMAIL, ADMIN_PASSWORD, Platform, eventually};
use prost::{Message as _, Name as _};
use serde_json::Value;

use crate::harness::Operator;

const ACCOUNTS: &str = "auth.accounts";

/// Gives an event up after two attempts, so that a story need not wait.
const IMPATIENT: [(&str, &str); 1] = [("MAINSTAY_EVENTS__MAX_ATTEMPTS", "2")];

#[tokio::test]
async fn a_poison_event_is_listed_shown_mended_and_replayed_with_one_effect() {
    let platform = Platform::start_with(&IMPATIENT).await;
    let operator = Operator::of(&platform);
    let admin = platform.admin().await;
    assert_eq!(operator.log_in(ADMIN_EMAIL, ADMIN_PASSWORD).code, 0);
    let ada = platform.sign_up("ada@example.org").await;

    // Another account with the address of a user who is there: identity cannot take it in.
    let user_id = uuid::Uuid::now_v7().to_string();
    publish(&platform, &user_id, "ada@example.org").await;
    let letter = letters_when(&operator, &["--consumer", "identity-svc.accounts"], 1).await;
    assert_eq!((&letter["code"], &letter["state"]), (&"USER_EMAIL_TAKEN".into(), &"PARKED".into()));
    let id = letter["id"].as_str().unwrap();
    let shown = operator.json(&["dlq", "show", id]);
    assert_eq!(shown["event"]["payload"]["email"], "[redacted]");
    assert_eq!(shown["event"]["payload"]["user_id"], user_id);
    assert!(shown["history"].as_array().is_some_and(|history| !history.is_empty()), "{shown}");
    let revealed = operator.json(&["dlq", "show", id, "--reveal"]);
    assert_eq!(revealed["event"]["payload"]["email"], "ada@example.org");

    let dry = operator.json(&["dlq", "replay", id, "--dry-run"]);
    assert_eq!(dry[0]["id"], id);
    let unasked = operator.run(&["dlq", "replay", id]);
    assert_eq!(unasked.code, 2, "nobody is there to be asked: {unasked:?}");
    admin.rest.delete(&format!("/api/v1/users/{}", ada.id)).await.expect(200);
    assert_eq!(operator.run(&["dlq", "replay", id, "--yes", "--rate", "10"]).code, 0);
    eventually("the letter is replayed", async || {
        let shown = operator.json(&["dlq", "list", "--state", "replayed"]);
        (shown[0]["id"] == id).then_some(())
    })
    .await;
    let user = operator.json(&["users", "show", &user_id, "--reveal"]);
    assert_eq!(user["email"], "ada@example.org");

    replay_of_a_whole_topic_changes_nothing(&platform, &operator, &user_id).await;
    let action = "operations.v1.OperationsService/ReplayDeadLetters";
    let record = eventually("the replay in the trail", async || {
        let records = operator.json(&["audit", "list", "--action", action]);
        records.as_array().unwrap().first().cloned()
    })
    .await;
    assert_eq!(record["actor"], "service:operator");
}

async fn replay_of_a_whole_topic_changes_nothing(
    platform: &Platform,
    operator: &Operator,
    user_id: &str,
) {
    let (resource, subject) = (format!("users/{user_id}"), format!("user:{user_id}"));
    let effects = || {
        let action = "auth.v1.AccountRegistered";
        let audit = ["audit", "list", "--action", action, "--resource", &resource];
        let users = operator.json(&["users", "list"]).as_array().unwrap().len();
        (operator.json(&audit), operator.json(&["roles", "bindings", "--subject", &subject]), users)
    };
    let before = effects();
    assert_eq!(before.0.as_array().map(Vec::len), Some(1), "the event is recorded once");
    let to_group = ["events", "replay", ACCOUNTS, "--consumer", "identity-svc.accounts", "--yes"];
    let replayed = operator.json(&to_group);
    assert_eq!((&replayed["selected"], &replayed["replayed"]), (&0.into(), &0.into()));
    let published = operator.json(&["events", "replay", ACCOUNTS, "--publish", "--yes"]);
    assert!(published["replayed"].as_i64() > Some(2), "{published}");
    assert_eq!(published["replayed"], published["selected"]);

    // Comes after all that was published once more.
    let marker = platform.sign_up("marker@example.org").await;
    let recorded = format!("users/{}", marker.id);
    eventually("the marker in the trail", async || {
        let records = operator.json(&["audit", "list", "--resource", &recorded]);
        (!records.as_array().unwrap().is_empty()).then_some(())
    })
    .await;
    let after = effects();
    assert_eq!((after.0, after.1, after.2), (before.0, before.1, before.2 + 1));
}

#[tokio::test]
async fn a_discarded_event_is_kept_with_who_and_why_and_the_trail_knows() {
    let platform = Platform::start().await;
    let operator = Operator::of(&platform);
    platform.admin().await;
    assert_eq!(operator.log_in(ADMIN_EMAIL, ADMIN_PASSWORD).code, 0);
    publish(&platform, "no-id-of-a-user", "bob@example.org").await;
    let letter = letters_when(&operator, &["--consumer", "identity-svc.accounts"], 1).await;
    assert_eq!(letter["code"], "INVALID_ARGUMENT");
    let everything = operator.run(&["dlq", "discard", "--reason", "a test", "--yes"]);
    assert_eq!(everything.code, 2, "everything only when that is said: {everything:?}");

    let id = letter["id"].as_str().unwrap();
    let discard = ["dlq", "discard", id, "--reason", "a test account", "--yes"];
    assert_eq!(operator.json(&discard)[0]["id"], id);
    let kept = operator.json(&["dlq", "show", id]);
    assert_eq!(
        (&kept["updated_by"], &kept["note"]),
        (&"service:operator".into(), &"a test account".into())
    );
    let unknown = operator.run(&["dlq", "show", "no-such-letter"]);
    assert_eq!((unknown.code, unknown.err.lines().count()), (1, 1), "{unknown:?}");

    let action = "operations.v1.OperationsService/DiscardDeadLetters";
    let record = eventually("the discard in the trail", async || {
        let records = operator.json(&["audit", "list", "--action", action]);
        let records = records.as_array().unwrap().clone();
        records.into_iter().find(|record| record["source"] == "identity-svc")
    })
    .await;
    assert_eq!((&record["actor"], &record["outcome"]), (&"service:operator".into(), &"OK".into()));
    assert_eq!(record["details"]["request"]["reason"], "a test account");
}

/// An account registered as auth would publish it.
async fn publish(platform: &Platform, user_id: &str, email: &str) {
    let registered = AccountRegistered {
        user_id: user_id.to_owned(),
        email: email.to_owned(),
        ..AccountRegistered::default()
    };
    let event = Envelope {
        id: uuid::Uuid::now_v7().to_string(),
        source: "/auth-svc".into(),
        r#type: AccountRegistered::full_name(),
        subject: user_id.to_owned(),
        time: Some(std::time::SystemTime::now().into()),
        topic: ACCOUNTS.into(),
        data: registered.encode_to_vec(),
        ..Envelope::default()
    };
    platform.bus().publish(vec![event]).await.unwrap();
}

/// Waits until so many letters are parked, and returns the first.
async fn letters_when(operator: &Operator, filter: &[&str], count: usize) -> Value {
    eventually(&format!("{count} letters"), async || {
        let letters = operator.json(&[&["dlq", "list", "--state", "parked"], filter].concat());
        let letters = letters.as_array().unwrap().clone();
        (letters.len() == count).then(|| letters[0].clone())
    })
    .await
}
