//! The status in which an error travels.

use std::borrow::Cow;

use prost::Message as _;
use prost_types::Any;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};
use tonic_types::{
    BadRequest, DebugInfo, ErrorDetail, ErrorDetails, ErrorInfo, QuotaFailure, RetryInfo,
    StatusExt as _, pb,
};

use super::{
    ABORTED, ALREADY_EXISTS, DEADLINE_EXCEEDED, Error, ErrorCode, FAILED_PRECONDITION,
    FieldViolation, INTERNAL, INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED, QuotaViolation,
    RATE_LIMITED, UNAUTHENTICATED, UNAVAILABLE, UNIMPLEMENTED,
};

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

impl Error {
    /// The status that travels, with `ErrorInfo`, `BadRequest`, `QuotaFailure` and `RetryInfo` details, and
    /// what others there were where it was read from a status. Its headers are the status's metadata.
    pub fn to_status(&self) -> Status {
        let mut details = ErrorDetails::new();
        let mut metadata = self.0.metadata.clone();
        metadata.insert(HTTP_STATUS_KEY.into(), self.0.code.http.to_string());
        details.set_error_info(self.0.code.reason.as_ref(), self.0.domain.as_ref(), metadata);
        if !self.0.violations.is_empty() {
            details.set_bad_request(self.0.violations.iter().map(described).collect::<Vec<_>>());
        }
        for quota in &self.0.quotas {
            details.add_quota_failure_violation(&quota.subject, &quota.description);
        }
        if let Some(after) = self.0.retry_after {
            details.set_retry_info(Some(after));
        }
        let mut status =
            Status::with_error_details(self.0.code.grpc, self.0.message.clone(), details);
        if !self.0.others.is_empty() {
            let mut details = details_of(&status);
            details.extend_from_slice(&self.0.others);
            let (code, message) = (status.code(), status.message().to_owned());
            let whole = pb::Status { code: code.into(), message: message.clone(), details };
            status = Status::with_details(code, message, whole.encode_to_vec().into());
        }
        *status.metadata_mut() = MetadataMap::from_headers(self.0.headers.clone());
        status
    }

    /// Reads a status back, of the platform or of any other gRPC server. A `LocalizedMessage` is the
    /// message for people, so it stands for the status's own; `DebugInfo` is not read. Details of other
    /// kinds are kept as they are, but for those of a server's own fault. Metadata is not read.
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
                            reason: violation.reason,
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
        if !is_fault(status.code()) {
            error.0.others = details_of(status);
            error.0.others.retain(is_passed_on);
        }
        error
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        // A panic was logged where it happened.
        if is_fault(error.0.code.grpc) && !error.0.panicked {
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

/// Whether a code says that the server is at fault, and nothing besides.
fn is_fault(code: Code) -> bool {
    matches!(code, Code::Unknown | Code::Internal | Code::DataLoss)
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

fn described(violation: &FieldViolation) -> tonic_types::FieldViolation {
    let FieldViolation { field, description, reason } = violation;
    let described = tonic_types::FieldViolation::new(field, description);
    tonic_types::FieldViolation { reason: reason.clone(), ..described }
}

/// The row for a status that came without `ErrorInfo`.
fn default_code(code: Code) -> ErrorCode {
    match code {
        Code::Ok | Code::Internal => INTERNAL,
        // Faults, too: they differ for who reads the status, in all else they are one row.
        Code::Unknown | Code::DataLoss => ErrorCode { grpc: code, ..INTERNAL },
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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_status_of_another_server_is_read_but_for_its_debug_information() {
        let mut details = ErrorDetails::new();
        details
            .set_localized_message("de-CH", "das Buch ist ausgeliehen")
            .set_debug_info(vec!["at shelf.rs:12".to_owned()], "lock of row 7")
            .add_quota_failure_violation("shelf:poetry", "3 books a day")
            .set_bad_request(vec![tonic_types::FieldViolation {
                reason: "LENT".to_owned(),
                ..tonic_types::FieldViolation::new("book_id", "is lent")
            }])
            .set_retry_info(Some(Duration::from_secs(7)));
        let status = Status::with_error_details(Code::ResourceExhausted, "BOOK LENT", details);
        let error = Error::from_status(&status);
        assert_eq!(error.message(), "das Buch ist ausgeliehen");
        let quota = QuotaViolation {
            subject: "shelf:poetry".to_owned(),
            description: "3 books a day".to_owned(),
        };
        assert_eq!(error.quotas(), [quota]);
        assert_eq!(error.violations()[0].reason, "LENT");
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

    #[test]
    fn a_fault_keeps_its_code_and_is_the_same_row() {
        for code in [Code::Unknown, Code::Internal, Code::DataLoss] {
            let error = Error::from_status(&Status::new(code, "row 7 is torn"));
            assert!(error.is(&INTERNAL), "{code:?}");
            assert_eq!((error.code().http, error.to_status().code()), (500, code));
        }
    }
}
