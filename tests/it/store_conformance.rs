//! What every store must do, written against the trait alone, and what the embedded one does besides.

mod commands;
mod parking;
mod races;
mod reading;
mod samples;
mod sqlite;
mod sqlite_damage;
mod sqlite_faults;
mod tools;

use std::sync::Arc;

use holdpoint::store::Store;

/// The whole suite; each case gets a store of its own that holds nothing.
async fn conformance(make: impl Fn() -> Arc<dyn Store>) {
    parking::a_parked_call_is_read_back_as_it_was(make()).await;
    parking::identical_calls_share_what_stands(make()).await;
    parking::a_key_names_one_call(make()).await;
    parking::an_action_is_created_once_for_a_key(make()).await;
    parking::limits_hold_and_open_up_again(make()).await;
    parking::what_is_overdue_is_expired_before_anything_attaches(make()).await;
    commands::a_call_goes_through_its_life_and_the_trail_tells_it(make()).await;
    commands::what_is_not_there_is_missing(make()).await;
    commands::a_refusal_shows_what_stands_and_writes_nothing(make()).await;
    commands::results_and_requests_are_kept_as_long_as_they_may_be(make()).await;
    commands::recovery_finds_what_was_in_flight_once(make()).await;
    commands::sessions_begin_and_end_with_a_record(make()).await;
    races::of_a_hundred_deciders_one_wins_and_the_others_see_who(make()).await;
    races::decision_expiry_and_withdrawal_race_for_one_place(make()).await;
    races::one_of_fifty_takes_the_permit(make()).await;
    races::a_request_that_fails_takes_no_other_with_it(make()).await;
    races::a_request_that_fails_half_way_is_undone_whole(make()).await;
    races::a_dropped_future_leaves_no_half_of_its_work(make()).await;
    reading::pages_hold_everything_once_in_order(make()).await;
    reading::each_filter_narrows(make()).await;
    reading::the_queue_in_figures_deadlines_and_detached_calls(make()).await;
    reading::the_trail_is_a_chain_and_is_read_in_parts(make()).await;
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
