//! JSON Schema of events, from the contracts and from a process.

use mainstay::contract::{self, auth};
use mainstay::kernel::events::cloud_events::data_schema;
use mainstay::kernel::events::json_schema::schema;
use mainstay::kernel::policy::EventCatalog;
use mainstay_testing::Platform;
use serde_json::json;

#[test]
fn every_event_has_a_schema_of_its_canonical_json() {
    let pool = contract::pool();
    let catalog = EventCatalog::compile(pool).unwrap();
    let mut count = 0;
    for (name, event) in catalog.events() {
        let schema = schema(pool, name).unwrap().unwrap();
        assert_eq!(schema["$id"], data_schema(name));
        assert_eq!(schema["x-topic"], event.topic);
        assert!(schema["description"].as_str().is_some_and(|text| text.len() > 9), "{name}");
        let message = pool.get_message_by_name(name).unwrap();
        for field in message.fields() {
            let property = &schema["properties"][field.json_name()];
            assert!(property["description"].is_string(), "{name}.{}", field.name());
        }
        count += 1;
    }
    assert!(count >= 10, "{count}");
}

#[test]
fn a_schema_tells_types_comments_and_personal_data() {
    let schema = |name| schema(contract::pool(), name).unwrap();
    let registered = schema("mainstay.auth.v1.AccountRegistered").unwrap();
    assert_eq!(registered["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(registered["title"], "AccountRegistered");
    assert_eq!(registered["properties"]["userId"]["type"], "string");
    assert_eq!(registered["properties"]["email"]["x-personal"], true);
    assert_eq!(registered["properties"]["userId"].get("x-personal"), None);

    let declared = schema("mainstay.events.v1.ServiceDeclared").unwrap();
    let permission = "mainstay.events.v1.PermissionDeclaration";
    let items = json!({ "$ref": format!("#/$defs/{permission}") });
    assert_eq!(declared["properties"]["permissions"]["items"], items);
    assert_eq!(declared["$defs"][permission]["properties"]["name"]["type"], "string");
    assert_eq!(schema("mainstay.events.v1.Envelope"), None, "no event");
    assert_eq!(schema("no.such.Type"), None);
}

#[tokio::test]
async fn a_process_serves_the_schemas_on_its_admin_port() {
    let platform = Platform::start_services(&[auth::SERVICE], &[]).await;
    let admin = platform.admin_port(auth::SERVICE);
    let reply = admin.get("/schemas").await;
    assert_eq!(reply.status, 200);
    let topics: serde_json::Value = serde_json::from_str(&reply.text()).unwrap();
    let of = |name: &str| {
        let mut topics = topics["topics"].as_array().unwrap().iter();
        topics.find(|topic| topic["topic"] == name).unwrap().clone()
    };
    let services = of("platform.services");
    assert_eq!((&services["partitions"], &services["compacted"]), (&json!(1), &json!(true)));
    let users = of("identity.users");
    assert_eq!(users["retention_seconds"], 7 * 24 * 60 * 60);
    let updated = users["events"].as_array().unwrap().iter();
    let updated = updated.clone().find(|event| event["key"] == "user_id").unwrap();

    let reply = admin.get(updated["schema"].as_str().unwrap()).await;
    assert_eq!(reply.status, 200);
    let schema: serde_json::Value = serde_json::from_str(&reply.text()).unwrap();
    assert_eq!(schema["$id"], updated["dataschema"]);
    let path = schema["$id"].as_str().unwrap().strip_prefix("mainstay:").unwrap().to_owned();
    assert_eq!(admin.get(&path).await.text(), reply.text(), "the reference leads to it");
    assert_eq!(admin.get("/schemas/no.such.Type").await.status, 404);
}
