//! Policies of methods.

use prost_reflect::prost_types::method_options::IdempotencyLevel;
use prost_reflect::{DynamicMessage, MethodDescriptor, ServiceDescriptor, Value};

use super::options::{self, flag, nanoseconds, read, string_at, text, texts};
use super::{Faults, access, headers, streams};

/// Deadline of a service that states none.
const DEFAULT_DEADLINE_NANOSECONDS: i128 = 5_000_000_000;

/// In nanoseconds.
const ONE_SECOND: i128 = 1_000_000_000;

pub(super) fn check(service: &ServiceDescriptor, faults: &mut Faults) {
    let pool = service.parent_pool();
    let defaults = read(pool, &service.options(), options::SERVICE);
    if defaults.as_ref().is_some_and(|defaults| !is_positive(defaults, "deadline")) {
        faults.add(
            &service.parent_file(),
            service.full_name(),
            "the deadline is not longer than 0 s; state one such as `deadline: { seconds: 5 }`",
        );
    }
    for method in service.methods() {
        let mut found = Vec::new();
        match read(pool, &method.options(), options::METHOD) {
            Some(policy) => {
                let method = Stated { method: method.clone(), policy, service: defaults.clone() };
                method.check(&mut found);
            }
            None => found.push(
                "states no policy; add `option (mainstay.policy.v1.method) = { … };` with \
                 one of public, authenticated, permission, internal, webhook"
                    .to_owned(),
            ),
        }
        for fault in found {
            faults.add(&method.parent_file(), method.full_name(), fault);
        }
    }
}

/// A method with what is stated about it.
pub(super) struct Stated {
    pub(super) method: MethodDescriptor,
    pub(super) policy: DynamicMessage,
    service: Option<DynamicMessage>,
}

impl Stated {
    fn check(&self, faults: &mut Vec<String>) {
        access::check(self, faults);
        self.check_fields(faults);
        self.check_change(faults);
        self.check_deadline(faults);
        self.check_callers(faults);
        headers::check(&self.policy, faults);
        streams::check(self, faults);
        self.check_cache(faults);
    }

    /// Whether either side sends a stream, which may well last longer than any one call.
    pub(super) fn is_streaming(&self) -> bool {
        self.method.is_client_streaming() || self.method.is_server_streaming()
    }

    pub(super) fn is_routed(&self) -> bool {
        let pool = self.method.parent_pool();
        read(pool, &self.method.options(), options::HTTP).is_some()
    }

    fn level(&self) -> IdempotencyLevel {
        let declared = self.method.method_descriptor_proto().options.as_ref();
        declared.map_or(IdempotencyLevel::IdempotencyUnknown, |options| options.idempotency_level())
    }

    fn check_fields(&self, faults: &mut Vec<String>) {
        let input = self.method.input();
        let owner = text(&self.policy, "owner");
        if !owner.is_empty() {
            if let Err(fault) = string_at(&input, &owner) {
                faults.push(format!(
                    "the owner {owner:?} cannot be found: {fault}; name a string field of {}",
                    input.full_name()
                ));
            }
            if text(&self.policy, "permission").is_empty() {
                faults.push(
                    "states an owner but no permission that the owner could do without; state \
                     `permission`, or leave `owner` out"
                        .to_owned(),
                );
            }
        }
        let resource = text(&self.policy, "resource");
        for path in super::template::placeholders(&resource) {
            let found = path.and_then(|path| string_at(&input, path));
            if let Err(fault) = found {
                faults.push(format!(
                    "the resource {resource:?} cannot be filled in: {fault}; name string fields \
                     of {}",
                    input.full_name()
                ));
            }
        }
    }

    /// A method that may change something is to say how often and whether it is recorded.
    fn check_change(&self, faults: &mut Vec<String>) {
        if self.level() == IdempotencyLevel::NoSideEffects {
            return;
        }
        let has_class = |message: &DynamicMessage| !text(message, "rate_class").is_empty();
        if self.is_routed()
            && !has_class(&self.policy)
            && !self.service.as_ref().is_some_and(has_class)
        {
            faults.push(
                "can change something and is open to the outside, but has no rate class; state \
                 `rate_class`, here or for the service"
                    .to_owned(),
            );
        }
        let audit = self.policy.get_field_by_name("audit");
        if audit.as_deref().and_then(Value::as_enum_number).unwrap_or_default() == 0 {
            faults.push(
                "can change something and makes no choice about audit; state `audit: AUDIT_CALL`, \
                 AUDIT_REQUEST or AUDIT_NONE, or `option idempotency_level = NO_SIDE_EFFECTS;` if \
                 it changes nothing"
                    .to_owned(),
            );
        }
    }

    fn check_deadline(&self, faults: &mut Vec<String>) {
        let Some(deadline) = options::message(&self.policy, "deadline") else { return };
        let limit = self.service.as_ref().and_then(|service| options::message(service, "deadline"));
        let limit = limit.as_ref().map_or(DEFAULT_DEADLINE_NANOSECONDS, nanoseconds);
        if !is_positive(&self.policy, "deadline") {
            faults.push("the deadline is not longer than 0 s; state a longer one".to_owned());
        } else if nanoseconds(&deadline) > limit && !self.is_streaming() {
            faults.push(
                "the deadline is longer than the service's; state a shorter one, or a longer one \
                 for the service"
                    .to_owned(),
            );
        }
    }

    fn check_callers(&self, faults: &mut Vec<String>) {
        let callers = texts(&self.policy, "callers");
        for caller in callers.iter().filter(|caller| !is_service(caller)) {
            faults.push(format!(
                "the caller {caller:?} is no service; name \"gateway\", \"operator\", \"<name>-svc\" or \"*\""
            ));
        }
        if flag(&self.policy, "internal") && callers.is_empty() {
            faults.push(
                "is internal and names no callers, so that nobody could call it; state `callers`"
                    .to_owned(),
            );
        }
    }

    fn check_cache(&self, faults: &mut Vec<String>) {
        let Some(cache) = options::message(&self.policy, "cache") else { return };
        if self.level() != IdempotencyLevel::NoSideEffects {
            faults.push(
                "can change something, so that no reply may be reused; leave `cache` out, or state \
                 `option idempotency_level = NO_SIDE_EFFECTS;`"
                    .to_owned(),
            );
        }
        let max_age = options::message(&cache, "max_age").map_or(0, |age| nanoseconds(&age));
        if max_age < ONE_SECOND || max_age % ONE_SECOND != 0 {
            faults.push(
                "the cache's max_age is not 1 s or more in whole seconds; state one such as \
                 `cache: { max_age: { seconds: 60 } }`"
                    .to_owned(),
            );
        }
        if flag(&cache, "shared") && !flag(&self.policy, "public") {
            faults.push(
                "shared caches would serve what is one caller's own to others; leave `shared` out, \
                 or state `public`"
                    .to_owned(),
            );
        }
    }
}

fn is_positive(policy: &DynamicMessage, field: &str) -> bool {
    options::message(policy, field).is_none_or(|duration| nanoseconds(&duration) > 0)
}

/// `gateway`, `operator`, `*`, or lower-case words joined by hyphens of which the last is `svc`.
fn is_service(caller: &str) -> bool {
    let is_word = |word: &str| {
        !word.is_empty() && word.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
    };
    matches!(caller, "gateway" | "operator" | "*")
        || caller.strip_suffix("-svc").is_some_and(|name| {
            name.starts_with(|first: char| first.is_ascii_lowercase())
                && name.split('-').all(is_word)
        })
}
