//! REST: the parts of a request fill the message, the reply becomes JSON.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use mainstay::kernel::error::Result;
use mainstay::kernel::policy::EdgeStyle;

mod stream;

use super::exchange::{Exchange, Sending};
use super::idempotency::Keyed;
use super::reply::declared;
use super::{body, caching, upstream};
use crate::cursor::Listing;
use crate::envelope;
use crate::route::{Form, Target};
use crate::transcode::query;
use crate::transcode::request::Parts;

/// Reads body, query and path into the request message.
pub(super) async fn message(
    exchange: &mut Exchange,
    target: &Target,
    body: Body,
) -> Result<Sending> {
    single(exchange, target, body).await?;
    stream::resume(exchange);
    Ok(Sending::One)
}

/// Makes the call and renders its reply.
pub(super) async fn call(
    exchange: &Exchange,
    target: &Target,
    sending: Sending,
) -> Result<Response> {
    match target.route.form {
        Form::Unary => unary(exchange, target).await,
        Form::Stream => stream::call(exchange, &target.route, sending).await,
    }
}

async fn single(exchange: &mut Exchange, target: &Target, body: Body) -> Result<()> {
    let binding = &target.route.binding;
    let mut parameters = query::parse(exchange.head.uri.query())?;
    let cursor = match &binding.list {
        Some(_) => query::take_cursor(&mut parameters)?,
        None => None,
    };
    exchange.parameters = parameters;
    let limit = exchange.rpc.policy.max_body_bytes;
    let timeout = exchange.edge.settings.body_timeout;
    let body = body::read(&exchange.head.headers, body, limit, timeout).await?;
    exchange.keyed = Keyed::of(exchange, target, &body)?.map(Arc::new);
    let page_token = match cursor {
        Some(cursor) => Some(exchange.edge.cursors.verify(&listing(exchange, target), &cursor)?),
        None => None,
    };
    exchange.message = binding.request(Parts {
        captures: &target.captures,
        parameters: &exchange.parameters,
        content_type: content_type(exchange),
        page_token: page_token.as_deref(),
        body,
    })?;
    Ok(())
}

async fn unary(exchange: &Exchange, target: &Target) -> Result<Response> {
    let route = &target.route;
    let reply = upstream::unary(exchange).await?;
    let rendered = match route.rpc.policy.style {
        EdgeStyle::Plain => route.reply.plain(&reply.message)?,
        EdgeStyle::Envelope => {
            let sign = |token: &str| exchange.edge.cursors.sign(&listing(exchange, target), token);
            route.reply.enveloped(&reply.message, &exchange.call.request_id, sign)?
        }
    };
    let mut response = envelope::reply(rendered);
    caching::tag(route, &reply.message, &mut response);
    for metadata in [&reply.metadata, &reply.trailers] {
        response.headers_mut().extend(declared(&route.rpc, metadata));
    }
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
