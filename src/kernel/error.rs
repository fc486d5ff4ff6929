//! The one error type at boundaries.
//!
//! An [`Error`] carries two messages: one for the caller, which leaves the process, and one for us
//! (the source), which is logged once where the error is handled. Its [`ErrorCode`] ties together
//! the UPPER_SNAKE reason, the gRPC status and the HTTP status.

mod class;

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use prost::Message as _;
use prost_types::Any;
use tonic::{Code, Status};
use tonic_types::{
    BadRequest, DebugInfo, ErrorDetail, ErrorDetails, ErrorInfo, QuotaFailure, RetryInfo,
    StatusExt as _, pb,
};

pub use class::ErrorClass;

/// A kernel or service result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The `domain` of every `google.rpc.ErrorInfo` of the platform.
pub const ERROR_DOMAIN: &str = "mainstay";

/// Details that an [`Error`] has fields for, and the one that is for those who run the server alone.
const NOT_PASSED_ON: [&str; 5] = [
    ErrorInfo::TYPE_URL,
    BadRequest::TYPE_URL,
    QuotaFailure::TYPE_URL,
    RetryInfo::TYPE_URL,
    DebugInfo::TYPE_URL,
];

/// Key in `google.rpc.ErrorInfo.metadata` under which the HTTP status travels.
const HTTP_STATUS_KEY: &str = "http_status";

/// One row of the error-code table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorCode {
    /// UPPER_SNAKE name: `error.code` in REST, `ErrorInfo.reason` in gRPC.
    pub reason: Cow<'static, str>,
    /// The gRPC status.
    pub grpc: Code,
    /// The HTTP status.
    pub http: u16,
}

impl ErrorCode {
    /// A row of the table. The HTTP status follows from the gRPC status by `google.rpc.Code`.
    pub const fn new(reason: &'static str, grpc: Code) -> Self {
        Self { reason: Cow::Borrowed(reason), grpc, http: http_status(grpc) }
    }

    /// A row whose HTTP status is more exact than its gRPC status says.
    pub const fn with_http(reason: &'static str, grpc: Code, http: u16) -> Self {
        Self { reason: Cow::Borrowed(reason), grpc, http }
    }
}

/// A field of the request is not acceptable; violations name it.
pub const INVALID_ARGUMENT: ErrorCode = ErrorCode::new("INVALID_ARGUMENT", Code::InvalidArgument);
/// No such resource.
pub const NOT_FOUND: ErrorCode = ErrorCode::new("NOT_FOUND", Code::NotFound);
/// The resource is there already.
pub const ALREADY_EXISTS: ErrorCode = ErrorCode::new("ALREADY_EXISTS", Code::AlreadyExists);
/// No credentials, or none that hold.
pub const UNAUTHENTICATED: ErrorCode = ErrorCode::new("UNAUTHENTICATED", Code::Unauthenticated);
/// The caller is known and may not do this.
pub const PERMISSION_DENIED: ErrorCode =
    ErrorCode::new("PERMISSION_DENIED", Code::PermissionDenied);
/// The caller's plan does not include the feature.
pub const FEATURE_NOT_INCLUDED: ErrorCode =
    ErrorCode::with_http("FEATURE_NOT_INCLUDED", Code::PermissionDenied, 403);
/// The etag sent is not the current one.
pub const ETAG_MISMATCH: ErrorCode =
    ErrorCode::with_http("ETAG_MISMATCH", Code::FailedPrecondition, 412);
/// The request does not fit the state of the resource.
pub const FAILED_PRECONDITION: ErrorCode =
    ErrorCode::with_http("FAILED_PRECONDITION", Code::FailedPrecondition, 409);
/// Somebody else changed the same thing at the same time; the caller may try again.
pub const ABORTED: ErrorCode = ErrorCode::new("ABORTED", Code::Aborted);
/// Too many calls; `retry_after` says when to come back.
pub const RATE_LIMITED: ErrorCode = ErrorCode::new("RATE_LIMITED", Code::ResourceExhausted);
/// The request is larger than the method takes.
pub const PAYLOAD_TOO_LARGE: ErrorCode =
    ErrorCode::with_http("PAYLOAD_TOO_LARGE", Code::ResourceExhausted, 413);
/// A service that the call needs is away.
pub const UNAVAILABLE: ErrorCode = ErrorCode::new("UNAVAILABLE", Code::Unavailable);
/// The deadline passed.
pub const DEADLINE_EXCEEDED: ErrorCode =
    ErrorCode::new("DEADLINE_EXCEEDED", Code::DeadlineExceeded);
