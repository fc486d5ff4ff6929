//! The audit service.

fn main() {}
