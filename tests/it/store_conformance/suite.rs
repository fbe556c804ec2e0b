//! Every case but those about tools, of which not every store keeps any.

use std::sync::Arc;

use holdpoint::store::Store;

use super::{commands, parking, races, reading};

/// Each case gets a store of its own that holds nothing.
pub(super) async fn every_case(make: impl Fn() -> Arc<dyn Store>) {
    parking::a_parked_call_is_read_back_as_it_was(make()).await;
    parking::identical_calls_share_what_stands(make()).await;
    parking::a_key_names_one_call(make()).await;
    parking::a_key_that_asks_again_ends_the_grant_it_had(make()).await;
    parking::an_action_is_created_once_for_a_key(make()).await;
    parking::limits_hold_and_open_up_again(make()).await;
    parking::what_is_overdue_is_expired_before_anything_attaches(make()).await;
    commands::a_call_goes_through_its_life_and_the_trail_tells_it(make()).await;
    commands::what_is_not_there_is_missing(make()).await;
    commands::a_refusal_shows_what_stands_and_writes_nothing(make()).await;
    commands::results_and_requests_are_kept_as_long_as_they_may_be(make()).await;
    commands::the_request_of_a_grant_is_kept_as_long_as_the_grant(make()).await;
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
}
