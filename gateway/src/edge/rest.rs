//! REST: the parts of a request fill the message, the reply becomes JSON.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use mainstay::kernel::error::Result;
use mainstay::kernel::policy::EdgeStyle;

pub(super) mod socket;
mod stream;
mod upload;

use super::exchange::{Exchange, Sending};
use super::idempotency::Keyed;
use super::reply::{Replies, declared};
use super::{body, caching, hygiene, upstream};
use crate::cursor::Listing;
use crate::envelope;
use crate::route::{Form, Target};
use crate::transcode::query;
use crate::transcode::request::Parts;

/// Reads body, query and path into the request message or messages.
pub(super) async fn message(
    exchange: &mut Exchange,
    target: &Arc<Target>,
    body: Body,
) -> Result<Sending> {
    hygiene::check_encoding(&exchange.head.headers, &mut exchange.reply_headers)?;
    match target.route.form {
        Form::Unary | Form::Stream => {
            single(exchange, target, body).await?;
            stream::resume(exchange);
            Ok(Sending::One)
        }
        Form::Upload => Box::pin(upload::messages(exchange, target, body)).await,
        Form::Socket => {
            exchange.parameters = query::parse(exchange.head.uri.query())?;
            socket::handshake(exchange, target)
        }
    }
}

/// Makes the call and renders its reply.
pub(super) async fn call(
    exchange: &Exchange,
    target: &Arc<Target>,
    sending: Sending,
) -> Result<Response> {
    match (target.route.form, sending) {
        (Form::Stream, sending) => Box::pin(stream::call(exchange, &target.route, sending)).await,
        (_, Sending::Socket(upgrade)) => Ok(socket::call(exchange, target, *upgrade)),
        (_, sending @ Sending::Many(_)) => Box::pin(collected(exchange, target, sending)).await,
        (_, Sending::One) => {
            let reply = upstream::unary(exchange).await?;
            rendered(exchange, target, &reply.message, [&reply.metadata, &reply.trailers])
        }
    }
}

/// Makes a call whose messages are many, and renders its only reply.
async fn collected(exchange: &Exchange, target: &Target, sending: Sending) -> Result<Response> {
    let reply = upstream::stream(exchange, sending).await?;
    let mut replies = Replies::new(reply.parts);
    let message = replies.only().await;
    let message =
        message.map_err(|error| error.with_headers(&declared(&exchange.rpc, [&reply.metadata])))?;
    let trailers = replies.trailers().cloned().unwrap_or_default();
    rendered(exchange, target, &message, [&reply.metadata, &trailers])
}

async fn single(exchange: &mut Exchange, target: &Target, body: Body) -> Result<()> {
    let binding = &target.route.binding;
    let mut parameters = query::parse(exchange.head.uri.query())?;
    let cursor = match &binding.list {
        Some(_) => query::take_cursor(&mut parameters)?,
        None => None,
    };
    let limit = exchange.rpc.policy.max_body_bytes;
    let timeout = exchange.edge.settings.body_timeout;
    let body = body::read(&exchange.head.headers, body, limit, timeout).await?;
    exchange.keyed = Keyed::of(exchange, &body)?.map(Arc::new);
    let content_type = content_type(exchange).map(str::to_owned);
    let mut content = Content { content_type, body, is_file: false };
    if let Some(boundary) = upload::boundary(target, content.content_type.as_deref()) {
        let form = Box::pin(upload::form(content.body, boundary)).await?;
        parameters.extend(form.parameters);
        let content_type = Some(form.content_type);
        content = Content { content_type, body: form.file, is_file: true };
    }
    exchange.parameters = parameters;
    let page_token = match cursor {
        Some(cursor) => Some(exchange.edge.cursors.verify(&listing(exchange, target), &cursor)?),
        None => None,
    };
    exchange.message = binding.request(Parts {
        captures: &target.captures,
        parameters: &exchange.parameters,
        content_type: content.content_type.as_deref(),
        page_token: page_token.as_deref(),
        body: content.body,
        is_file: content.is_file,
    })?;
    Ok(())
}

/// What fills the message from the body.
struct Content {
    content_type: Option<String>,
    body: Bytes,
    /// Whether that is the file of a form.
    is_file: bool,
}

fn rendered(
    exchange: &Exchange,
    target: &Target,
    message: &Bytes,
    metadata: [&HeaderMap; 2],
) -> Result<Response> {
    let route = &target.route;
    let rendered = match route.rpc.policy.style {
        EdgeStyle::Plain => route.reply.plain(message)?,
        EdgeStyle::Envelope => {
            let sign = |token: &str| exchange.edge.cursors.sign(&listing(exchange, target), token);
            route.reply.enveloped(message, &exchange.call.request_id, sign)?
        }
    };
    let mut response = envelope::reply(rendered);
    caching::tag(route, message, &mut response);
    response.headers_mut().extend(declared(&route.rpc, metadata));
    Ok(response)
}

/// The list that a cursor of this request belongs to.
fn listing<'a>(exchange: &'a Exchange, target: &Target) -> Listing<'a> {
    let captures = target.captures.iter();
    Listing {
        method: exchange.rpc.grpc_path.path(),
        caller: exchange.call.user.as_ref().map_or("", |user| user.id.as_str()),
        path: captures
            .map(|found| (found.field.join("."), found.text.clone().unwrap_or_default()))
            .collect(),
        parameters: exchange.parameters.clone(),
    }
}

fn content_type(exchange: &Exchange) -> Option<&str> {
    let stated = exchange.head.headers.get(http::header::CONTENT_TYPE);
    stated.map(|value| value.to_str().unwrap_or("unreadable"))
}
