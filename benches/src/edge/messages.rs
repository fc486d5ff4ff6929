//! The messages of `edge.v1`, written by hand: what the backend reads and answers must not depend on
//! the code that is measured.

/// `edge.v1.GetUserRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct GetUserRequest {
    #[prost(string, tag = "1")]
    pub(super) user_id: String,
    #[prost(string, tag = "2")]
    pub(super) language: String,
    #[prost(int32, tag = "3")]
    pub(super) depth: i32,
    #[prost(string, repeated, tag = "4")]
    pub(super) fields: Vec<String>,
}

/// `edge.v1.User`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct User {
    #[prost(string, tag = "1")]
    pub(super) user_id: String,
    #[prost(string, tag = "2")]
    pub(super) email: String,
    #[prost(string, tag = "3")]
    pub(super) display_name: String,
    #[prost(int32, tag = "4")]
    pub(super) status: i32,
    #[prost(int64, tag = "5")]
    pub(super) balance_cents: i64,
    #[prost(double, tag = "6")]
    pub(super) score: f64,
    #[prost(bool, tag = "7")]
    pub(super) verified: bool,
    #[prost(string, repeated, tag = "8")]
    pub(super) roles: Vec<String>,
    #[prost(message, optional, tag = "9")]
    pub(super) create_time: Option<prost_types::Timestamp>,
    #[prost(message, optional, tag = "10")]
    pub(super) address: Option<Address>,
}

/// `edge.v1.Address`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Address {
    #[prost(string, tag = "1")]
    pub(super) street: String,
    #[prost(string, tag = "2")]
    pub(super) city: String,
    #[prost(string, tag = "3")]
    pub(super) country: String,
}

/// `edge.v1.Node`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Node {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(int32, tag = "2")]
    pub(super) weight: i32,
    #[prost(message, repeated, tag = "3")]
    pub(super) children: Vec<Node>,
    #[prost(int64, repeated, tag = "4")]
    pub(super) marks: Vec<i64>,
}

/// `edge.v1.TreeReply`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct TreeReply {
    #[prost(int32, tag = "1")]
    pub(super) nodes: i32,
}

/// `edge.v1.ListUsersRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ListUsersRequest {
    #[prost(int32, tag = "1")]
    pub(super) page_size: i32,
}

/// `edge.v1.ListUsersResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ListUsersResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) users: Vec<User>,
}
