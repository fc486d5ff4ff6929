//! Messages of the contract become types that cannot be wrong.

use mainstay::contract::authz::BindingId;
use mainstay::contract::authz::proto::{CheckRequest, ListRoleBindingsRequest, Role};
use mainstay::kernel::call;
use mainstay::kernel::error::{Error, Result, UNAUTHENTICATED};
use mainstay::kernel::page::{PageRequest, PageToken};
use prost_types::FieldMask;
use tonic::metadata::MetadataMap;

use crate::domain::{
    PermissionName, PermissionPattern, Question, RoleKey, RoleName, RoleUpdate, Subject,
};

/// Who calls: the user, or the service when it calls for nobody.
pub fn caller() -> Result<Subject> {
    let call =
        call::current().ok_or_else(|| Error::new(UNAUTHENTICATED, "nobody is known to call"))?;
    Subject::parse("caller", &call.actor())
        .map_err(|error| Error::new(UNAUTHENTICATED, "the caller has no name").because(error))
}

/// A subject; the caller when empty and there is one.
pub fn subject(field: &str, text: &str, caller: Option<&Subject>) -> Result<Subject> {
    match caller {
        Some(caller) if text.is_empty() => Ok(caller.clone()),
        _ => Subject::parse(field, text),
    }
}

/// Permissions and patterns of a role; errors name the item.
pub fn patterns(field: &str, texts: &[String]) -> Result<Vec<PermissionPattern>> {
    let item = |(index, text): (usize, &String)| {
        PermissionPattern::parse(&format!("{field}[{index}]"), text)
    };
    texts.iter().enumerate().map(item).collect()
}

/// A question; `prefix` is where it stands in its request.
pub fn question(prefix: &str, check: CheckRequest, caller: Option<&Subject>) -> Result<Question> {
    Ok(Question {
        subject: subject(&format!("{prefix}subject"), &check.subject, caller)?,
        permission: PermissionName::parse(&format!("{prefix}permission"), &check.permission)?,
        resource: check.resource,
    })
}

/// Questions that each name their subject.
pub fn questions(checks: Vec<CheckRequest>) -> Result<Vec<Question>> {
    let item =
        |(index, check): (usize, CheckRequest)| question(&format!("checks[{index}]."), check, None);
    checks.into_iter().enumerate().map(item).collect()
}

/// The role after which a page begins.
pub fn role_position(page: &PageRequest) -> Result<Option<RoleName>> {
    position(page, |name| RoleName::parse("name", name))
}

/// The binding after which a page begins.
pub fn binding_position(page: &PageRequest) -> Result<Option<BindingId>> {
    position(page, BindingId::parse)
}

/// The permission after which a page begins.
pub fn permission_position(page: &PageRequest) -> Result<Option<PermissionName>> {
    position(page, |name| PermissionName::parse("name", name))
}

fn position<T>(page: &PageRequest, read: impl Fn(&str) -> Result<T>) -> Result<Option<T>> {
    let Some(token) = &page.after else { return Ok(None) };
    let [key] = token.columns()?;
    read(key).map(Some).map_err(|_| PageToken::refused())
}

/// Whose bindings and of which role.
pub fn binding_filter(
    request: &ListRoleBindingsRequest,
) -> Result<(Option<Subject>, Option<RoleKey>)> {
    let stated = |text: &str| !text.is_empty();
    let subject = stated(&request.subject).then(|| Subject::parse("subject", &request.subject));
    let role = stated(&request.role_id).then(|| RoleKey::parse(&request.role_id));
    Ok((subject.transpose()?, role))
}

/// The new values that a mask selects, and the version they are meant for. With no mask, the fields
/// that have a value (AIP-134).
pub fn role_update(
    role: Role,
    mask: Option<FieldMask>,
    if_match: Option<String>,
) -> Result<RoleUpdate> {
    let paths = mask.unwrap_or_default().paths;
    let selected = match paths.is_empty() {
        true => Selected {
            description: !role.description.is_empty(),
            permissions: !role.permissions.is_empty(),
        },
        false => selected(&paths)?,
    };
    let permissions = selected
        .permissions
        .then(|| patterns("role.permissions", &role.permissions))
        .transpose()?;
    Ok(RoleUpdate {
        permissions,
        etag: expected_etag(if_match, &role.etag)?,
        description: selected.description.then_some(role.description),
    })
}

