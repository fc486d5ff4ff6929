//! The callers that the chart lets through are those that the contracts state.

use std::path::Path;

use serde_json::Value;

use super::helm::default_values;
use crate::mesh::SERVICES;
use crate::proto;

/// Every service whose `callers` in the chart's values are not those of its contracts, or whose name,
/// port or table are not those of its binary.
pub(super) fn faults(root: &Path) -> anyhow::Result<Vec<String>> {
    let services = default_values(root)?["services"].take();
    let stated = proto::callers(root)?;
    let mut faults = Vec::new();
    for service in &SERVICES {
        let values = &services[service.name];
        if values["port"] != service.port || values["section"] != service.section {
            faults.push(format!(
                "services.{} has another port or section than its binary",
                service.name
            ));
        }
        if values["edge"] == Value::Bool(true) {
            continue;
        }
        let Some(wanted) = stated.get(service.section) else { continue };
        let mut given: Vec<_> = values["callers"]
            .as_array()
            .map(|callers| callers.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
        given.sort_unstable();
        // Whoever is in the mesh is any service; the operator stands outside of the platform's pods.
        let all = wanted.contains("*");
        let relevant =
            wanted.iter().filter(|caller| !all || *caller == "*" || *caller == "operator");
        let wanted: Vec<_> = relevant.map(String::as_str).collect();
        if given != wanted {
            faults.push(format!(
                "services.{}.callers is {given:?}, and the contracts say {wanted:?}",
                service.name
            ));
        }
    }
    let known = |name: &String| SERVICES.iter().any(|service| service.name == *name);
    let unknown = services.as_object().into_iter().flat_map(|it| it.keys()).filter(|it| !known(it));
    faults.extend(unknown.map(|name| format!("services.{name} is no service of the platform")));
    Ok(faults)
}
