//! The catalogue of permissions: what the services declare of themselves.

use mainstay::kernel::Result;

use super::App;
use crate::domain::{DeclaredPermission, PermissionName};

impl App {
    /// Up to `limit` declared permissions by name, those after `after`.
    pub async fn permission_list(
        &self,
        after: Option<&PermissionName>,
        limit: u64,
    ) -> Result<Vec<DeclaredPermission>> {
        self.store.permission_list(after, limit).await
    }

    /// Takes in what a service declares. Roles keep permissions that nobody declares any more: the
    /// service may come back with them, and until then they allow nothing.
    pub async fn service_declared(
        &self,
        service: &str,
        declared: &[DeclaredPermission],
    ) -> Result<()> {
        self.store.permission_replace(service, declared).await
    }
}
