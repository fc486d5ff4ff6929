//! What a contract must state.

use mainstay::kernel::policy::PolicyTable;
use mainstay::kernel::policy::check;
use prost_reflect::DescriptorPool;
use prost_reflect::prost_types::FileDescriptorSet;

use super::{FILE, compile};

const MESSAGES: &str = r#"
    message Request {
        string id = 1; int32 count = 2; repeated string tags = 3; Inner inner = 4;
        oneof either { string left = 5; string right = 6; } optional string maybe = 7;
    }
    message Inner { string name = 1; }
    message Reply { string text = 1; }
"#;
const DEFAULTS: &str = "option (mainstay.policy.v1.service) = { deadline: { seconds: 5 } };";
const READS: &str = "option idempotency_level = NO_SIDE_EFFECTS;";

fn check_policies(pool: &DescriptorPool) -> Vec<String> {
    check::check_policies(pool).iter().map(ToString::to_string).collect()
}

/// A contract of one method with these options.
fn method(options: &str) -> DescriptorPool {
    let rpc = format!("rpc Do(Request) returns (Reply) {{ {options} }}");
    compile(&format!("service Sample {{ {DEFAULTS} {rpc} }} {MESSAGES}"))
}

fn policy(policy: &str) -> DescriptorPool {
    method(&format!("{READS} option (mainstay.policy.v1.method) = {{ {policy} }};"))
}

fn route(route: &str) -> DescriptorPool {
    method(&format!(
        "{READS} option (google.api.http) = {{ {route} }};
        option (mainstay.policy.v1.method) = {{ authenticated: true }};"
    ))
}

/// One fault, of this element, that says all of this.
fn assert_refused(pool: &DescriptorPool, name: &str, expected: &[&str]) {
    let faults = check_policies(pool);
    let [fault] = &faults[..] else { panic!("expected {expected:?} alone, found {faults:#?}") };
    assert!(fault.starts_with(&format!("{FILE}: mainstay.sample.v1.{name}: ")), "{fault}");
    for part in expected {
        assert!(fault.contains(part), "{part:?} is not in {fault:?}");
    }
    let error = PolicyTable::compile(pool).unwrap_err().to_string();
    assert!(error.contains(fault), "loading refuses what building refuses: {error}");
}

#[test]
fn a_sound_method_passes() {
    let pool = method(
        r#"option idempotency_level = IDEMPOTENT;
        option (google.api.http) = {
            put: "/v1/{id}/inner/{inner.name}" body: "inner" response_body: "text"
            additional_bindings { post: "/v1/{id=things/*}:run" body: "*" }
            additional_bindings { get: "/v1/{maybe=files/**}" }
            additional_bindings { custom: { kind: "HEAD" path: "/v1/{count}" } }
        };
        option (mainstay.policy.v1.method) = {
            permission: "sample.things.update" resource: "things/{id}/{inner.name}" owner: "maybe"
            rate_class: "write" deadline: { seconds: 5 } callers: "gateway" callers: "a-b1-svc"
            audit: AUDIT_REQUEST request_headers: "if-match"
        };"#,
    );
    let faults = check_policies(&pool);
    assert_eq!(faults.len(), 1, "{faults:#?}");
    assert!(faults[0].contains("GET that does not state"), "all but the GET passes: {faults:#?}");
}

#[test]
fn methods_without_access_are_refused() {
    assert_refused(&method(READS), "Sample.Do", &["states no policy; add `option"]);
    assert_refused(&policy("rate_class: 'x'"), "Sample.Do", &["states no access; state one of"]);
    assert_refused(&policy("authenticated: false"), "Sample.Do", &["`authenticated: false`"]);
    for permission in ["", "a.b", "a.b.c.d", "A.b.c", "a..c", "a.b.*", "a b.c.d", "1a.b.c"] {
        let pool = policy(&format!("permission: '{permission}'"));
        assert_refused(&pool, "Sample.Do", &["area.resource.verb", permission]);
    }
}

#[test]
fn access_and_route_must_fit() {
    assert_refused(&policy("public: true"), "Sample.Do", &["is public and has no route", "add"]);
    assert_refused(&policy("webhook: true"), "Sample.Do", &["is webhook and has no route"]);
    assert_refused(&policy("internal: true"), "Sample.Do", &["names no callers", "`callers`"]);
    let routed = format!(
        "{READS} option (google.api.http) = {{ get: '/v1/{{id}}' }};
        option (mainstay.policy.v1.method) = {{ internal: true callers: '*' }};"
    );
    assert_refused(&method(&routed), "Sample.Do", &["is internal and has a route; remove"]);
}

