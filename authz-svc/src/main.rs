//! The authz service.

fn main() {}
