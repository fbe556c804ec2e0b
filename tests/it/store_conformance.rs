//! What every store must do, written against the trait alone, and what the embedded one does besides.

mod commands;
mod parking;
mod races;
mod reading;
mod samples;
mod sqlite;
mod sqlite_damage;
mod sqlite_faults;
mod suite;
mod tools;

use std::sync::Arc;

use holdpoint::store::Store;

/// The whole suite; each case gets a store of its own that holds nothing.
async fn conformance(make: impl Fn() -> Arc<dyn Store>) {
    suite::every_case(&make).await;
    tools::a_list_is_compared_written_and_told_in_one(make()).await;
    tools::a_baseline_is_open_until_the_first_list_was_read_to_its_end(make()).await;
    tools::a_definition_is_accepted_once_and_only_while_it_is_current(make()).await;
    tools::approving_a_call_accepts_the_definition_that_it_showed_whole(make()).await;
    tools::pages_of_tools_hold_everything_once_in_order(make()).await;
}

/// Makes a store with so many pending calls, each with its record and its stored request.
pub(crate) fn fill(path: &std::path::Path, count: u32) {
    use holdpoint::store::{Park, StoredRequest};
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let store = sqlite::open(path);
    runtime.block_on(async {
        let parks = (0..count).map(|_| {
            let request = Some(StoredRequest { sealed: [&[1, 7][..], &[3; 100]].concat() });
            store.park(Park { request, ..samples::park_of(samples::call(0)) }, samples::at(0))
        });
        for parked in futures_util::future::join_all(parks).await {
            parked.expect("parks");
        }
    });
}