#[test]
fn a_stream_states_how_it_is_taken_up_again_by_fields_that_are_there() {
    let streamed = |kinds: &str, policy: &str| {
        let (takes, returns) = kinds.split_once(' ').unwrap();
        compile(&format!(
            "service Sample {{ rpc Do({takes} Request) returns ({returns} Reply) {{ {READS}
            option (mainstay.policy.v1.method) = {{ internal: true callers: '*' {policy} }}; }} }} \
            {MESSAGES}"
        ))
    };
    let sound = streamed(" stream", "deadline: { seconds: 3600 }");
    assert_eq!(check_policies(&sound), Vec::<String>::new(), "streams may last");
    for kinds in [" ", "stream stream", "stream "] {
        let stated = streamed(kinds, "stream: { resume_field: 'id' id_field: 'id' }");
        assert_refused(&stated, "Sample.Do", &["states `stream`", "leave it out"]);
    }
    for (option, other) in
        [("resume_field", "id_field: 'text'"), ("id_field", "resume_field: 'id'")]
    {
        for field in ["", "none", "a.b"] {
            let stated = streamed(" stream", &format!("stream: {{ {option}: '{field}' {other} }}"));
            assert_refused(&stated, "Sample.Do", &[option, "name a string field"]);
        }
    }
}

#[test]
fn headers_of_replies_are_in_lower_case_and_not_the_platforms() {
    for header in
        ["", "X-Total", "content-type", "connection", "grpc-status", "access-control-max-age"]
    {
        let stated = policy(&format!("authenticated: true response_headers: '{header}'"));
        assert_refused(&stated, "Sample.Do", &["the response header", header]);
    }
}

#[test]
fn methods_that_change_something_must_say_how_often_and_whether_it_is_recorded() {
    let change = |policy: &str| {
        method(&format!(
            "option (google.api.http) = {{ post: '/v1' body: '*' }};
            option (mainstay.policy.v1.method) = {{ {policy} }};"
        ))
    };
    assert_refused(
        &change("public: true audit: AUDIT_CALL"),
        "Sample.Do",
        &["no rate class", "state `rate_class`"],
    );
    assert_refused(
        &change("public: true rate_class: 'write'"),
        "Sample.Do",
        &["no choice about audit", "AUDIT_NONE", "NO_SIDE_EFFECTS"],
    );
    assert_eq!(check_policies(&change("public: true rate_class: 'w' audit: AUDIT_NONE")).len(), 0);
}

#[test]
fn only_what_changes_nothing_is_reused_and_only_what_is_public_is_shared() {
    let cached = |access: &str, cache: &str| {
        method(&format!(
            "{READS} option (google.api.http) = {{ get: '/v1/{{id}}' }};
            option (mainstay.policy.v1.method) = {{ {access} cache: {{ {cache} }} }};"
        ))
    };
    let minute = "max_age: { seconds: 60 }";
    assert_eq!(check_policies(&cached("authenticated: true", minute)).len(), 0);
    let shared = format!("{minute} shared: true");
    assert_eq!(check_policies(&cached("public: true", &shared)).len(), 0);
    assert_refused(
        &cached("authenticated: true", &shared),
        "Sample.Do",
        &["what is one caller's own", "leave `shared` out"],
    );
    for age in ["", "max_age: {}", "max_age: { nanos: 5 }", "max_age: { seconds: -1 }"] {
        assert_refused(&cached("public: true", age), "Sample.Do", &["max_age", "seconds: 60"]);
    }
    let change = format!(
        "option (google.api.http) = {{ post: '/v1' body: '*' }};
        option (mainstay.policy.v1.method) = {{
            public: true rate_class: 'w' audit: AUDIT_NONE cache: {{ {minute} }}
        }};"
    );
    assert_refused(&method(&change), "Sample.Do", &["no reply may be reused", "NO_SIDE_EFFECTS"]);
}

