//! What OpenAPI can say of streams, of WebSockets and of forms.

use serde_json::{Value as Json, json};

use crate::route::Form;

/// What is added to the description of an operation.
pub(super) fn note(form: Form) -> &'static str {
    match form {
        Form::Unary => "",
        Form::Stream => {
            "\n\nA stream: an array, or one message a line or an event, by `Accept`. What fails after the first \
             message is a last element `{\"error\": …}`; of events, one of the type `error`. Headers that the service \
             tells at the end come as trailers, with `TE: trailers`."
        }
        Form::Upload => "\n\nThe body is sent on in pieces as it arrives.",
        Form::Socket => {
            "\n\nA WebSocket: one message a frame, as JSON in text or as protobuf in binary frames. An empty text \
             frame ends the stream of the caller. What fails is a last frame `{\"error\": …}`."
        }
    }
}

/// The forms of a stream of such elements.
pub(super) fn content(element: Json) -> Json {
    json!({
        "application/json": { "schema": { "type": "array", "items": element } },
        "application/x-ndjson": { "schema": element },
        "text/event-stream": { "schema": { "type": "string" } },
    })
}

/// The answer to the handshake of a WebSocket.
pub(super) fn switching() -> Json {
    json!({ "description": "The connection is a WebSocket from here on." })
}

/// A form whose file is the body.
pub(super) fn form() -> Json {
    let file = json!({ "type": "string", "contentMediaType": "application/octet-stream" });
    json!({
        "schema": {
            "type": "object",
            "required": ["file"],
            "properties": { "file": file },
            "additionalProperties": { "type": "string" },
        },
    })
}
