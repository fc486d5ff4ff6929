//! What is wrong with a module, found before anything is bound.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use prost_reflect::DescriptorPool;

use super::module::Module;
use crate::kernel::events::Consumer;
use crate::kernel::jobs::Job;
use crate::kernel::policy::{Audit, MethodPolicy, PolicyTable};
use crate::kernel::saga::Saga;

/// The contracts of a module that was found sound.
pub(super) struct Contracts {
    pub(super) pool: DescriptorPool,
    pub(super) policies: Arc<PolicyTable>,
    /// Whether calls of the module's own methods are recorded.
    pub(super) audited: bool,
}

impl Module {
    /// Refuses a module that contradicts itself or its contracts; every message says what to change.
    pub(super) fn validate(&self, name: &str) -> anyhow::Result<Contracts> {
        let pool = DescriptorPool::decode(self.descriptors)
            .context("the module's descriptors are no descriptor set")?;
        let policies =
            PolicyTable::compile(&pool).context("the contracts state no sound policy")?;
        self.check_presentation()?;
        self.check_services(&pool)?;
        self.check_dependencies(name, &pool)?;
        self.check_permissions(&policies)?;
        self.check_features(&policies)?;
        self.check_names()?;
        let audited = self.own_methods(&policies).any(|method| method.audit != Audit::None);
        Ok(Contracts { pool, policies: Arc::new(policies), audited })
    }

    fn check_presentation(&self) -> anyhow::Result<()> {
        match (&self.http, self.services.is_empty()) {
            (Some(_), false) => bail!("the module offers gRPC and HTTP: choose one"),
            (None, true) => bail!("the module offers nothing: add a service with Module::grpc"),
            _ => Ok(()),
        }
    }

    fn check_services(&self, pool: &DescriptorPool) -> anyhow::Result<()> {
        refuse_duplicates("gRPC service", self.services.iter().copied())?;
        for service in &self.services {
            ensure!(
                pool.get_service_by_name(service).is_some(),
                "service {service} stands in no contract of the module: add its proto file"
            );
        }
        Ok(())
    }

    /// A service may be depended on if its contract is known: `mainstay.identity.v1` is promised by
    /// `identity-svc`.
    fn check_dependencies(&self, name: &str, pool: &DescriptorPool) -> anyhow::Result<()> {
        refuse_duplicates("dependency", self.dependencies.iter().copied())?;
        let known: BTreeSet<String> =
            pool.services().filter_map(|service| owner(service.package_name())).collect();
        for dependency in &self.dependencies {
            ensure!(*dependency != name, "{name} depends on itself: drop the dependency");
            ensure!(
                known.contains(*dependency),
                "dependency {dependency} is a service of no contract; known are {}",
                known.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
            );
        }
        Ok(())
    }

    fn check_permissions(&self, policies: &PolicyTable) -> anyhow::Result<()> {
        refuse_duplicates("permission", self.permissions.iter().map(|held| held.name.as_ref()))?;
        let used = self.permissions_used(policies);
        for (permission, method) in &used {
            ensure!(
                self.permissions.iter().any(|declared| declared.name == *permission),
                "permission {permission} of {method} is declared nowhere: add \
                 Module::permission(\"{permission}\", …)"
            );
            ensure!(
                self.authorizer.is_some(),
                "{method} needs the permission {permission} and nobody decides on it: add \
                 Module::authorizer(…)"
            );
        }
        for declared in self.permissions.iter().filter(|declared| !declared.checked_in_code) {
            ensure!(
                used.contains_key(declared.name.as_ref()),
                "permission {} is declared and no method of the module states it: drop it, or use \
                 Module::permission_checked_in_code",
                declared.name
            );
        }
        Ok(())
    }

    fn check_features(&self, policies: &PolicyTable) -> anyhow::Result<()> {
        let needy = self.own_methods(policies).find(|method| method.feature.is_some());
        match needy {
            Some(method) if self.entitlements.is_none() => bail!(
                "{} needs a feature and nobody knows the plans: add Module::entitlements(…)",
                method.full_name
            ),
            _ => Ok(()),
        }
    }

    /// Permissions that the module's own methods state, each with one such method.
    fn permissions_used<'a>(&self, policies: &'a PolicyTable) -> BTreeMap<&'a str, &'a str> {
        self.own_methods(policies)
            .filter_map(|method| Some((method.access.permission()?, method.full_name.as_str())))
            .collect()
    }

    fn own_methods<'a>(
        &self,
        policies: &'a PolicyTable,
    ) -> impl Iterator<Item = &'a Arc<MethodPolicy>> {
        policies.methods().filter(|method| {
            let service = method.full_name.split('/').next().unwrap_or_default();
            self.services.contains(&service)
        })
    }

    fn check_names(&self) -> anyhow::Result<()> {
        refuse_duplicates("job", self.jobs.iter().map(Job::name))?;
        for job in &self.jobs {
            let (name, reserved) = (job.name(), ["kernel.", "saga."]);
            if let Some(prefix) = reserved.into_iter().find(|prefix| name.starts_with(prefix)) {
                bail!("job {name} has a name of the kernel's: drop `{prefix}`");
            }
            job.validate()?;
        }
        refuse_duplicates("saga", self.sagas.iter().map(Saga::name))?;
        for saga in &self.sagas {
            saga.validate()?;
        }
        refuse_duplicates("consumer", self.consumers.iter().map(Consumer::name))
    }
}

/// The service that promises a package: the area before the version, and `-svc`.
fn owner(package: &str) -> Option<String> {
    let area = package.rsplit('.').nth(1)?;
    Some(format!("{}-svc", area.replace('_', "-")))
}

fn refuse_duplicates<'a>(
    what: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> anyhow::Result<()> {
    let mut seen = BTreeSet::new();
    for name in names {
        ensure!(seen.insert(name), "{what} {name} is declared twice: keep one");
    }
    Ok(())
}
