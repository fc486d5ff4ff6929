//! The one shape of every refusal at the edge: `{"error":{"code","message","request_id","details"}}`.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER, SEC_WEBSOCKET_VERSION, UPGRADE,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use mainstay::kernel::channel::NotSent;
use mainstay::kernel::error::{
    ERROR_DOMAIN, Error, ErrorClass, ErrorCode, FieldViolation, INTERNAL, PAYLOAD_TOO_LARGE,
    UNAVAILABLE, UNIMPLEMENTED,
};
use serde::Serialize;
use serde_json::{Value as Json, json};
use tonic::{Code, Status};

use crate::transcode::binding::Binding;

/// The path is there, the method is not; the header `Allow` lists those that are.
pub(crate) const METHOD_NOT_ALLOWED: ErrorCode =
    ErrorCode::with_http("METHOD_NOT_ALLOWED", Code::Unimplemented, 405);
/// The body is of a media type that the call does not take.
pub(crate) const UNSUPPORTED_MEDIA_TYPE: ErrorCode =
    ErrorCode::with_http("UNSUPPORTED_MEDIA_TYPE", Code::InvalidArgument, 415);
/// The body is no JSON.
pub(crate) const MALFORMED_JSON: ErrorCode =
    ErrorCode::new("MALFORMED_JSON", Code::InvalidArgument);
/// The cursor was not issued by us for this very list and caller.
pub(crate) const INVALID_CURSOR: ErrorCode =
    ErrorCode::new("INVALID_CURSOR", Code::InvalidArgument);
/// The address is longer than is read.
pub(crate) const URI_TOO_LONG: ErrorCode =
    ErrorCode::with_http("URI_TOO_LONG", Code::InvalidArgument, 414);
/// The body did not arrive in time.
pub(crate) const REQUEST_TIMEOUT: ErrorCode =
    ErrorCode::with_http("REQUEST_TIMEOUT", Code::DeadlineExceeded, 408);

/// The path is for another protocol than was spoken.
pub(crate) const UPGRADE_REQUIRED: ErrorCode =
    ErrorCode::with_http("UPGRADE_REQUIRED", Code::FailedPrecondition, 426);

/// Key of [`Error::details`] under which a 405 carries the methods that are allowed.
pub(crate) const ALLOW_DETAIL: &str = "allow";

/// Renders a refusal.
pub(crate) fn response(error: &Error, request_id: &str) -> Response {
    log_fault(error);
    let refused = Refused::new(error, request_id);
    let mut response = Response::new(Body::from(refused.json().to_string()));
    *response.status_mut() = status(error);
    *response.headers_mut() = error.headers().clone();
    response.headers_mut().extend(headers(error));
    response.extensions_mut().insert(refused);
    response
}

/// The HTTP status of an error.
pub(crate) fn status(error: &Error) -> StatusCode {
    StatusCode::from_u16(error.code().http).unwrap_or(StatusCode::BAD_GATEWAY)
}

/// What a refusal says, kept beside the response for the access log and for problem details.
#[derive(Clone, Debug)]
pub(crate) struct Refused(Arc<Refusal>);

#[derive(Debug, Serialize)]
struct Refusal {
    #[serde(skip)]
    row: ErrorCode,
    #[serde(skip)]
    retry_after: Option<Duration>,
    code: String,
    message: String,
    /// Who gave the code, where that is not the platform.
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<String>,
    request_id: String,
    details: Vec<Json>,
}

impl Refused {
    /// What an error says in reply to a request.
    pub(crate) fn new(error: &Error, request_id: &str) -> Self {
        Self(Arc::new(Refusal {
            row: error.code().clone(),
            retry_after: error.retry_after_hint(),
            code: error.code().reason.to_string(),
            message: error.message().to_owned(),
            domain: domain(error),
            request_id: request_id.to_owned(),
            details: details(error),
        }))
    }

    /// The error again, without its details, for another protocol.
    pub(crate) fn error(&self) -> Error {
        let error = Error::new(self.0.row.clone(), &self.0.message);
        match self.0.retry_after {
            Some(after) => error.retry_after(after),
            None => error,
        }
    }

    /// The request that was refused.
    pub(crate) fn request_id(&self) -> &str {
        &self.0.request_id
    }

    /// `{"error": …}`
    pub(crate) fn json(&self) -> Json {
        json!({ "error": &*self.0 })
    }

    /// The row of the table of error codes.
    pub(crate) fn code(&self) -> &str {
        &self.0.code
    }

