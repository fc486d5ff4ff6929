//! How a stream is taken up again.

use super::methods::Stated;
use super::options::{self, string_at, text};

pub(super) fn check(stated: &Stated, faults: &mut Vec<String>) {
    let Some(stream) = options::message(&stated.policy, "stream") else { return };
    if !stated.method.is_server_streaming() || stated.method.is_client_streaming() {
        return faults.push(
            "states `stream`, which is for methods that take one message and return a stream; \
             leave it out"
                .to_owned(),
        );
    }
    let (input, output) = (stated.method.input(), stated.method.output());
    for (option, message) in [("resume_field", input), ("id_field", output)] {
        let field = text(&stream, option);
        let found = match field.contains('.') {
            true => Err("it is inside of another".to_owned()),
            false => string_at(&message, &field),
        };
        if let Err(fault) = found {
            faults.push(format!(
                "the {option} {field:?} of its stream cannot be used: {fault}; name a string \
                 field of {}",
                message.full_name()
            ));
        }
    }
}
