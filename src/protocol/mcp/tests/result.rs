//! Results that stand in for a tool's.

use serde_json::{Value, json};

use super::super::{
    Decision, Fault, FaultKind, Id, META_DECISION, Revision, Status, error, progress, response, tool_result,
};
use super::with;

const STATUSES: [Status; 9] = [
    Status::Denied,
    Status::Rejected,
    Status::Expired,
    Status::Pending,
    Status::Cancelled,
    Status::ApprovedNotExecuted,
    Status::AlreadyExecuted,
    Status::Unknown,
    Status::Unavailable,
];

fn decision(status: Status) -> Decision {
    Decision {
        status,
        text: "the text\nfor \"the\" model".into(),
        approval: Some("apr_1".into()),
        rule: Some("gate".into()),
        retry_after_ms: (status == Status::Pending).then_some(5_000),
    }
}

#[test]
fn a_result_is_an_error_for_the_model_and_never_structured() {
    for status in STATUSES {
        for revision in Revision::ALL {
            let result = tool_result(&decision(status), revision);
            assert_eq!(result["isError"], true, "{status:?}");
            assert_eq!(result.get("structuredContent"), None);
            assert_eq!(result["content"], json!([{ "type": "text", "text": "the text\nfor \"the\" model" }]));
            // Clients of older revisions may refuse members that they do not know; newer ones need this one.
            let wanted = (revision == Revision::July2026).then(|| json!("complete"));
            assert_eq!(result.get("resultType"), wanted.as_ref(), "{revision}");
            let about = &result["_meta"][META_DECISION];
            assert_eq!((&about["status"], &about["approvalId"]), (&json!(status.as_str()), &json!("apr_1")));
            assert_eq!((&about["rule"], &about["retryable"]), (&json!("gate"), &json!(status.retryable())));
            assert_eq!(about.get("retryAfterMs").is_some(), status == Status::Pending);
        }
    }
}

#[test]
fn what_ran_and_what_may_be_repeated_follows_from_the_status() {
    let executed = |status: Status| {
        let result = tool_result(&decision(status), Revision::November2025);
        let about = &result["_meta"][META_DECISION];
        (about.get("executed").cloned(), about["retryable"].clone())
    };
    for status in [Status::Denied, Status::Rejected, Status::Cancelled] {
        assert_eq!(executed(status), (Some(json!(false)), json!(false)), "{status:?}");
    }
    for status in [Status::Expired, Status::Pending, Status::ApprovedNotExecuted, Status::Unavailable] {
        assert_eq!(executed(status), (Some(json!(false)), json!(true)), "{status:?}");
    }
    assert_eq!(executed(Status::AlreadyExecuted), (Some(json!(true)), json!(false)));
    // Nobody knows, so nothing is said, and nothing is to be repeated.
    assert_eq!(executed(Status::Unknown), (None, json!(false)));
}

#[test]
fn answers_are_json_rpc_under_the_very_id() {
    for id in ["7", "\"7\"", "\"a\\\"b\\n\"", "9007199254740993"] {
        let parsed = with(id, |value| Id::of(value).expect("an id"));
        let text = response(&parsed, &json!({ "a": 1 }));
        let wanted: Value =
            serde_json::from_str(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"a":1}}}}"#)).expect("JSON");
        assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON"), wanted);
        assert!(text.contains(id), "the digits as they were sent: {text}");
    }
    let refused: Value =
        serde_json::from_str(&error(None, -32600, "a \"detail\"", &json!({ "code": "x" }))).expect("JSON");
    let wanted = json!({ "jsonrpc": "2.0", "id": null, "error": { "code": -32600, "message": "a \"detail\"", "data": { "code": "x" } } });
    assert_eq!(refused, wanted);
}

#[test]
fn progress_is_a_notification_under_the_callers_own_token() {
    for token in ["\"p1\"", "1", "\"a\\\"b\""] {
        let text = progress(token, 0.001, "Waiting \"here\"");
        let told: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(told["method"], "notifications/progress");
        assert_eq!(told["params"]["progressToken"], serde_json::from_str::<Value>(token).expect("JSON"));
        assert_eq!(
            (&told["params"]["progress"], &told["params"]["message"]),
            (&json!(0.001), &json!("Waiting \"here\""))
        );
        assert_eq!((told.get("id"), told["params"].get("total")), (None, None));
    }
}

#[test]
fn each_kind_of_fault_has_the_protocols_code() {
    let code = |kind| Fault::new(kind, "x").rpc_code;
    assert_eq!([FaultKind::Envelope, FaultKind::Batch, FaultKind::Confusable].map(code), [-32600; 3]);
    assert_eq!([FaultKind::Params, FaultKind::ToolName].map(code), [-32602; 2]);
    assert_eq!([FaultKind::Header, FaultKind::Version].map(code), [-32020, -32022]);
}
