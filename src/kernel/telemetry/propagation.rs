//! How a trace crosses process boundaries: W3C Trace Context over gRPC and HTTP headers, and over
//! `traceparent` and `tracestate` of an event's envelope.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::{SpanContext, TraceContextExt as _, TraceFlags, TraceId};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// Name of the header that carries the trace, and the key in envelopes.
const TRACEPARENT: &str = "traceparent";
/// Name of the header that carries what tracing systems add to it, and the key in envelopes.
const TRACESTATE: &str = "tracestate";

/// Whether this process sends spans to a collector.
static EXPORTS: AtomicBool = AtomicBool::new(false);

/// The trace that the headers of a request carry; an empty context when they carry none.
pub fn extract(headers: &HeaderMap) -> Context {
    TraceContextPropagator::new().extract_with_context(&Context::new(), &HeaderReader(headers))
}

/// States that this process sends spans to a collector.
pub(super) fn note_exporter() {
    EXPORTS.store(true, Ordering::Relaxed);
}

/// The id of a span's trace, if somebody will read what is written down in it: most traces are not
/// sampled.
pub fn exported_trace(span: &Span) -> Option<TraceId> {
    if !EXPORTS.load(Ordering::Relaxed) {
        return None;
    }
    let context = span.context();
    let place = context.span().span_context().clone();
    place.is_sampled().then(|| place.trace_id())
}

/// As [`exported_trace`], of the trace that the headers of a request carry.
pub(in crate::kernel) fn exported_trace_in(headers: &HeaderMap) -> Option<TraceId> {
    if !EXPORTS.load(Ordering::Relaxed) {
        return None;
    }
    let place = headers.get(TRACEPARENT)?.to_str().ok()?;
    let [_, trace, _, flags] = place.split('-').collect::<Vec<_>>()[..] else { return None };
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?);
    TraceId::from_hex(trace).ok().filter(|_| flags.is_sampled())
}

/// Names a span by what was found out after it had begun; to collectors only, a field `otel.name` comes
/// too late by then.
pub fn rename(span: &Span, name: String) {
    span.context().span().update_name(name);
}

/// Writes the trace of the current span into the headers of a request.
pub fn inject(headers: &mut HeaderMap) {
    let TraceContext { parent, state } = TraceContext::current();
    for (name, value) in [(TRACEPARENT, parent), (TRACESTATE, state)] {
        if !value.is_empty()
            && let Ok(mut value) = HeaderValue::try_from(value)
        {
            // The place is another one each time, which is not worth one in the tables of HTTP/2.
            value.set_sensitive(name == TRACEPARENT);
            headers.insert(name, value);
        }
    }
}

/// `traceparent` by W3C Trace Context, section 3.2: version, trace, span and flags in hexadecimal digits.
/// Not by the propagator, which formats five texts for it: every call of the mesh has one.
fn traceparent(place: &SpanContext) -> String {
    let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
    let parts: [(usize, &[u8]); 3] = [
        (3, &place.trace_id().to_bytes()),
        (36, &place.span_id().to_bytes()),
        (53, &[(place.trace_flags() & TraceFlags::SAMPLED).to_u8()]),
    ];
    for (begin, bytes) in parts {
        let digits = &mut text[begin..begin + 2 * bytes.len()];
        hex::encode_to_slice(bytes, digits).expect("two digits for each byte");
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// A place in a trace as envelopes carry it; empty when nothing is traced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceContext {
    /// `traceparent`: the trace and the span.
    pub parent: String,
    /// `tracestate`: what tracing systems add; empty when there is nothing.
    pub state: String,
}

impl TraceContext {
    /// That of the current span.
    pub fn current() -> Self {
        let context = Span::current().context();
        let span = context.span();
        match span.span_context() {
            place if place.is_valid() => {
                Self { parent: traceparent(place), state: place.trace_state().header() }
            }
            _ => Self::default(),
        }
    }
}

/// The trace that `traceparent` and `tracestate` of an envelope name; an empty context when they
/// name none.
pub fn extract_envelope(traceparent: &str, tracestate: &str) -> Context {
    if traceparent.is_empty() {
        return Context::new();
    }
    let entries = [(TRACEPARENT, traceparent), (TRACESTATE, tracestate)];
    let stated = entries.into_iter().filter(|(_, value)| !value.is_empty());
    let carrier: HashMap<_, _> =
        stated.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier)
}

/// Makes `span` a child of what [`extract`] found. To be called before the span is entered.
pub fn continue_trace(span: &Span, parent: Context) {
    // Fails only where no tracing is installed, as in unit tests: then there is no trace to join.
    let _ = span.set_parent(parent);
}

struct HeaderReader<'a>(&'a HeaderMap);

impl Extractor for HeaderReader<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const STATE: &str = "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE";

    #[test]
    fn a_trace_goes_on_over_headers_and_envelopes() {
        let provider = SdkTracerProvider::builder().build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let incoming = HeaderMap::from_iter([(TRACEPARENT, PARENT), (TRACESTATE, STATE)].map(
                |(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)),
            ));
            let span = tracing::info_span!("call");
            continue_trace(&span, extract(&incoming));
            let _entered = span.enter();

            let mut outgoing = HeaderMap::new();
            inject(&mut outgoing);
            let sent = outgoing[TRACEPARENT].to_str().expect("ascii");
            assert!(sent.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"), "{sent}");
            assert_ne!(sent, PARENT, "the span in between is the parent");
            assert_eq!(outgoing[TRACESTATE], STATE);
            let carried = TraceContext { parent: sent.to_owned(), state: STATE.to_owned() };
            assert_eq!(TraceContext::current(), carried);
            let mut by_propagator = HashMap::new();
            TraceContextPropagator::new()
                .inject_context(&Span::current().context(), &mut by_propagator);
            assert_eq!(by_propagator[TRACEPARENT], sent);

            let handled = tracing::info_span!("handle event");
            continue_trace(&handled, extract_envelope(&carried.parent, &carried.state));
            let _handled = handled.enter();
            assert_eq!(TraceContext::current().state, STATE);
        });
    }

    #[test]
    fn a_forged_traceparent_is_no_trace() {
        for text in ["", "00-zz-00f067aa0ba902b7-01", "no trace"] {
            let context = extract_envelope(text, STATE);
            assert!(!context.span().span_context().is_valid(), "{text}");
        }
    }

    #[test]
    fn a_tracestate_that_cannot_be_read_costs_no_trace() {
        let context = extract_envelope(PARENT, "no=list,=,");
        assert!(context.span().span_context().is_valid());
    }
}