/// The value of the `if-match` header (RFC 9110 section 13.1.1), when sent.
pub fn if_match(metadata: &MetadataMap) -> Result<Option<String>> {
    let text = metadata.get("if-match").map(|value| value.to_str());
    let text = text.transpose().map_err(|_| Error::invalid("if-match", "must be an etag"))?;
    Ok(text.map(str::to_owned))
}

#[derive(Default)]
struct Selected {
    description: bool,
    permissions: bool,
}

fn selected(paths: &[String]) -> Result<Selected> {
    let mut selected = Selected::default();
    for path in paths {
        match path.as_str() {
            "*" => selected = Selected { description: true, permissions: true },
            "description" => selected.description = true,
            "permissions" => selected.permissions = true,
            // Sent back from a read: a condition of the change, not a part of it.
            "etag" => {}
            name => return Err(unchangeable(name)),
        }
    }
    Ok(selected)
}

fn unchangeable(name: &str) -> Error {
    let reason = match name {
        "name" => "is given at creation and stays",
        "id" | "built_in" | "create_time" | "update_time" => "is given by the platform",
        _ => "is no field of a role that can be changed",
    };
    Error::invalid("update_mask", format!("{name} {reason}")).field(format!("role.{name}"), reason)
}

/// The version that the caller saw: by header or by the etag in the body, which must not differ.
fn expected_etag(if_match: Option<String>, etag: &str) -> Result<Option<String>> {
    let header = if_match.as_deref().and_then(bare_etag);
    let body = bare_etag(etag);
    if header.is_some() && body.is_some() && header != body {
        return Err(Error::invalid("role.etag", "differs from the header if-match"));
    }
    Ok(header.or(body).map(str::to_owned))
}

/// An etag without its quotes; `None` for `*` and for nothing, which stand for any version.
fn bare_etag(text: &str) -> Option<&str> {
    let text = text.trim();
    let bare = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    (!bare.is_empty() && bare != "*").then_some(bare)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where a value is missing")]

    use super::*;

    fn mask(paths: &[&str]) -> Option<FieldMask> {
        Some(FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() })
    }

    #[test]
    fn a_mask_selects_and_no_mask_takes_what_has_a_value() {
        let role = Role { description: "new".into(), name: "x".into(), ..Role::default() };
        let update = role_update(role.clone(), None, None).unwrap();
        assert_eq!((update.description.as_deref(), update.permissions), (Some("new"), None));
        let update = role_update(role, mask(&["permissions", "etag"]), None).unwrap();
        assert_eq!((update.description, update.permissions), (None, Some(Vec::new())));
    }

    #[test]
    fn what_cannot_be_changed_is_refused_by_name() {
        for path in ["name", "id", "built_in", "create_time", "nonsense", ""] {
            let error = role_update(Role::default(), mask(&[path]), None).unwrap_err();
            let fields: Vec<_> = error.violations().iter().map(|v| v.field.as_str()).collect();
            assert_eq!(fields, ["update_mask", &format!("role.{path}")]);
        }
    }

    #[test]
    fn header_and_body_name_the_same_version_or_any() {
        let etag = |header: Option<&str>, body: &str| {
            let role = Role { etag: body.into(), ..Role::default() };
            role_update(role, mask(&["*"]), header.map(str::to_owned)).map(|update| update.etag)
        };
        assert_eq!(etag(None, "").unwrap(), None);
        assert_eq!(etag(Some("*"), "").unwrap(), None);
        assert_eq!(etag(Some("\"v1\""), "v1").unwrap().as_deref(), Some("v1"));
        assert_eq!(etag(Some("\"v1\""), "").unwrap().as_deref(), Some("v1"));
        assert!(etag(Some("\"v2\""), "v1").is_err());
    }

    #[test]
    fn a_malformed_question_is_named_by_its_place() {
        let good = CheckRequest {
            subject: "service:identity-svc".into(),
            permission: "a.b.c".into(),
            resource: String::new(),
        };
        let bad = CheckRequest { subject: String::new(), ..good.clone() };
        let error = questions(vec![good, bad]).unwrap_err();
        assert_eq!(error.violations()[0].field, "checks[1].subject");
    }
}
