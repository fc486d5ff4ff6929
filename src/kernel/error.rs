//! The one error type at boundaries.
//!
//! An [`Error`] carries two messages: one for the caller, which leaves the process, and one for us
//! (the source), which is logged once where the error is handled. Its [`ErrorCode`] ties together
//! the UPPER_SNAKE reason, the gRPC status and the HTTP status.

mod class;
mod status;

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use http::HeaderMap;
use prost_types::Any;
use tonic::Code;

pub use class::ErrorClass;

/// A kernel or service result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The `domain` of every `google.rpc.ErrorInfo` of the platform.
pub const ERROR_DOMAIN: &str = "mainstay";

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
    /// UPPER_SNAKE name of what is wrong with it, where another server gave one; else empty.
    pub reason: String,
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
    headers: HeaderMap,
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
            headers: HeaderMap::new(),
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
        self.0.violations.push(FieldViolation { field, description, reason: String::new() });
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

    /// Adds headers that travel beside it to the caller.
    pub fn with_headers(mut self, headers: &HeaderMap) -> Self {
        for (name, value) in headers {
            self.0.headers.append(name, value.clone());
        }
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

    /// Who gave the reason; [`ERROR_DOMAIN`] where that is the platform.
    pub fn domain(&self) -> &str {
        &self.0.domain
    }

    /// Headers that travel beside it to the caller.
    pub fn headers(&self) -> &HeaderMap {
        &self.0.headers
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
