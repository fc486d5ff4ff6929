//! Events: delivered at least once, in effect exactly once, whatever dies in between.

mod bus;
mod consumer;
mod crash;
mod faults;
mod schemas;
