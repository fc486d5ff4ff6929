//! Headers that a method takes and gives.

use prost_reflect::DynamicMessage;

use super::options::texts;

/// Headers that say who calls, or that the platform sets itself: never to be taken from outside.
const RESERVED_REQUEST: [&str; 7] = [
    "authorization",
    "cookie",
    "traceparent",
    "tracestate",
    "x-api-key",
    "x-request-id",
    "x-session-id",
];

/// Beginnings of such headers.
const RESERVED_REQUEST_PREFIXES: [&str; 3] = ["grpc-", "x-user-", "x-forwarded-"];

/// Headers of a reply that belong to the connection, or that the gateway sets itself.
const RESERVED_REPLY: [&str; 17] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "keep-alive",
    "proxy-authenticate",
    "retry-after",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "www-authenticate",
    "x-content-type-options",
    "x-request-id",
    "traceparent",
    "tracestate",
];

/// Beginnings of such headers.
const RESERVED_REPLY_PREFIXES: [&str; 5] =
    ["grpc-", "access-control-", "ratelimit", "connect-", "x-user-"];

pub(super) fn check(policy: &DynamicMessage, faults: &mut Vec<String>) {
    let is_reserved = |header: &str| {
        RESERVED_REQUEST.contains(&header)
            || RESERVED_REQUEST_PREFIXES.iter().any(|prefix| header.starts_with(prefix))
    };
    check_each(policy, ("request_headers", "request", "if-match"), is_reserved, faults);
    let is_reserved = |header: &str| {
        RESERVED_REPLY.contains(&header)
            || RESERVED_REPLY_PREFIXES.iter().any(|prefix| header.starts_with(prefix))
    };
    check_each(policy, ("response_headers", "response", "x-total-size"), is_reserved, faults);
}

fn check_each(
    policy: &DynamicMessage,
    (option, kind, example): (&str, &str, &str),
    is_reserved: impl Fn(&str) -> bool,
    faults: &mut Vec<String>,
) {
    for header in texts(policy, option) {
        let is_name = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        if header.is_empty() || !header.bytes().all(is_name) {
            faults.push(format!(
                "the {kind} header {header:?} is no header name in lower case; write it such as \
                 {example:?}"
            ));
        } else if is_reserved(&header) {
            faults.push(format!(
                "the {kind} header {header:?} is set by the platform and cannot be handed on; \
                 leave it out"
            ));
        }
    }
}
