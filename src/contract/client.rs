//! The macro behind the client traits.
//!
//! It takes a service as a list of `method(Request) -> Reply` and writes the trait and its gRPC
//! implementation, so that an area's module reads as a table of contents and no method is spelled
//! three times. Methods that answer with a stream stand below the others, after `streaming`.

use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use tonic::metadata::AsciiMetadataValue;
use tonic::{Request, Streaming};

use crate::kernel::error::{Error, Result, UNAUTHENTICATED};

/// The messages of a reply that is a stream, until it ends or fails.
pub(super) type Messages<T> = BoxStream<'static, Result<T>>;

/// The messages of a reply, with errors as they are spoken of here.
pub(super) fn messages<T: Send + 'static>(reply: Streaming<T>) -> Messages<T> {
    reply.map(|message| message.map_err(Error::from)).boxed()
}

/// How long after its begin a stream says that something was so; no time at all if it says nothing
/// sound, which makes it older than it is.
pub(super) fn elapsed(stated: Option<prost_types::Duration>) -> Duration {
    stated.and_then(|stated| Duration::try_from(stated).ok()).unwrap_or_default()
}

/// Declares a client trait and its implementation over a [`MeshChannel`].
///
/// [`MeshChannel`]: crate::kernel::channel::MeshChannel
macro_rules! client {
    (
        $(#[$doc:meta])*
        $client:ident, over gRPC $grpc:ident($stub:ident) {
            $( $(#[$method_doc:meta])* $method:ident($request:ident) -> $reply:ty; )*
        }
        $( streaming {
            $( $(#[$stream_doc:meta])* $stream:ident($asked:ident) -> $message:ty; )*
        } )?
    ) => {
        $(#[$doc])*
        #[async_trait::async_trait]
        pub trait $client: Send + Sync {
            $(
                $(#[$method_doc])*
                async fn $method(&self, request: proto::$request) -> $crate::kernel::Result<$reply>;
            )*
            $( $(
                $(#[$stream_doc])*
                async fn $stream(
                    &self,
                    request: proto::$asked,
                ) -> $crate::kernel::Result<$crate::contract::client::Messages<$message>>;
            )* )?
        }

        #[doc = concat!("[`", stringify!($client), "`] over the mesh.")]
        #[derive(Clone, Debug)]
        pub struct $grpc {
            stub: $stub<$crate::kernel::channel::MeshChannel>,
            bearer: $crate::contract::client::Bearer,
        }

        impl $grpc {
            /// A client on the channel to the service.
            pub fn new(channel: $crate::kernel::channel::MeshChannel) -> Self {
                Self { stub: $stub::new(channel), bearer: Default::default() }
            }

            /// The same client, speaking for the user of an access token.
            pub fn with_bearer(mut self, token: &str) -> Self {
                self.bearer = $crate::contract::client::Bearer::new(token);
                self
            }
        }

        #[async_trait::async_trait]
        impl $client for $grpc {
            $(
                async fn $method(&self, request: proto::$request) -> $crate::kernel::Result<$reply> {
                    let request = self.bearer.request(request)?;
                    Ok(self.stub.clone().$method(request).await?.into_inner())
                }
            )*
            $( $(
                async fn $stream(
                    &self,
                    request: proto::$asked,
                ) -> $crate::kernel::Result<$crate::contract::client::Messages<$message>> {
                    let request = self.bearer.request(request)?;
                    let reply = self.stub.clone().$stream(request).await?.into_inner();
                    Ok($crate::contract::client::messages(reply))
                }
            )* )?
        }
    };
}
pub(super) use client;

/// The access token that a client sends, if it has one. Never shown by `Debug`.
#[derive(Clone, Debug, Default)]
pub(super) enum Bearer {
    /// The client speaks for its own process.
    #[default]
    None,
    /// The client speaks for a user.
    Token(AsciiMetadataValue),
    /// What it was given fits into no header.
    Unfit,
}

impl Bearer {
    pub(super) fn new(token: &str) -> Self {
        match AsciiMetadataValue::try_from(format!("Bearer {token}")) {
            Ok(mut value) => {
                value.set_sensitive(true);
                Self::Token(value)
            }
            Err(_) => Self::Unfit,
        }
    }

    /// A request that carries the token.
    pub(super) fn request<T>(&self, message: T) -> Result<Request<T>> {
        let mut request = Request::new(message);
        match self {
            Self::None => {}
            Self::Token(value) => {
                request.metadata_mut().insert("authorization", value.clone());
            }
            Self::Unfit => {
                return Err(Error::new(UNAUTHENTICATED, "the access token is not printable ASCII"));
            }
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_travels_as_bearer_and_is_not_shown() {
        let request = Bearer::new("abc").request(()).expect("plain text");
        let value = request.metadata().get("authorization").expect("was set");
        assert_eq!(value.to_str().expect("ascii"), "Bearer abc");
        assert!(!format!("{request:?}").contains("abc"));
    }

    #[test]
    fn a_token_that_fits_in_no_header_is_refused() {
        let error = Bearer::new("a\nb").request(()).expect_err("a line break");
        assert!(error.is(&UNAUTHENTICATED));
    }
}
