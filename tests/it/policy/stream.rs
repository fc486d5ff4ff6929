//! The messages of a caller's stream, judged one by one.

use std::sync::Arc;

use mainstay::kernel::error::Result;
use mainstay::kernel::policy::{PolicyTable, StreamRules};
use serde_json::{Value as Json, json};

use super::{PACKAGE, compile, wire};

/// Judges these messages in their order by a method with this policy; the last word of it.
fn judge(policy: &str, messages: &[Json]) -> Result<()> {
    let pool = compile(&format!(
        "service Sample {{ rpc Do(stream Note) returns (Reply) {{
        option (google.api.http) = {{ post: '/v1/notes' body: '*' }};
        option (mainstay.policy.v1.method) = {{ {policy} rate_class: 'x' audit: AUDIT_NONE }}; }} }}
        message Note {{
            string shelf = 1; string reader = 2;
            int32 weight = 3 [(buf.validate.field).int32.gte = 0];
        }}
        message Reply {{}}"
    ));
    let table = PolicyTable::compile(&pool).unwrap();
    let policy = table.method(&format!("/{PACKAGE}.Sample/Do")).unwrap();
    let mut rules = StreamRules::new(Arc::clone(policy));
    let note = format!("{PACKAGE}.Note");
    messages.iter().try_for_each(|message| rules.check(&wire(&pool, &note, message)))
}

#[test]
fn each_message_is_held_to_the_rules_of_its_fields() {
    let policy = "authenticated: true";
    judge(policy, &[json!({ "weight": 1 }), json!({ "shelf": "s2" })]).unwrap();
    let error = judge(policy, &[json!({ "weight": 1 }), json!({ "weight": -1 })]).unwrap_err();
    assert_eq!(error.violations()[0].field, "weight");
}

#[test]
fn who_is_let_in_for_one_thing_stays_with_it() {
    let policy = "permission: 'a.b.c' resource: 'shelves/{shelf}' owner: 'reader'";
    let first = json!({ "shelf": "s1", "reader": "r1" });
    judge(policy, &[first.clone(), first.clone()]).unwrap();
    for other in [
        json!({ "shelf": "s2", "reader": "r1" }),
        json!({ "shelf": "s1", "reader": "r2" }),
        json!({ "shelf": "s1" }),
        json!({}),
    ] {
        let error = judge(policy, &[first.clone(), other.clone()]).unwrap_err();
        assert!(error.message().contains("the same thing as its first"), "{other}: {error}");
    }
}
