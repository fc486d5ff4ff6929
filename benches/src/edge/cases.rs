//! What is called, and what must come of it.

use prost::Message as _;
use serde_json::{Value as Json, json};

use super::messages::{
    Address, GetUserRequest, ListUsersRequest, ListUsersResponse, Node, TreeReply, User,
};

/// How many users a list and a stream have.
pub(super) const USERS: i32 = 1000;

/// One kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Case {
    /// GET with path and query.
    Get,
    /// POST of 400 bytes.
    Create,
    /// POST of 20 KB, nested.
    Tree,
    /// A reply of 1,000 items.
    List,
    /// A stream of 1,000 messages.
    Stream,
}

impl Case {
    pub(super) const ALL: [Self; 5] =
        [Self::Get, Self::Create, Self::Tree, Self::List, Self::Stream];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Create => "create",
            Self::Tree => "tree",
            Self::List => "list",
            Self::Stream => "stream",
        }
    }

    pub(super) fn grpc_path(self) -> &'static str {
        match self {
            Self::Get => "/edge.v1.EdgeService/GetUser",
            Self::Create => "/edge.v1.EdgeService/CreateUser",
            Self::Tree => "/edge.v1.EdgeService/PutTree",
            Self::List => "/edge.v1.EdgeService/ListUsers",
            Self::Stream => "/edge.v1.EdgeService/StreamUsers",
        }
    }

    /// Method, target and body of the REST call.
    pub(super) fn rest(self) -> (&'static str, String, Vec<u8>) {
        match self {
            Self::Get => {
                let target = "/v1/users/u-17?language=de&depth=3&fields=email&fields=roles";
                ("GET", target.to_owned(), Vec::new())
            }
            Self::Create => ("POST", "/v1/users".to_owned(), user_json(17).to_string().into()),
            Self::Tree => ("POST", "/v1/trees".to_owned(), node_json(&tree()).to_string().into()),
            Self::List => ("GET", format!("/v1/users?page_size={USERS}"), Vec::new()),
            Self::Stream => ("GET", format!("/v1/users:stream?page_size={USERS}"), Vec::new()),
        }
    }

    /// The request message, encoded.
    pub(super) fn request(self) -> Vec<u8> {
        match self {
            Self::Get => GetUserRequest {
                user_id: "u-17".to_owned(),
                language: "de".to_owned(),
                depth: 3,
                fields: vec!["email".to_owned(), "roles".to_owned()],
            }
            .encode_to_vec(),
            Self::Create => user(17).encode_to_vec(),
            Self::Tree => tree().encode_to_vec(),
            Self::List | Self::Stream => ListUsersRequest { page_size: USERS }.encode_to_vec(),
        }
    }

    /// Whether bytes are the request, in whichever order its fields come.
    pub(super) fn is_request(self, bytes: &[u8]) -> bool {
        fn same<M: prost::Message + Default + PartialEq>(one: &[u8], other: &[u8]) -> bool {
            M::decode(one).ok().zip(M::decode(other).ok()).is_some_and(|(one, other)| one == other)
        }
        let wanted = self.request();
        match self {
            Self::Get => same::<GetUserRequest>(bytes, &wanted),
            Self::Create => same::<User>(bytes, &wanted),
            Self::Tree => same::<Node>(bytes, &wanted),
            Self::List | Self::Stream => same::<ListUsersRequest>(bytes, &wanted),
        }
    }

    /// The reply's messages, encoded.
    pub(super) fn replies(self) -> Vec<Vec<u8>> {
        match self {
            Self::Get | Self::Create => vec![user(17).encode_to_vec()],
            Self::Tree => vec![TreeReply { nodes: count(&tree()) }.encode_to_vec()],
            Self::List => {
                vec![ListUsersResponse { users: (1..=USERS).map(user).collect() }.encode_to_vec()]
            }
            Self::Stream => (1..=USERS).map(|number| user(number).encode_to_vec()).collect(),
        }
    }

    /// Whether a REST reply says what it must, in whichever spelling of names and form of a stream.
    pub(super) fn is_reply(self, body: &[u8]) -> bool {
        match self {
            Self::Get | Self::Create => read(body) == [user_json(17)],
            Self::Tree => read(body) == [json!({ "nodes": count(&tree()) })],
            Self::List => read(body) == [json!({ "users": users_json() })],
            Self::Stream => {
                let items: Vec<Json> = match read(body).as_slice() {
                    [Json::Array(items)] => items.clone(),
                    lines => lines.to_vec(),
                };
                items.into_iter().map(unwrapped).collect::<Vec<_>>() == users_json()
            }
        }
    }
}

