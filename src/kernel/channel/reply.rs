//! What came back, whole or as a stream.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Response, response};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt as _, Full};
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

use super::UnaryReply;
use super::endpoint::Attempt;
use super::failure::NotSent;
use super::message::unframed;
use crate::kernel::error::Error;

/// A reply with the gRPC status that is known of it.
pub(super) struct Reply {
    head: response::Parts,
    content: Content,
}

enum Content {
    Whole { data: Bytes, trailers: HeaderMap },
    Stream(Body),
}

impl Reply {
    pub(super) fn whole(head: response::Parts, data: Bytes, trailers: HeaderMap) -> Self {
        Self { head, content: Content::Whole { data, trailers } }
    }

    pub(super) fn stream(head: response::Parts, body: Body) -> Self {
        Self { head, content: Content::Stream(body) }
    }

    /// The same, for a call that no instance has seen.
    pub(super) fn unsent(mut self) -> Self {
        self.head.extensions.insert(NotSent);
        self
    }

    /// The status; of a stream that is under way, OK.
    pub(super) fn code(&self) -> Code {
        let trailers = match &self.content {
            Content::Whole { trailers, .. } => status_code(trailers),
            Content::Stream(_) => None,
        };
        status_code(&self.head.headers).or(trailers).unwrap_or(Code::Ok)
    }

    pub(super) fn is_unavailable(&self) -> bool {
        self.code() == Code::Unavailable
    }

    /// The attempt lasts as long as its reply streams, so that a busy instance looks busy.
    pub(super) fn guarded_by(mut self, attempt: Attempt) -> Self {
        if let Content::Stream(body) = self.content {
            self.content = Content::Stream(Body::new(Guarded { body, _attempt: attempt }));
        }
        self
    }

    /// The one message of a unary call's reply, or the status that came instead.
    pub(super) fn into_unary(self) -> Result<UnaryReply, Status> {
        if let Some(mut status) = failed(&self.head.headers) {
            if self.head.extensions.get::<NotSent>().is_some() {
                status.set_source(Arc::new(NotSent));
            }
            return Err(status);
        }
        let Content::Whole { data, trailers } = self.content else {
            return Err(Status::internal("a unary call was answered with a stream"));
        };
        match failed(&trailers) {
            Some(status) => Err(preceded(status, self.head.headers)),
            None => {
                Ok(UnaryReply { message: unframed(data)?, metadata: self.head.headers, trailers })
            }
        }
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let body = match self.content {
            Content::Whole { data, trailers } if data.is_empty() && trailers.is_empty() => {
                Body::empty()
            }
            Content::Whole { data, trailers } => {
                Body::new(Full::new(data).with_trailers(async move { Some(Ok(trailers)) }))
            }
            Content::Stream(body) => body,
        };
        Response::from_parts(self.head, body)
    }
}

impl From<Error> for Reply {
    fn from(error: Error) -> Self {
        error.to_status().into()
    }
}

impl From<Status> for Reply {
    fn from(status: Status) -> Self {
        let (head, ()) = status.into_http::<()>().into_parts();
        Self::whole(head, Bytes::new(), HeaderMap::new())
    }
}

/// A status that came after headers, with them among its metadata.
fn preceded(mut status: Status, mut headers: HeaderMap) -> Status {
    for (name, value) in status.metadata().as_ref() {
        headers.append(name, value.clone());
    }
    *status.metadata_mut() = MetadataMap::from_headers(headers);
    status
}

fn failed(headers: &HeaderMap) -> Option<Status> {
    match status_code(headers)? {
        Code::Ok => None,
        _ => Status::from_header_map(headers),
    }
}

fn status_code(headers: &HeaderMap) -> Option<Code> {
    headers.get(Status::GRPC_STATUS).map(|value| Code::from_bytes(value.as_bytes()))
}

struct Guarded {
    body: Body,
    _attempt: Attempt,
}

impl http_body::Body for Guarded {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    #[test]
    fn a_call_that_failed_after_headers_has_them_among_its_metadata() {
        let of = |pairs: [(&'static str, &'static str); 2]| -> HeaderMap {
            pairs
                .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
                .into_iter()
                .collect()
        };
        let (mut head, ()) = Response::new(()).into_parts();
        head.headers = of([("x-head", "1"), ("x-both", "2")]);
        let mut trailers = of([("x-trail", "3"), ("x-both", "4")]);
        trailers.insert(Status::GRPC_STATUS, "5".parse().unwrap());
        let status = Reply::whole(head, Bytes::new(), trailers).into_unary().unwrap_err();
        assert_eq!(status.code(), Code::NotFound);
        let metadata = status.metadata().as_ref();
        assert_eq!([&metadata["x-head"], &metadata["x-trail"]], ["1", "3"]);
        assert_eq!(metadata.get_all("x-both").iter().collect::<Vec<_>>(), ["2", "4"]);
    }
}
