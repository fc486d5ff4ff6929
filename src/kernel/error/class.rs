//! Whose fault an error is.

use tonic::Code;

use super::Error;

/// Whose fault an error is, for `mainstay_errors_total` and for who is told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// The caller asked for what cannot be, or for what it may not have.
    Business,
    /// Ours, or that of something the process needs.
    System,
    /// A defect of the code.
    Panic,
}

impl ErrorClass {
    /// The class of an outcome; `None` where it succeeded, or its caller went away.
    pub const fn of(code: Code) -> Option<Self> {
        match code {
            Code::Ok | Code::Cancelled => None,
            Code::Unknown
            | Code::Internal
            | Code::DataLoss
            | Code::Unavailable
            | Code::DeadlineExceeded => Some(Self::System),
            _ => Some(Self::Business),
        }
    }

    /// Its name, such as `system`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Business => "business",
            Self::System => "system",
            Self::Panic => "panic",
        }
    }
}

impl Error {
    /// Whose fault it is; `None` where the caller went away.
    pub fn class(&self) -> Option<ErrorClass> {
        match self.0.panicked {
            true => Some(ErrorClass::Panic),
            false => ErrorClass::of(self.0.code.grpc),
        }
    }
}
