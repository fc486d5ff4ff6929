//! What anyone may call is a checked-in list.

use mainstay::contract;
use mainstay::kernel::policy::{Access, PolicyTable};

const LISTED: &str = include_str!("../../docs/public-routes.txt");

#[test]
fn no_method_becomes_public_unnoticed() {
    let policies = PolicyTable::compile(contract::pool()).unwrap();
    let mut public: Vec<_> = policies
        .methods()
        .filter(|method| matches!(method.access, Access::Public | Access::Webhook))
        .map(|method| method.full_name.as_str())
        .collect();
    public.sort_unstable();
    let listed: Vec<_> = LISTED.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(public, listed, "docs/public-routes.txt does not say what the contracts do");
}
