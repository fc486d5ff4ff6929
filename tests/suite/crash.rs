//! kill -9 in each window of the way of an event, and in the middle of a compensation: nothing that
//! was acknowledged is lost, no effect is doubled.
//!
//! A house of processes lives one life after the other on the same databases and the same broker.
//! Each life ends by SIGKILL at a failpoint of the kernel; the last one is let live, and finishes
//! what the others left behind.

#[path = "crash/house.rs"]
mod house;
#[path = "crash/process.rs"]
mod process;
#[path = "crash/trips.rs"]
mod trips;

use std::time::{Duration, Instant};

use mainstay::kernel::failpoint::Failpoint;

use house::House;
use trips::Trips;

/// How many processes die in each window.
const LIVES: u32 = 200;

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_the_commit_a_write_and_its_event_never_were() {
    let house = House::new().await;
    let acknowledged = house.live_and_die(Failpoint::BeforeCommit, 7).await;
    let written = house.written_and_in_effect_once(&acknowledged).await;
    assert_eq!(written, acknowledged.len(), "what was not acknowledged was not committed");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_the_commit_an_event_goes_out_although_nobody_knows_of_it() {
    let house = House::new().await;
    let acknowledged = house.live_and_die(Failpoint::AfterCommit, 7).await;
    let written = house.written_and_in_effect_once(&acknowledged).await;
    assert_eq!(written, acknowledged.len() + LIVES as usize, "one of each life was not told");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_the_brokers_acknowledgement_and_the_mark_a_relay_repeats_itself() {
    let house = House::new().await;
    let acknowledged = house.live_and_die(Failpoint::AfterAck, 3).await;
    let written = house.written_and_in_effect_once(&acknowledged).await;
    let repeated = house.published().await - written;
    assert!(repeated >= LIVES as usize, "{repeated} records came twice: not one for each life");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_effect_and_offset_a_consumer_does_nothing_twice() {
    let house = House::new().await;
    let acknowledged = house.live_and_die(Failpoint::AfterEffect, 5).await;
    house.written_and_in_effect_once(&acknowledged).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_of_a_compensation_a_saga_is_undone_as_a_whole_and_once() {
    let trips = Trips::new().await;
    let acknowledged = trips.live_and_die(Failpoint::MidCompensation, 4).await;
    trips.done_or_undone_once(&acknowledged).await;
}