#[test]
fn resources_and_owners_must_be_string_fields_of_the_request() {
    let templates = [
        ("x/{nothing}", "has no field \"nothing\" (it has id, count"),
        ("x/{count}", "the field count is no string"),
        ("x/{tags}", "the field tags is repeated"),
        ("x/{left}", "one of several alternatives"),
        ("x/{inner}", "the field inner is no string"),
        ("x/{inner.nothing}", "has no field \"nothing\""),
        ("x/{id.name}", "the field id holds no fields"),
        ("x/{id", "braces do not match"),
        ("x/id}", "braces do not match"),
    ];
    for (template, expected) in templates {
        let pool = policy(&format!("permission: 'a.b.c' resource: '{template}'"));
        assert_refused(&pool, "Sample.Do", &["the resource", expected, "name string fields"]);
    }
    let pool = policy("permission: 'a.b.c' owner: 'user_id'");
    assert_refused(&pool, "Sample.Do", &["the owner \"user_id\" cannot be found"]);
    let pool = policy("authenticated: true owner: 'id'");
    assert_refused(&pool, "Sample.Do", &["an owner but no permission"]);
}

#[test]
fn deadlines_callers_and_headers_must_be_sound() {
    let cases = [
        ("deadline: { seconds: 5 nanos: 1 }", "longer than the service's"),
        ("deadline: { seconds: 0 }", "not longer than 0 s"),
        ("callers: 'mallory'", "the caller \"mallory\" is no service"),
        ("callers: '-svc'", "is no service"),
        ("callers: 'A-svc'", "is no service"),
        ("callers: 'identity_svc'", "is no service"),
        ("request_headers: 'If-Match'", "no header name in lower case"),
        ("request_headers: 'x_user_id'", "no header name in lower case"),
        ("request_headers: 'x-user-id'", "is set by the platform"),
        ("request_headers: 'authorization'", "is set by the platform"),
        ("request_headers: 'grpc-timeout'", "is set by the platform"),
    ];
    for (stated, expected) in cases {
        let pool = policy(&format!("authenticated: true {stated}"));
        assert_refused(&pool, "Sample.Do", &[expected, "; "]);
    }
}

#[test]
fn routes_must_parse_and_bind_fields_that_exist() {
    let cases = [
        ("get: 'v1'", "does not parse: it does not begin with /"),
        ("get: '/v1//x'", "does not parse: '/' is not expected"),
        ("get: '/v1/'", "a segment is empty"),
        ("get: '/v1/{id'", "a brace is not closed"),
        ("get: '/v1/{id=a/{maybe}}'", "a variable is inside another"),
        ("get: '/v1/{id}/{id}'", "id is bound twice"),
        ("get: '/v1/{i-d}'", "is no field path"),
        ("get: '/v1/**/x'", "** must be the last segment"),
        ("get: '/v1/a b'", "\" b\" is not expected"),
        ("get: '/v1?x=y'", "\"?x=y\" is not expected"),
        ("get: '/v1/{name}'", "has no field \"name\""),
        ("get: '/v1/{tags}'", "the field tags is repeated"),
        ("get: '/v1/{inner}'", "the field inner is a message"),
        ("get: '/v1' body: '*'", "is a GET with a body"),
        ("post: '/v1' body: 'user'", "the body names the unknown field \"user\""),
        ("get: '/v1' response_body: 'user'", "response_body names the unknown field"),
        ("body: '*'", "the route states no path"),
        (
            "get: '/v1' additional_bindings { get: '/v2' additional_bindings { get: '/v3' } }",
            "are nested",
        ),
        ("get: '/v1/{id}' additional_bindings { get: '/v1/{maybe}' }", "is that of mainstay"),
    ];
    for (stated, expected) in cases {
        assert_refused(&route(stated), "Sample.Do", &[expected]);
    }
}

#[test]
fn routes_are_unique_in_all_contracts() {
    let rpc = |name: &str, path: &str| {
        format!(
            "rpc {name}(Request) returns (Reply) {{ {READS}
            option (google.api.http) = {{ get: '{path}' }};
            option (mainstay.policy.v1.method) = {{ authenticated: true }}; }}"
        )
    };
    let pool = |first: &str, second: &str| {
        let (first, second) = (rpc("One", first), rpc("Two", second));
        compile(&format!("service Sample {{ {first} }} service Other {{ {second} }} {MESSAGES}"))
    };
    assert_refused(
        &pool("/v1/{id}", "/v1/{maybe}"),
        "Other.Two",
        &["the route GET /v1/* is that of mainstay.sample.v1.Sample.One too"],
    );
    assert_eq!(check_policies(&pool("/v1/{id}", "/v1/me")).len(), 0, "a literal is more exact");
}