/// The method is not there.
pub const UNIMPLEMENTED: ErrorCode = ErrorCode::new("UNIMPLEMENTED", Code::Unimplemented);
/// Our fault.
pub const INTERNAL: ErrorCode = ErrorCode::new("INTERNAL", Code::Internal);

/// The HTTP status for a gRPC status, as `google/rpc/code.proto` states it.
pub const fn http_status(code: Code) -> u16 {
    match code {
        Code::Ok => 200,
        Code::Cancelled => 499,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => 400,
        Code::Unauthenticated => 401,
        Code::PermissionDenied => 403,
        Code::NotFound => 404,
        Code::AlreadyExists | Code::Aborted => 409,
        Code::ResourceExhausted => 429,
        Code::Unimplemented => 501,
        Code::Unavailable => 503,
        Code::DeadlineExceeded => 504,
        Code::Unknown | Code::Internal | Code::DataLoss => 500,
    }
}

/// What is wrong with one field of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldViolation {
    /// Path of the field as the contract names it, such as `user.display_name`.
    pub field: String,
    /// What is wrong with it, a lower-case fragment.
    pub description: String,
}

/// A limit that was reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaViolation {
    /// Whose limit, such as `project:atlas`; never personal data.
    pub subject: String,
    /// What was reached, a lower-case fragment.
    pub description: String,
}

/// A failed operation.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    code: ErrorCode,
    message: String,
    violations: Vec<FieldViolation>,
    quotas: Vec<QuotaViolation>,
    retry_after: Option<Duration>,
    /// Who gave the reason.
    domain: Cow<'static, str>,
    metadata: HashMap<String, String>,
    /// What another server said besides.
    others: Vec<Any>,
    source: Option<anyhow::Error>,
    /// It stands for a panic, which was logged and counted where it happened.
    panicked: bool,
}

