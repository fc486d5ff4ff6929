//! What methods state that something outside of the contracts has to agree with.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use prost_reflect::{DynamicMessage, Value};

use super::breaks::options;
use super::{CONTRACTS, set};

const OPTION: &str = "mainstay.policy.v1.method";

/// The area whose service every process with a database offers beside its own.
const EVERYWHERE: &str = "operations";

/// The callers that methods state, by area such as `identity`; those of operations are in each.
pub(crate) fn callers(root: &Path) -> anyhow::Result<BTreeMap<String, BTreeSet<String>>> {
    let mut callers: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for_each_policy(root, |area, policy| {
        let stated = policy.get_field_by_name("callers");
        let stated = stated.as_deref().and_then(Value::as_list).unwrap_or_default();
        let names = stated.iter().filter_map(Value::as_str).map(str::to_owned);
        callers.entry(area.to_owned()).or_default().extend(names);
    })?;
    let everywhere = callers.remove(EVERYWHERE).unwrap_or_default();
    callers.values_mut().for_each(|of_area| of_area.extend(everywhere.iter().cloned()));
    Ok(callers)
}

/// The rate classes that methods state.
pub(crate) fn rate_classes(root: &Path) -> anyhow::Result<BTreeSet<String>> {
    let mut classes = BTreeSet::new();
    for_each_policy(root, |_, policy| {
        let stated = policy.get_field_by_name("rate_class");
        let stated = stated.as_deref().and_then(Value::as_str).unwrap_or_default();
        classes.extend((!stated.is_empty()).then(|| stated.to_owned()));
    })?;
    Ok(classes)
}

/// Calls with the area and the policy of each method of ours.
fn for_each_policy(
    root: &Path,
    mut found: impl FnMut(&str, &DynamicMessage),
) -> anyhow::Result<()> {
    let pool = set::read(&set::compile(&root.join(CONTRACTS))?)?;
    for service in pool.services().filter(|service| set::is_ours(&service.parent_file())) {
        let area = service.package_name().split('.').nth(1).unwrap_or_default();
        for method in service.methods() {
            if let Some(policy) = options::read(&pool, &method.options(), OPTION) {
                found(area, &policy);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace;

    #[test]
    fn the_records_of_audit_are_for_operators_and_accounts_are_everybodys() {
        let callers = callers(&workspace::root()).unwrap();
        assert_eq!(callers["audit"], BTreeSet::from(["operator".to_owned()]));
        assert!(callers["auth"].contains("*"));
        assert!(callers["identity"].contains("auth-svc"));
        assert!(!callers.contains_key(EVERYWHERE));
    }

    #[test]
    fn rate_classes_are_those_of_all_services() {
        let classes = rate_classes(&workspace::root()).unwrap();
        assert!(["auth", "refresh", "webhook"].iter().all(|class| classes.contains(*class)));
        assert!(!classes.contains(""), "who states none has the default");
    }
}
