//! The policy endpoints of the API: reading, asking, and trying a candidate.

use serde_json::{Value, json};

use crate::api::create;
use crate::support::rig::Rig;

#[test]
fn policy_can_be_read_asked_and_tried() {
    let rig = Rig::start();
    let alice = rig.alice();
    let policy = alice.call("GET", "/v1/policy").send().expect(200, "").json();
    assert_eq!(policy["rules"][0]["rule"], "gate-delete");
    assert_eq!(policy["default"], "block");
    let post = |target: &str, body: &Value| alice.call("POST", target).json(body).send();
    let verdict = post("/v1/policy/evaluate", &json!({ "tool": "call", "args": { "params": { "name": "safe_x" } } }));
    let verdict = verdict.expect(200, "").json();
    assert_eq!((&verdict["decision"], &verdict["rule"]), (&json!("ALLOWED"), &json!("safe-by-body")));
    post("/v1/policy/evaluate", &json!({ "tool": "call", "args": { "Params": { "name": "safe_x" } } }))
        .expect(400, "confusable_key");
    // Strict reading goes all the way in.
    let body = r#"{"tool":"call","args":{"params":{"name":"a","name":"b"}}}"#;
    let call = alice.call("POST", "/v1/policy/evaluate").header("content-type", "application/json").body(body);
    call.send().expect(400, "duplicate_key");

    let calls = json!([{ "tool": "delete_repo" }, { "tool": "safe_read" }]);
    let open = "version: 1\ndefault: block\nrules: [ { match: delete_repo, action: allow }, { match: \"safe_*\", action: allow } ]";
    let changes = post("/v1/policy/simulate", &json!({ "policy": open, "calls": calls })).expect(200, "").json();
    assert_eq!(changes["judged"], 2);
    assert_eq!(changes["verdicts"], json!({ "ALLOWED": 2 }));
    assert_eq!(changes["changed"].as_array().map(Vec::len), Some(1));
    assert_eq!(changes["changed"][0]["before"]["verdict"], "WAITING_FOR_APPROVAL");
    assert_eq!(changes["changed"][0]["after"]["verdict"], "ALLOWED");
    let broken =
        post("/v1/policy/simulate", &json!({ "policy": "version: 1\nrulez: []\n" })).expect(400, "invalid_request");
    assert!(broken.json()["problems"][0]["line"].is_number(), "{}", broken.text());
}

#[test]
fn a_candidate_is_tried_on_the_history_where_nothing_was_redacted() {
    let policy = "version: 1\nrules:\n  - id: plain\n    match: delete_repo\n    when: has(args.repo)\n    action: require_approval\n    \
                  approval: { hold: 50ms }\n  - id: hidden\n    match: delete_repo\n    action: require_approval\n    \
                  approval: { hold: 50ms, redact: [ /args/secret ] }\n";
    let rig = Rig::with(|home| home.policy(policy));
    for body in [json!({ "repo": "a" }), json!({ "secret": "canary" })] {
        rig.bot().post("/tools/delete_repo", &body).send().expect(503, "approval_pending");
    }
    create(&rig.bot(), "not a call", &json!({}));
    let candidate = "version: 1\nrules: [ { match: delete_repo, action: block } ]";
    let answer = rig.alice().call("POST", "/v1/policy/simulate").json(&json!({ "policy": candidate })).send();
    let simulation = answer.expect(200, "").json();
    assert_eq!(simulation["simulated_on"], "approval_history");
    assert_eq!((&simulation["judged"], &simulation["left_out_redacted"]), (&json!(1), &json!(1)));
    assert_eq!(simulation["changed"][0]["after"]["verdict"], "BLOCKED");
    assert_eq!(simulation["approvals_per_day"], json!(0.0));
}
