//! Messages of the contract become types that cannot be wrong.

use mainstay::contract::authz::BindingId;
use mainstay::contract::authz::proto::{CheckRequest, ListRoleBindingsRequest, Role};
use mainstay::kernel::call;
use mainstay::kernel::error::{Error, Result, UNAUTHENTICATED};
use mainstay::kernel::etag::IfMatch;
use mainstay::kernel::page::{PageRequest, PageToken};
use prost_types::FieldMask;

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
pub fn role_update(role: Role, mask: Option<FieldMask>, if_match: IfMatch) -> Result<RoleUpdate> {
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
        expected: if_match.and("role.etag", &role.etag)?,
        description: selected.description.then_some(role.description),
    })
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
        let update = role_update(role.clone(), None, IfMatch::default()).unwrap();
        assert_eq!((update.description.as_deref(), update.permissions), (Some("new"), None));
        let update = role_update(role, mask(&["permissions", "etag"]), IfMatch::default()).unwrap();
        assert_eq!((update.description, update.permissions), (None, Some(Vec::new())));
    }

    #[test]
    fn what_cannot_be_changed_is_refused_by_name() {
        for path in ["name", "id", "built_in", "create_time", "nonsense", ""] {
            let error =
                role_update(Role::default(), mask(&[path]), IfMatch::default()).unwrap_err();
            let fields: Vec<_> = error.violations().iter().map(|v| v.field.as_str()).collect();
            assert_eq!(fields, ["update_mask", &format!("role.{path}")]);
        }
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