impl Error {
    /// An error with a message for the caller: a lower-case fragment with no full stop.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            code,
            message: message.into(),
            violations: Vec::new(),
            quotas: Vec::new(),
            retry_after: None,
            domain: Cow::Borrowed(ERROR_DOMAIN),
            metadata: HashMap::new(),
            others: Vec::new(),
            source: None,
            panicked: false,
        }))
    }

    /// `INVALID_ARGUMENT` that names one field.
    pub fn invalid(field: impl Into<String>, description: impl Into<String>) -> Self {
        let (field, description) = (field.into(), description.into());
        Self::new(INVALID_ARGUMENT, format!("{field}: {description}")).field(field, description)
    }

    /// `NOT_FOUND` for a kind of resource, such as `user`, and the id that was asked for.
    pub fn not_found(kind: &str, id: impl std::fmt::Display) -> Self {
        Self::new(NOT_FOUND, format!("{kind} {id} does not exist"))
    }

    /// `INTERNAL`: the caller learns nothing but the code, the source is for our log.
    pub fn internal(source: impl Into<anyhow::Error>) -> Self {
        Self::new(INTERNAL, "internal error").because(source)
    }

    /// `INTERNAL` in the place of a panic, which was told of when it happened.
    pub fn panicked(source: impl Into<anyhow::Error>) -> Self {
        let mut error = Self::internal(source);
        error.0.panicked = true;
        error
    }

    /// `UNAVAILABLE`: the caller is told to come back in a second.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(UNAVAILABLE, message).retry_after(Duration::from_secs(1))
    }

    /// Adds what is wrong with a field.
    pub fn field(mut self, field: impl Into<String>, description: impl Into<String>) -> Self {
        let (field, description) = (field.into(), description.into());
        self.0.violations.push(FieldViolation { field, description });
        self
    }

    /// Adds a limit that was reached.
    pub fn quota(mut self, subject: impl Into<String>, description: impl Into<String>) -> Self {
        let (subject, description) = (subject.into(), description.into());
        self.0.quotas.push(QuotaViolation { subject, description });
        self
    }

    /// Adds when the caller may try again.
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.0.retry_after = Some(after);
        self
    }

    /// Adds a machine-readable detail, such as the plans that include a feature.
    pub fn detail(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.metadata.insert(key.into(), value.into());
        self
    }

    /// Adds the cause, for our log only.
    pub fn because(mut self, source: impl Into<anyhow::Error>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The same error in words for another caller: its message, and the names of the fields at fault.
    pub fn reworded(mut self, message: impl Into<String>, field: impl Fn(&str) -> String) -> Self {
        self.0.message = message.into();
        for violation in &mut self.0.violations {
            violation.field = field(&violation.field);
        }
        self
    }

    /// The row of the error-code table.
    pub fn code(&self) -> &ErrorCode {
        &self.0.code
    }

    /// Whether this is the given row, by its reason.
    pub fn is(&self, code: &ErrorCode) -> bool {
        self.0.code.reason == code.reason
    }

    /// The message for the caller.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What is wrong with which fields.
    pub fn violations(&self) -> &[FieldViolation] {
        &self.0.violations
    }

    /// Which limits were reached.
    pub fn quotas(&self) -> &[QuotaViolation] {
        &self.0.quotas
    }

    /// When the caller may try again.
    pub fn retry_after_hint(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Machine-readable details.
    pub fn details(&self) -> &HashMap<String, String> {
        &self.0.metadata
    }

    /// The cause, for our log only.
    pub fn cause(&self) -> Option<&anyhow::Error> {
        self.0.source.as_ref()
    }

    /// The error with its causes, for our log only.
    pub fn with_causes(&self) -> String {
        match self.cause() {
            Some(cause) => format!("{self}: {cause:#}"),
            None => self.to_string(),
        }
    }

    /// The status that travels, with `ErrorInfo`, `BadRequest`, `QuotaFailure` and `RetryInfo` details, and
    /// what others there were where it was read from a status.
    pub fn to_status(&self) -> Status {
        let mut details = ErrorDetails::new();
        let mut metadata = self.0.metadata.clone();
        metadata.insert(HTTP_STATUS_KEY.into(), self.0.code.http.to_string());
        details.set_error_info(self.0.code.reason.as_ref(), self.0.domain.as_ref(), metadata);
        for violation in &self.0.violations {
            details.add_bad_request_violation(&violation.field, &violation.description);
        }
        for quota in &self.0.quotas {
            details.add_quota_failure_violation(&quota.subject, &quota.description);
        }
        if let Some(after) = self.0.retry_after {
            details.set_retry_info(Some(after));
        }
        let status = Status::with_error_details(self.0.code.grpc, self.0.message.clone(), details);
        if self.0.others.is_empty() {
            return status;
        }
        let mut whole = details_of(&status);
        whole.extend_from_slice(&self.0.others);
        let whole = pb::Status {
            code: status.code().into(),
            message: status.message().to_owned(),
            details: whole,
        };
        Status::with_details(status.code(), status.message(), whole.encode_to_vec().into())
    }

    /// Reads a status back, of the platform or of any other gRPC server. A `LocalizedMessage` is the
    /// message for people, so it stands for the status's own; `DebugInfo` is not read. Details of other
    /// kinds are kept as they are, but for those of a server's own fault.
    pub fn from_status(status: &Status) -> Self {
        let mut error = Self::new(default_code(status.code()), status.message());
        for detail in status.get_error_details_vec() {
            match detail {
                ErrorDetail::ErrorInfo(info) => {
                    let mut metadata = info.metadata;
                    let stated =
                        metadata.remove(HTTP_STATUS_KEY).and_then(|http| http.parse().ok());
                    if let Some(http) = stated.filter(|http| (400..600).contains(http)) {
                        error.0.code.http = http;
                    }
                    error.0.code.reason = Cow::Owned(info.reason);
                    error.0.domain = Cow::Owned(info.domain);
                    error.0.metadata = metadata;
                }
                ErrorDetail::BadRequest(bad) => {
                    error.0.violations.extend(bad.field_violations.into_iter().map(|violation| {
                        FieldViolation {
                            field: violation.field,
                            description: violation.description,
                        }
                    }));
                }
                ErrorDetail::QuotaFailure(reached) => {
                    error.0.quotas.extend(reached.violations.into_iter().map(|quota| {
                        QuotaViolation { subject: quota.subject, description: quota.description }
                    }));
                }
                ErrorDetail::LocalizedMessage(localized) if !localized.message.is_empty() => {
                    error.0.message = localized.message;
                }
                ErrorDetail::RetryInfo(retry) => error.0.retry_after = retry.retry_delay,
                _ => {}
            }
        }
        if !matches!(status.code(), Code::Unknown | Code::Internal | Code::DataLoss) {
            error.0.others = details_of(status);
            error.0.others.retain(is_passed_on);
        }
        error
    }
}

/// All details of a status; none where they cannot be read.
fn details_of(status: &Status) -> Vec<Any> {
    pb::Status::decode(status.details()).unwrap_or_default().details
}

/// Whether a detail is one of those that travel on unread, wherever its type is said to be described.
fn is_passed_on(detail: &Any) -> bool {
    fn name(url: &str) -> Option<&str> {
        url.rsplit('/').next()
    }
    NOT_PASSED_ON.iter().all(|known| name(known) != name(&detail.type_url))
}

/// The row for a status that came without `ErrorInfo`.
fn default_code(code: Code) -> ErrorCode {
    match code {
        Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss => INTERNAL,
        Code::Cancelled => ErrorCode::new("CANCELLED", Code::Cancelled),
        Code::InvalidArgument => INVALID_ARGUMENT,
        Code::OutOfRange => ErrorCode::new("OUT_OF_RANGE", Code::OutOfRange),
        Code::FailedPrecondition => FAILED_PRECONDITION,
        Code::Unauthenticated => UNAUTHENTICATED,
        Code::PermissionDenied => PERMISSION_DENIED,
        Code::NotFound => NOT_FOUND,
        Code::AlreadyExists => ALREADY_EXISTS,
        Code::Aborted => ABORTED,
        Code::ResourceExhausted => RATE_LIMITED,
        Code::Unimplemented => UNIMPLEMENTED,
        Code::Unavailable => UNAVAILABLE,
        Code::DeadlineExceeded => DEADLINE_EXCEEDED,
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: {}", self.0.code.reason, self.0.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|source| source.as_ref() as _)
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        // A panic was logged where it happened.
        if error.0.code.grpc == Code::Internal && !error.0.panicked {
            tracing::error!(
                error = error.0.source.as_ref().map(|source| format!("{source:#}")),
                "call failed for an internal reason"
            );
        }
        error.to_status()
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Self::from_status(&status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_of_another_server_is_read_but_for_its_debug_information() {
        let mut details = ErrorDetails::new();
        details
            .set_localized_message("de-CH", "das Buch ist ausgeliehen")
            .set_debug_info(vec!["at shelf.rs:12".to_owned()], "lock of row 7")
            .add_quota_failure_violation("shelf:poetry", "3 books a day")
            .add_bad_request_violation("book_id", "is lent")
            .set_retry_info(Some(Duration::from_secs(7)));
        let status = Status::with_error_details(Code::ResourceExhausted, "BOOK LENT", details);
        let error = Error::from_status(&status);
        assert_eq!(error.message(), "das Buch ist ausgeliehen");
        let quota = QuotaViolation {
            subject: "shelf:poetry".to_owned(),
            description: "3 books a day".to_owned(),
        };
        assert_eq!(error.quotas(), [quota]);
        assert_eq!(error.violations().len(), 1);
        assert_eq!(error.retry_after_hint(), Some(Duration::from_secs(7)));
        assert!(!format!("{error:?}").contains("shelf.rs"), "{error:?}");
        let again = Error::from_status(&error.to_status());
        assert_eq!((again.quotas(), again.violations()), (error.quotas(), error.violations()));
    }

    #[test]
    fn details_that_nobody_here_reads_travel_on_but_for_those_of_a_fault() {
        let own = Any { type_url: "library.example/Shelf".to_owned(), value: vec![8, 7] };
        let said = |code: Code| {
            let mut details = ErrorDetails::new();
            details
                .set_error_info("LENT", "library.example", HashMap::new())
                .set_help(vec![tonic_types::HelpLink::new("returns", "https://library.example")])
                .set_debug_info(vec!["at shelf.rs:12".to_owned()], "lock of row 7");
            let status = Status::with_error_details(code, "lent", details);
            let mut details = details_of(&status);
            let hidden = details.last().unwrap().value.clone();
            let elsewhere = "types.example/google.rpc.DebugInfo".to_owned();
            details.push(Any { type_url: elsewhere, value: hidden });
            details.push(own.clone());
            let whole = pb::Status { code: code.into(), message: "lent".to_owned(), details };
            Status::with_details(code, "lent", whole.encode_to_vec().into())
        };
        let kinds = |code: Code| -> Vec<String> {
            let status = Error::from_status(&said(code)).to_status();
            assert_eq!(status.get_details_error_info().unwrap().domain, "library.example");
            details_of(&status).into_iter().map(|detail| detail.type_url).collect()
        };
        let (info, help) = (ErrorInfo::TYPE_URL, tonic_types::Help::TYPE_URL);
        assert_eq!(kinds(Code::NotFound), [info, help, &own.type_url]);
        assert_eq!(kinds(Code::Internal), [info]);
    }
}