    /// As problem details. What the status alone says is the problem's type; ours is in `code`
    /// (RFC 9457, sections 3.2 and 4.2.1).
    pub(crate) fn problem(&self, status: StatusCode) -> Json {
        let Refusal { code, message, domain, request_id, details, .. } = &*self.0;
        let mut problem = json!({
            "type": "about:blank",
            "title": status.canonical_reason().unwrap_or("Error"),
            "status": status.as_u16(),
            "detail": message,
            "code": code,
            "request_id": request_id,
            "details": details,
        });
        if let Some(domain) = domain {
            problem["domain"] = domain.as_str().into();
        }
        problem
    }
}

/// The code of a refusal in another protocol than REST, for the access log.
#[derive(Clone, Debug)]
pub(crate) struct RefusedCode {
    reason: String,
    class: Option<ErrorClass>,
}

impl RefusedCode {
    /// That of an error.
    pub(crate) fn of(error: &Error) -> Self {
        Self { reason: error.code().reason.to_string(), class: error.class() }
    }

    /// Whose fault it is.
    pub(crate) fn class(&self) -> Option<ErrorClass> {
        self.class
    }

    /// The row of the table of error codes.
    pub(crate) fn as_str(&self) -> &str {
        &self.reason
    }
}

/// What a service's status means for a caller: fields by the names the caller knows, and
/// nothing of what the network or a library says about itself.
pub(crate) fn from_upstream(status: &Status, service: &str, binding: Option<&Binding>) -> Error {
    let upstream = Error::from_status(status);
    // What a proxy or a library says has no details.
    let stated = !status.details().is_empty();
    let message = match status.code() {
        Code::Internal | Code::Unknown | Code::DataLoss => "internal error".to_owned(),
        Code::Unavailable if !stated => format!("{service} is away"),
        Code::DeadlineExceeded if !stated => format!("{service} did not answer in time"),
        _ => caller_message(upstream.message(), &upstream, binding),
    };
    let error = upstream.reworded(message, |field| caller_name(binding, field));
    match (error.retry_after_hint(), status.code()) {
        (None, Code::Unavailable) => {
            error.retry_after(Error::unavailable("").retry_after_hint().unwrap_or_default())
        }
        _ => error,
    }
    .because(cause(status, service))
}

/// The cause, for our log; it is [`NotSent`] where the service never saw the call.
fn cause(status: &Status, service: &str) -> anyhow::Error {
    let what = format!("{service} answered {:?}: {}", status.code(), status.message());
    match NotSent::caused(status) {
        true => anyhow::Error::new(NotSent).context(what),
        false => anyhow::Error::msg(what),
    }
}

/// The same error with its fields named as the REST caller knows them.
pub(crate) fn for_caller(error: Error, binding: Option<&Binding>) -> Error {
    if error.violations().is_empty() {
        return error;
    }
    let message = caller_message(error.message(), &error, binding);
    error.reworded(message, |field| caller_name(binding, field))
}

/// A message begins with the name of the first field at fault; that name is the caller's too.
fn caller_message(message: &str, error: &Error, binding: Option<&Binding>) -> String {
    error
        .violations()
        .first()
        .and_then(|first| {
            let rest = message.strip_prefix(&first.field)?;
            Some(format!("{}{rest}", caller_name(binding, &first.field)))
        })
        .unwrap_or_else(|| message.to_owned())
}

/// The name by which the caller knows a field; without a binding that of the contract.
fn caller_name(binding: Option<&Binding>, field: &str) -> String {
    binding.map_or_else(|| field.to_owned(), |binding| binding.caller_name(field))
}

fn domain(error: &Error) -> Option<String> {
    let stated = Some(error.domain()).filter(|domain| !["", ERROR_DOMAIN].contains(domain));
    stated.map(str::to_owned)
}

fn details(error: &Error) -> Vec<Json> {
    let fields = error.violations().iter().map(|violation| {
        let FieldViolation { field, description, reason } = violation;
        match reason.is_empty() {
            true => json!({ "field": field, "description": description }),
            false => json!({ "field": field, "description": description, "reason": reason }),
        }
    });
    let quotas = error
        .quotas()
        .iter()
        .map(|quota| json!({ "subject": quota.subject, "description": quota.description }));
    let mut details: Vec<Json> = fields.chain(quotas).collect();
    if !error.details().is_empty() {
        details.push(json!(error.details()));
    }
    details
}

