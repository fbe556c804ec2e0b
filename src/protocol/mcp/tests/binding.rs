//! What an approval is bound to: everything but what changes from one sending of the same call to the next.

use proptest::prelude::{Strategy, any, prop};
use proptest::{prop_assert_eq, prop_assert_ne, prop_oneof, proptest};
use serde_json::{Map, Value as Json, json};

use super::super::{binding, bound_beside_arguments};
use super::with;

fn bound(params: &str) -> String {
    with(params, |params| binding(Some(params)))
}

const CALL: &str = r#"{"name":"delete_repo","arguments":{"repo":"a","n":1}}"#;

#[test]
fn members_of_the_one_request_do_not_bind() {
    let plain = bound(CALL);
    for volatile in [
        r#"{"name":"delete_repo","arguments":{"repo":"a","n":1},"_meta":{"progressToken":"p2"}}"#,
        r#"{"name":"delete_repo","arguments":{"repo":"a","n":1},"_meta":{"traceparent":"t","tracestate":"s","baggage":"b"}}"#,
        r#"{"name":"delete_repo","arguments":{"repo":"a","n":1},"_meta":{"io.modelcontextprotocol/clientInfo":{"name":"c"}}}"#,
        r#"{"name":"delete_repo","arguments":{"repo":"a","n":1},"_meta":{"dev.holdpoint/approvalId":"apr_1"}}"#,
        r#"{"name":"delete_repo","arguments":{"repo":"a","n":1},"_meta":{}}"#,
        r#"{"_meta":{"progressToken":1},"name":"delete_repo","arguments":{"repo":"a","n":1}}"#,
        r#"{ "name":"delete_repo", "arguments" : {"repo":"\u0061","n":1} }"#,
        r#"{"name":"delete_repo","arguments":{"repo":"a","n":1},"task":{"ttl":5},"requestState":"hp1.s","inputResponses":{"k":{}}}"#,
    ] {
        assert_eq!(bound(volatile), plain, "{volatile}");
    }
}

#[test]
fn a_reviewer_sees_all_that_binds() {
    let beside = |params: &str| with(params, |params| bound_beside_arguments(Some(params)));
    assert_eq!(beside(CALL), None);
    assert_eq!(beside(r#"{"name":"a","_meta":{"progressToken":1},"task":{}}"#), None);
    let told = beside(
        r#"{"name":"a","arguments":{"b":1},"inputResponses":{"ok":true},"_meta":{"tenant":"x","progressToken":1}}"#,
    );
    assert_eq!(told.as_deref(), Some(r#"{"inputResponses":{"ok":true},"_meta":{"tenant":"x"}}"#));
}

#[test]
fn everything_else_binds() {
    let mut all = vec![bound(CALL)];
    for other in [
        // The arguments: a value, its kind, its digits, their order, one more, none, another spelling of the key.
        r#"{"name":"delete_repo","arguments":{"repo":"b","n":1}}"#,
        r#"{"name":"delete_repo","arguments":{"repo":"a","n":"1"}}"#,
        r#"{"name":"delete_repo","arguments":{"repo":"a","n":1.0}}"#,
        r#"{"name":"delete_repo","arguments":{"n":1,"repo":"a"}}"#,
        r#"{"name":"delete_repo","arguments":{"repo":"a","n":1,"force":true}}"#,
        r#"{"name":"delete_repo","arguments":{}}"#,
        r#"{"name":"delete_repo"}"#,
        // `_meta` that servers may act on.
        r#"{"name":"delete_repo","arguments":{"repo":"a","n":1},"_meta":{"tenant":"x"}}"#,
        r#"{"name":"delete_repo","arguments":{"repo":"a","n":1},"_meta":{"tenant":"y"}}"#,
        r#"{"name":"delete_repo","arguments":{"repo":"a","n":1},"_meta":{"progresstoken2":1}}"#,
        r#"{"name":"delete_repo","arguments":{"repo":"a","n":1},"_meta":{"io.modelcontextprotocol.evil/x":1}}"#,
        r#"{"name":"delete_repo","arguments":{"repo":"a","n":1},"_meta":{"dev.holdpoint":1}}"#,
        // Answers to questions, and states, that the gateway has not tied to a call.
        r#"{"name":"delete_repo","arguments":{"repo":"a","n":1},"inputResponses":{"k":{}}}"#,
        r#"{"name":"delete_repo","arguments":{"repo":"a","n":1},"requestState":"s"}"#,
        r#"{"name":"delete_repo","arguments":{"repo":"a","n":1},"requestState":"s","inputResponses":{"k":{}}}"#,
        r#"{"name":"delete_repo","arguments":{"repo":"a","n":1},"requestState":{"a":"hp1."},"inputResponses":{"k":{}}}"#,
        // Members that this gateway does not know.
        r#"{"name":"delete_repo","arguments":{"repo":"a","n":1},"mode":"hard"}"#,
        r#"{"name":"delete_repo","arguments":{"repo":"a","n":1},"progressToken":"p"}"#,
    ] {
        all.push(bound(other));
    }
    // Volatile only where the protocol puts them, not deeper down.
    all.push(bound(r#"{"name":"delete_repo","arguments":{"repo":"a","n":1,"_meta":{"progressToken":"p"}}}"#));
    all.push(bound(r#"{"name":"delete_repo","arguments":{"repo":"a","n":1,"task":{}}}"#));
    let count = all.len();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), count, "two different calls are bound alike: {all:#?}");
    assert_eq!(binding(None), "");
}

fn leaf() -> impl Strategy<Value = Json> {
    prop_oneof![
        any::<bool>().prop_map(Json::from),
        any::<i32>().prop_map(Json::from),
        "[a-z]{0,4}".prop_map(Json::from)
    ]
}

fn object() -> impl Strategy<Value = Map<String, Json>> {
    prop::collection::btree_map("[a-z]{1,4}", leaf(), 0..4).prop_map(|members| members.into_iter().collect())
}

proptest! {
    /// Calls are bound alike exactly when arguments and remaining `_meta` are alike, whatever else was sent along.
    #[test]
    fn calls_are_bound_alike_when_what_they_say_is_alike(
        one in object(), other in object(), meta in object(), token in leaf(), volatile in object(),
    ) {
        let text = |arguments: &Map<String, Json>, extra: Json| {
            let mut all: Map<String, Json> = meta.iter().map(|(key, value)| (format!("x-{key}"), value.clone())).collect();
            all.extend(extra.as_object().cloned().unwrap_or_default());
            json!({ "name": "t", "arguments": arguments, "_meta": all, "task": volatile }).to_string()
        };
        let plain = bound(&text(&one, json!({})));
        prop_assert_eq!(&bound(&text(&one, json!({ "progressToken": token, "io.modelcontextprotocol/clientInfo": volatile }))), &plain);
        prop_assert_eq!(bound(&text(&other, json!({}))) == plain, one == other);
        prop_assert_ne!(&bound(&text(&one, json!({ "y": 1 }))), &plain);
    }
}