#[test]
fn of_a_contract_that_is_newer_what_is_understood_holds() {
    let rpc = |name: &str, kind: &str, policy: &str| {
        format!("rpc {name}({kind}) returns (Reply) {{ {READS} {policy} }}")
    };
    let stated = "option (mainstay.policy.v1.method) = { authenticated: true };";
    let pool = compile(&format!(
        "service Sample {{ {} {} {} }} {MESSAGES}
        message Outer {{ repeated Odd odd = 1; }}
        message Odd {{ string id = 1 [(buf.validate.field).int32.gt = 1]; }}",
        rpc("Old", "Request", stated),
        rpc("New", "Request", "option (mainstay.policy.v1.method) = { rate_class: 'x' };"),
        rpc("Deep", "Outer", stated),
    ));
    PolicyTable::compile(&pool).unwrap_err();
    let table = PolicyTable::compile_sound(&pool).unwrap();
    let names: Vec<_> = table.methods().map(|method| method.full_name.as_str()).collect();
    assert_eq!(names, ["mainstay.sample.v1.Sample/Old"]);
    for (name, expected) in [("New", "states no access"), ("Deep", "Odd.id: states rules of")] {
        let why = table.why_unsound(&format!("/mainstay.sample.v1.Sample/{name}")).unwrap();
        assert!(why.contains(expected), "{why}");
    }
    assert_eq!(table.why_unsound("/mainstay.sample.v1.Sample/Old"), None);
    assert_eq!(table.why_unsound("/mainstay.sample.v1.Sample/None"), None);
}

#[test]
fn events_of_one_topic_agree_on_it() {
    let events = |first: &str, second: &str| {
        let event = |name: &str, option: &str| {
            format!(
                "message {name} {{ option (mainstay.policy.v1.event) =
                    {{ topic: 'a.b' key: 'id' {option} }}; string id = 1; }}"
            )
        };
        compile(&(event("First", first) + &event("Second", second)))
    };
    let cases = [
        ("partitions: 3", "partitions: 4", "states partitions 4 of the topic a.b, of which"),
        ("retention: { seconds: 1 }", "retention: { seconds: 2 }", "states retention 2000000000"),
        ("", "partitions: 1001", "at most 1000 partitions"),
        ("", "retention: {}", "state a retention above 0"),
        ("", "compacted: true", "would lose this event to a later mainstay.sample.v1.First"),
    ];
    for (first, second, expected) in cases {
        assert_refused(&events(first, second), "Second", &[expected]);
    }
    for (first, second) in [
        ("partitions: 3", "retention: { seconds: 1 }"),
        ("partitions: 3 retention: { nanos: 1 }", "partitions: 3 retention: { nanos: 1 }"),
    ] {
        assert_eq!(check_policies(&events(first, second)), [""; 0]);
    }
}

#[test]
fn events_have_a_topic_a_key_and_no_secrets() {
    let event = |option: &str, more: &str| {
        compile(&format!(
            "message Happened {{ option (mainstay.policy.v1.event) = {{ {option} }};
            string id = 1; int32 count = 2; {more} }}
            message Account {{ string password = 1 [(mainstay.policy.v1.field).secret = true]; }}"
        ))
    };
    let cases = [
        ("key: 'id'", "", "the event's topic is \"\""),
        ("topic: 'Users' key: 'id'", "", "the event's topic is \"Users\""),
        ("topic: 'a.b'", "", "the event has no key"),
        ("topic: 'a.b' key: 'user_id'", "", "has no field \"user_id\""),
        ("topic: 'a.b' key: 'count'", "", "the field count is no string"),
        (
            "topic: 'a.b' key: 'id'",
            "string token = 3 [(mainstay.policy.v1.field).secret = true];",
            "holds the secret Happened.token",
        ),
        (
            "topic: 'a.b' key: 'id'",
            "map<string, Account> accounts = 3;",
            "holds the secret Happened.accounts.value.password",
        ),
    ];
    for (option, more, expected) in cases {
        assert_refused(&event(option, more), "Happened", &[expected]);
    }
    assert!(check_policies(&event("topic: 'a.b' key: 'id'", "Happened before = 4;")).is_empty());
}