fn headers(error: &Error) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let allow = error.details().get(ALLOW_DETAIL).filter(|_| error.code().http == 405);
    if let Some(allow) = allow.and_then(|allow| HeaderValue::from_str(allow).ok()) {
        headers.insert(ALLOW, allow);
    }
    if let Some(after) = error.retry_after_hint() {
        headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(after)));
    } else if error.code().http == UNAVAILABLE.http {
        headers.insert(RETRY_AFTER, HeaderValue::from(1));
    }
    // The body was not read to its end: the connection cannot carry another request, and a client
    // that is not told would lose its next one (RFC 9110, sections 15.5.9 and 15.5.14).
    if [REQUEST_TIMEOUT.http, PAYLOAD_TOO_LARGE.http].contains(&error.code().http) {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if error.code().http == UPGRADE_REQUIRED.http {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    }
    if error.code().http == StatusCode::UNAUTHORIZED.as_u16() {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    headers
}

/// `Retry-After` counts in whole seconds; one that is too early would only be refused again.
pub(crate) fn whole_seconds(duration: std::time::Duration) -> u64 {
    let round_up = u64::from(duration.subsec_nanos() > 0);
    (duration.as_secs() + round_up).max(1)
}

/// Our faults are logged here, once, with their causes.
pub(crate) fn log_fault(error: &Error) {
    if error.code().http < 500 || error.class() == Some(ErrorClass::Panic) {
        return;
    }
    // What the gateway itself does not serve is asked for in error; a service states a cause.
    if error.is(&UNIMPLEMENTED) && error.cause().is_none() {
        return;
    }
    let cause = error.cause().map(|cause| format!("{cause:#}"));
    // Without a cause it is a service that has failed, and has said so in its own log.
    if error.is(&INTERNAL) && cause.is_some() {
        tracing::error!(cause, "a request failed for an internal reason");
    } else {
        tracing::warn!(code = %error.code().reason, cause, "a request failed for no fault of its own");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use mainstay::kernel::error::{DEADLINE_EXCEEDED, NOT_FOUND};
    use tonic_types::{ErrorDetails, StatusExt as _};

    use super::*;

    #[test]
    fn what_a_server_says_of_its_absence_is_handed_on_and_what_a_network_says_is_not() {
        let read = |status: Status| from_upstream(&status, "shelf-svc", None);
        for (code, row) in
            [(Code::Unavailable, UNAVAILABLE), (Code::DeadlineExceeded, DEADLINE_EXCEEDED)]
        {
            let details = ErrorDetails::with_retry_info(Some(Duration::from_secs(7)));
            let said = read(Status::with_error_details(code, "closed for lunch", details));
            assert!(said.is(&row));
            assert_eq!(said.message(), "closed for lunch");
            assert_eq!(said.retry_after_hint(), Some(Duration::from_secs(7)));
            let found = read(Status::new(code, "connect to 10.0.0.7 failed"));
            assert!(found.is(&row) && found.message().starts_with("shelf-svc "), "{found}");
        }
    }

    #[test]
    fn of_a_fault_nothing_is_told_but_its_code() {
        for code in [Code::Unknown, Code::Internal, Code::DataLoss] {
            let error = from_upstream(&Status::new(code, "row 7 is torn"), "shelf-svc", None);
            assert_eq!((error.code().grpc, error.message()), (code, "internal error"));
        }
    }

    #[test]
    fn who_gave_a_code_is_told_where_that_is_another() {
        let mut details = ErrorDetails::new();
        let violation = tonic_types::FieldViolation {
            reason: "LENT".to_owned(),
            ..tonic_types::FieldViolation::new("book_id", "is lent")
        };
        details.set_error_info("LENT", "library.example", HashMap::<String, String>::new());
        details.set_bad_request(vec![violation]);
        let status = Status::with_error_details(Code::InvalidArgument, "lent", details);
        let refused = Refused::new(&from_upstream(&status, "shelf-svc", None), "r1");
        assert_eq!(refused.json()["error"]["domain"], "library.example");
        assert_eq!(refused.problem(StatusCode::BAD_REQUEST)["domain"], "library.example");
        let field = json!({ "field": "book_id", "description": "is lent", "reason": "LENT" });
        assert_eq!(refused.json()["error"]["details"][0], field);
        let own = Refused::new(&Error::new(NOT_FOUND, "none"), "r1");
        assert!(own.json()["error"].get("domain").is_none(), "{}", own.json());
    }
}
