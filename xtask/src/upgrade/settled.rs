//! What must hold once the traffic has ended: everything that was written is there, everywhere, once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::edge::Edge;
use super::ground::Ground;
use super::load::Written;
use super::person::Person;
use super::wait;
use crate::mesh::{SERVICES, Service};
use crate::psql::Psql;
use crate::real;

/// How long events may go on arriving.
const PATIENCE: Duration = Duration::from_secs(60);

/// The largest page of every list.
const PAGE: usize = 200;

/// What no service's tables may hold in the end, and why not.
const LEFT: [(&str, &str); 5] = [
    ("outbox", "events wait in the outbox"),
    ("dead_letters", "dead letters"),
    ("consumer_attempts", "events are tried again"),
    ("job where state = 'failed'", "jobs have failed"),
    ("saga where state in ('running', 'compensating', 'compensated')", "sagas are not completed"),
];

/// Waits until everything has arrived, and looks whether it did so once.
pub(super) fn require(
    ground: &Ground,
    edge: &Arc<Edge>,
    written: &Written,
) -> anyhow::Result<usize> {
    let database = ground.database()?;
    wait::until(PATIENCE, || {
        let left = left(&database)?;
        Ok((!left.is_empty()).then(|| left.join(", ")))
    })?;
    let admin = Person::administrator(edge, &ground.home)?;
    for (id, email) in &written.users {
        let user = admin.get(&format!("/api/v1/users/{id}"))?;
        admin.expect("the address of a user", &user["email"], &Value::from(email.as_str()));
        let bindings = admin.get(&format!("/api/v1/role-bindings?subject=user:{id}"))?;
        let count = bindings.as_array().map(Vec::len);
        admin.expect("how many roles a user has", &count.into(), &1.into());
    }
    let users: Vec<&str> = written.users.iter().map(|(id, _)| id.as_str()).collect();
    let roles: Vec<&str> = written.roles.iter().map(|(id, _)| id.as_str()).collect();
    let bindings: Vec<&str> = written.bindings.iter().map(String::as_str).collect();
    let mut events = 0;
    for (action, key, expected) in [
        ("auth.v1.AccountRegistered", "user_id", &users),
        ("identity.v1.UserCreated", "user_id", &users),
        ("authz.v1.RoleChanged", "role_id", &roles),
        ("authz.v1.RoleBound", "binding_id", &bindings),
        ("authz.v1.RoleUnbound", "binding_id", &bindings),
    ] {
        wait::until(PATIENCE, || {
            let counts = counts(&admin, action, key)?;
            Ok(objection(action, &counts, expected))
        })?;
        events += expected.len();
    }
    let verdict = admin.post("/api/v1/audit/verify", &serde_json::json!({}))?;
    admin.expect("whether the trail is intact", &verdict["intact"], &true.into());
    edge.record().require_none_failed()?;
    Ok(events)
}

/// What is left in the tables, a sentence each.
fn left(database: &Psql) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for service in SERVICES.iter().filter(|service| real::has_database(service)) {
        for (what, objection) in LEFT {
            let count = count(database, service, what)?;
            if count > 0 {
                found.push(format!("{}: {objection}: {count}", service.name));
            }
        }
    }
    Ok(found)
}

fn count(database: &Psql, service: &Service, what: &str) -> anyhow::Result<u64> {
    let (table, condition) = what.split_once(' ').unwrap_or((what, ""));
    let schema = service.section;
    // Not every service has jobs and sagas.
    let exists = database.run(&format!("select to_regclass('{schema}.{table}') is not null"))?;
    if exists.trim() != "t" {
        return Ok(0);
    }
    let said = database.run(&format!("select count(*) from {schema}.{table} {condition}"))?;
    said.trim().parse().with_context(|| format!("{schema}.{table} cannot be counted"))
}

/// How many records of an action the trail has for each value of a field.
fn counts(admin: &Person<'_>, action: &str, key: &str) -> anyhow::Result<BTreeMap<String, usize>> {
    let mut counts = BTreeMap::new();
    let first = format!("/api/v1/audit/events?action={action}&page_size={PAGE}");
    let mut path = first.clone();
    loop {
        let (events, next) = admin.page(&path)?;
        let Some(events) = events.as_array() else { bail!("the trail is no list") };
        for event in events {
            let value = event["details"][key].as_str().unwrap_or_default();
            *counts.entry(value.to_owned()).or_default() += 1;
        }
        match next {
            Some(cursor) => path = format!("{first}&cursor={cursor}"),
            None => return Ok(counts),
        }
    }
}

fn objection(action: &str, counts: &BTreeMap<String, usize>, expected: &[&str]) -> Option<String> {
    let count = |id: &&&str| counts.get(**id).copied().unwrap_or_default();
    let missing = expected.iter().filter(|id| count(id) == 0).count();
    let several = expected.iter().filter(|id| count(id) > 1).count();
    (missing + several > 0).then(|| {
        format!(
            "of {} times {action} the trail has {missing} not at all and {several} several times",
            expected.len()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_or_there_twice_is_told() {
        let counts = BTreeMap::from([("a".to_owned(), 1), ("b".to_owned(), 2)]);
        assert_eq!(objection("x.Done", &counts, &["a"]), None);
        assert_eq!(
            objection("x.Done", &counts, &["a", "b", "c"]).unwrap(),
            "of 3 times x.Done the trail has 1 not at all and 1 several times"
        );
    }
}