#[test]
fn validation_rules_must_be_known_and_fit_the_field() {
    let field = |field: &str| compile(&format!("message Sample {{ {field} }} message Inner {{}}"));
    let cases = [
        ("int32 x = 1 [(buf.validate.field).string.min_len = 1];", "`string`", "`int32`"),
        ("string x = 1 [(buf.validate.field).int32.gt = 1];", "`int32`", "`string`"),
        ("repeated string x = 1 [(buf.validate.field).string.min_len = 1];", "", "`repeated`"),
        (
            "repeated string x = 1 [(buf.validate.field).repeated.items.int32.gt = 1];",
            "`int32`",
            "`string`",
        ),
        (
            "map<string, int32> x = 1 [(buf.validate.field).map.values.string.uuid = true];",
            "`string`",
            "`int32`",
        ),
        ("map<string, int32> x = 1 [(buf.validate.field).repeated.min_items = 1];", "", "`map`"),
        ("Inner x = 1 [(buf.validate.field).string.min_len = 1];", "`string`", "there are none"),
        ("sint32 x = 1 [(buf.validate.field).int32.gt = 1];", "`int32`", "there are none"),
    ];
    for (source, stated, expected) in cases {
        let faults = check_policies(&field(source));
        assert_eq!(faults.len(), 1, "{source}: {faults:#?}");
        let fault = &faults[0];
        assert!(fault.contains("mainstay.sample.v1.Sample.x: states rules of the type"), "{fault}");
        assert!(fault.contains(stated) && fault.contains(expected), "{fault}");
    }
}

#[test]
fn rules_that_are_not_known_here_are_refused() {
    // Rules from a fuller schema than ours: here their field numbers mean nothing.
    let unknown_rule = |rules: &[u8]| {
        let pool =
            compile("message Sample { string x = 1 [(buf.validate.field).required = true]; }");
        let known = b"\xc8\x01\x01";
        let mut bytes = pool.encode_to_vec();
        let option = [&[0xba, 0x48, known.len() as u8][..], known].concat();
        assert_eq!(rules.len(), known.len(), "replaced byte by byte");
        let replaced = [&[0xba, 0x48, rules.len() as u8][..], rules].concat();
        let at = bytes.windows(option.len()).position(|window| window == option).unwrap();
        bytes[at..at + option.len()].copy_from_slice(&replaced);
        let set: FileDescriptorSet = prost::Message::decode(bytes.as_slice()).unwrap();
        assert!(!set.file.is_empty());
        check_policies(&DescriptorPool::decode(bytes.as_slice()).unwrap())
    };
    assert!(unknown_rule(b"\xc8\x01\x00").is_empty(), "required = false is known");
    // Field 23, a CEL rule, and an `ignore` that our schema does not define.
    for rules in [b"\xba\x01\x00", b"\xd8\x01\x02"] {
        let faults = unknown_rule(rules);
        assert_eq!(faults.len(), 1, "{rules:?}: {faults:?}");
        assert!(faults[0].contains("not known here and would not be enforced"), "{faults:?}");
    }
}

#[test]
fn every_element_has_a_comment() {
    let pool = compile(
        "message Bare { string field = 1;\n // Documented.\n string documented = 2;
        message Inner {} }
        enum Kind { KIND_UNSPECIFIED = 0; }
        service Sample { rpc Do(Bare) returns (Bare) { option idempotency_level = NO_SIDE_EFFECTS;
            option (mainstay.policy.v1.method) = { authenticated: true }; } }",
    );
    let faults = check::check_contracts(&pool);
    let names =
        ["Bare", "Bare.field", "Bare.Inner", "Kind", "KIND_UNSPECIFIED", "Sample", "Sample.Do"];
    for name in names {
        let expected = format!("{FILE}: mainstay.sample.v1.{name}: has no comment");
        assert!(
            faults.iter().any(|fault| fault.to_string().starts_with(&expected)),
            "{name}: {faults:#?}"
        );
    }
    assert_eq!(faults.len(), names.len(), "{faults:#?}");
    assert!(check_policies(&pool).is_empty(), "comments are a matter of the build alone");
}
