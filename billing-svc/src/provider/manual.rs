//! No payment at all: a plan is in force at once. For trying out, for invoices on paper, and for
//! installations that sell nothing.

use async_trait::async_trait;
use mainstay::kernel::Result;

use crate::domain::{Checkout, PaymentProvider, ProviderSubscription, Purchase};

/// The provider that takes no money.
pub struct Manual;

#[async_trait]
impl PaymentProvider for Manual {
    fn name(&self) -> &'static str {
        "manual"
    }

    async fn purchase(&self, _purchase: Purchase) -> Result<Checkout> {
        Ok(Checkout::Active { period_end: None })
    }

    async fn change(
        &self,
        _running: Option<&ProviderSubscription>,
        _purchase: Purchase,
    ) -> Result<Checkout> {
        Ok(Checkout::Active { period_end: None })
    }

    async fn cancel(
        &self,
        _running: Option<&ProviderSubscription>,
        _checkout: Option<&str>,
    ) -> Result<()> {
        Ok(())
    }
}