/// The JSON values of a text, names in lowerCamelCase; nothing if it is not JSON.
fn read(body: &[u8]) -> Vec<Json> {
    let values = serde_json::Deserializer::from_slice(body).into_iter::<Json>();
    values.collect::<Result<Vec<_>, _>>().unwrap_or_default().into_iter().map(camel).collect()
}

fn camel(value: Json) -> Json {
    match value {
        Json::Object(fields) => Json::Object(
            fields.into_iter().map(|(name, value)| (renamed(&name), camel(value))).collect(),
        ),
        Json::Array(items) => items.into_iter().map(camel).collect(),
        other => other,
    }
}

fn renamed(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |mut name, word| {
        let mut letters = word.chars();
        name.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        name.push_str(letters.as_str());
        name
    })
}

/// What a stream's item is within the wrapper that some give it.
fn unwrapped(item: Json) -> Json {
    match item {
        Json::Object(mut fields) if fields.len() == 1 && fields.contains_key("result") => {
            fields.remove("result").unwrap_or_default()
        }
        other => other,
    }
}

fn user(number: i32) -> User {
    User {
        user_id: format!("u-{number}"),
        email: format!("user{number}@example.com"),
        display_name: format!("Ada Lovelace the {number}th"),
        status: 1,
        balance_cents: 1_234_567_890_123 + i64::from(number),
        score: 0.5 + f64::from(number),
        verified: true,
        roles: ["member", "editor", "auditor"].map(str::to_owned).into(),
        create_time: Some(prost_types::Timestamp { seconds: 1_767_225_600, nanos: 0 }),
        address: Some(Address {
            street: "12 St James's Square".to_owned(),
            city: "London".to_owned(),
            country: "GB".to_owned(),
        }),
    }
}

fn user_json(number: i32) -> Json {
    let user = user(number);
    json!({
        "userId": user.user_id, "email": user.email, "displayName": user.display_name,
        "status": "STATUS_ACTIVE", "balanceCents": user.balance_cents.to_string(),
        "score": user.score, "verified": true, "roles": user.roles,
        "createTime": "2026-01-01T00:00:00Z",
        "address": { "street": "12 St James's Square", "city": "London", "country": "GB" },
    })
}

fn users_json() -> Vec<Json> {
    (1..=USERS).map(user_json).collect()
}

/// About 20 KB of JSON: five levels.
fn tree() -> Node {
    fn node(name: String, depth: i32) -> Node {
        let children = if depth == 0 { 0 } else { 3 };
        Node {
            children: (1..=children).map(|n| node(format!("{name}.{n}"), depth - 1)).collect(),
            weight: depth + 1,
            marks: vec![1_700_000_000_000 + i64::from(depth), 7],
            name,
        }
    }
    node("node".to_owned(), 5)
}

fn count(node: &Node) -> i32 {
    1 + node.children.iter().map(count).sum::<i32>()
}

fn node_json(node: &Node) -> Json {
    let marks: Vec<String> = node.marks.iter().map(i64::to_string).collect();
    let mut json = json!({ "name": node.name, "weight": node.weight, "marks": marks });
    if !node.children.is_empty() {
        json["children"] = node.children.iter().map(node_json).collect();
    }
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_as_large_as_they_are_said_to_be() {
        let size = |case: Case| case.rest().2.len();
        assert!((300..500).contains(&size(Case::Create)), "{}", size(Case::Create));
        assert!((18_000..26_000).contains(&size(Case::Tree)), "{}", size(Case::Tree));
        for case in Case::ALL {
            assert!(case.is_request(&case.request()), "{case:?}");
        }
    }

    #[test]
    fn either_spelling_and_each_form_of_a_stream_is_a_reply() {
        let snake = user_json(17).to_string().replace("userId", "user_id");
        assert!(Case::Get.is_reply(snake.as_bytes()));
        assert!(!Case::Get.is_reply(user_json(18).to_string().as_bytes()));
        let lines: String = users_json().iter().map(|user| format!("{user}\n")).collect();
        let wrapped: String =
            users_json().iter().map(|user| json!({ "result": user }).to_string()).collect();
        for body in [lines, wrapped, Json::from(users_json()).to_string()] {
            assert!(Case::Stream.is_reply(body.as_bytes()));
        }
        assert!(!Case::Stream.is_reply(b""));
    }
}
