//! Who may call a service of the mesh, by its contracts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use prost_reflect::Value;

use super::breaks::options;
use super::{CONTRACTS, set};

const OPTION: &str = "mainstay.policy.v1.method";

/// The area whose service every process with a database offers beside its own.
const EVERYWHERE: &str = "operations";

/// The callers that methods state, by area such as `identity`; those of operations are in each.
pub(crate) fn callers(root: &Path) -> anyhow::Result<BTreeMap<String, BTreeSet<String>>> {
    let pool = set::read(&set::compile(&root.join(CONTRACTS))?)?;
    let mut callers: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for service in pool.services().filter(|service| set::is_ours(&service.parent_file())) {
        let area = service.package_name().split('.').nth(1).unwrap_or_default().to_owned();
        for method in service.methods() {
            let Some(policy) = options::read(&pool, &method.options(), OPTION) else { continue };
            let stated = policy.get_field_by_name("callers");
            let stated = stated.as_deref().and_then(Value::as_list).unwrap_or_default();
            let names = stated.iter().filter_map(Value::as_str).map(str::to_owned);
            callers.entry(area.clone()).or_default().extend(names);
        }
    }
    let everywhere = callers.remove(EVERYWHERE).unwrap_or_default();
    callers.values_mut().for_each(|of_area| of_area.extend(everywhere.iter().cloned()));
    Ok(callers)
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
}
