//! The approvals API: what SDKs, reviewers and scripts rely on.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::origin::Manner;
use crate::support::people::{Agent, Reviewer};
use crate::support::rig::{Rig, gate_delete, repository};
use crate::support::wait::until;

/// An agent's request for approval of an action.
pub(crate) fn create(agent: &Agent, action: &str, context: &Value) -> Value {
    let body = json!({ "action": action, "context": context });
    agent.post("/_holdpoint/v1/approvals", &body).send().expect(201, "").json()
}

fn id(approval: &Value) -> String {
    approval["id"].as_str().expect("an id").to_owned()
}

fn bob(rig: &Rig) -> Reviewer {
    rig.gateway.reviewer("bob")
}

#[test]
fn an_sdk_creates_polls_and_learns_the_decision_and_its_reason() {
    let rig = Rig::start();
    let bot = rig.bot();
    let created =
        bot.post("/_holdpoint/v1/approvals", &json!({ "action": "refund", "context": { "usd": 500 } })).send();
    let approval = created.clone().expect(201, "").json();
    assert_eq!(approval["status"], "pending");
    let location = format!("/_holdpoint/v1/approvals/{}", id(&approval));
    assert_eq!(created.header("location"), Some(location.as_str()));
    assert_eq!(bot.call("GET", &location).send().expect(200, "").json()["status"], "pending");
    rig.alice().approve(&id(&approval));
    assert_eq!(bot.approval(&id(&approval)).json()["status"], "approved");

    let other = create(&bot, "refund", &json!({ "usd": 9 }));
    rig.alice().reject(&id(&other), "Not without a receipt.");
    let rejected = bot.approval(&id(&other)).json();
    assert_eq!((&rejected["status"], &rejected["reason"]), (&json!("rejected"), &json!("Not without a receipt.")));
}

#[test]
fn an_agent_can_wait_for_the_decision_in_either_way() {
    let rig = Rig::start();
    let check = |target: &dyn Fn(&str) -> String, prefer: &str| {
        let id = id(&create(&rig.bot(), "refund", &json!({})));
        let call = rig.bot().call("GET", &target(&id));
        let waiting = if prefer.is_empty() { call } else { call.header("prefer", prefer) }.start();
        rig.alice().approve(&id);
        assert_eq!(waiting.answer().expect(200, "").json()["status"], "approved");
    };
    check(&|id| format!("/_holdpoint/v1/approvals/{id}?wait=20s"), "");
    check(&|id| format!("/_holdpoint/v1/approvals/{id}"), "wait=20");
}

#[test]
fn an_agent_is_told_nothing_about_reviewers() {
    let rig = Rig::start();
    let id = id(&create(&rig.bot(), "refund", &json!({})));
    rig.alice().approve(&id);
    let text = rig.bot().approval(&id).text();
    for secret in ["alice", "ops", "votes", "channel"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
    let shown = bob(&rig).approval(&id);
    assert_eq!(shown["decided_by"]["id"], "alice");
    assert_eq!(shown["decided_by"]["channel"], "api");
}

#[test]
fn creating_is_safe_to_repeat_with_a_key_and_a_key_is_for_one_action() {
    let rig = Rig::start();
    let post =
        |body: Value| rig.bot().post("/_holdpoint/v1/approvals", &body).header("idempotency-key", "order-7").send();
    let first = post(json!({ "action": "refund", "context": { "usd": 1 } })).expect(201, "").json();
    let again = post(json!({ "action": "refund", "context": { "usd": 1 } })).expect(201, "").json();
    assert_eq!(first["id"], again["id"]);
    post(json!({ "action": "refund", "context": { "usd": 2 } })).expect(422, "idempotency_key_reused");
    assert_eq!(rig.gateway.pending(1).len(), 1);
}

#[test]
fn a_reviewer_sees_the_digits_and_the_order_that_were_sent() {
    let rig = Rig::start();
    let body = r#"{"action":"pay","context":{"z":9007199254740993.10,"a":1e2,"m":-0}}"#;
    let call = rig.bot().call("POST", "/_holdpoint/v1/approvals").header("content-type", "application/json").body(body);
    let id = id(&call.send().expect(201, "").json());
    let shown = rig.alice().call("GET", &format!("/v1/approvals/{id}")).send().text();
    assert!(shown.contains(r#""input":{"z":9007199254740993.10,"a":1e2,"m":-0}"#), "{shown}");
}

#[test]
fn a_body_that_two_readers_could_read_differently_is_refused() {
    let rig = Rig::start();
    for (body, status, code) in [
        (r#"{"action":"pay","action":"refund"}"#, 400, "duplicate_key"),
        (r#"{"action":"pay","context":{"usd":1,"usd":2}}"#, 400, "duplicate_key"),
        (r#"{"action":"pay","context":{"usd":1,"USD":2}}"#, 400, "confusable_key"),
        (r#"{"action":"pay"} {}"#, 400, "bad_json"),
        (r#"{"action":"pay","priority":1}"#, 400, "invalid_request"),
        (r#"{"action":""}"#, 400, "invalid_request"),
        (r#"{"action":"pay","expires_in":"8d"}"#, 400, "invalid_request"),
        (r#"{"action":"pay","expires_in":3600}"#, 400, "invalid_request"),
        ("", 400, "invalid_request"),
    ] {
        let call = rig.bot().call("POST", "/_holdpoint/v1/approvals").header("content-type", "application/json");
        call.body(body).send().expect(status, code);
    }
    let text = rig.bot().call("POST", "/_holdpoint/v1/approvals").header("content-type", "text/plain");
    text.body(r#"{"action":"pay"}"#).send().expect(415, "unsupported_media_type");
    assert!(rig.alice().pending().is_empty());
}

#[test]
fn the_second_decision_loses_and_sees_the_winner() {
    let rig = Rig::start();
    let id = id(&create(&rig.bot(), "refund", &json!({})));
    rig.alice().try_decide(&id, "approved", Some("Fine.")).expect(200, "");
    // The same again by the same reviewer is answered like the first time.
    rig.alice().try_decide(&id, "approved", Some("Fine.")).expect(200, "");
    let lost = bob(&rig).try_decide(&id, "rejected", Some("No.")).expect(409, "already_decided").json();
    assert_eq!(lost["standing"]["status"], "approved");
    assert_eq!(lost["standing"]["id"], "alice");
    assert_eq!(lost["standing"]["reason"], "Fine.");
    assert!(lost["standing"]["at"].is_string());
    assert_eq!(rig.alice().approval(&id)["status"], "approved");
}

#[test]
fn a_decision_about_another_payload_is_refused() {
    let rig = Rig::start();
    let approval = create(&rig.bot(), "refund", &json!({ "usd": 1 }));
    let decide = |hash: &str| {
        let body = json!({ "decision": "approved", "payload_sha256": hash });
        rig.alice().call("POST", &format!("/v1/approvals/{}", id(&approval))).json(&body).send()
    };
    let refused = decide(&"0".repeat(64)).expect(409, "payload_mismatch").json();
    assert_eq!(refused["payload_sha256"], approval["payload_sha256"]);
    assert_eq!(rig.alice().approval(&id(&approval))["status"], "pending");
    decide(approval["payload_sha256"].as_str().expect("a hash")).expect(200, "");
}

#[test]
fn a_quorum_counts_distinct_people_of_the_right_groups() {
    let rig =
        Rig::parking("hold: 50ms, approvers: { all_of: [ { group: ops, count: 1 }, { group: security, count: 1 } ] }");
    let id = rig.bot().post("/tools/delete_repo", &repository()).send().expect(503, "approval_pending").approval();
    let voted = rig.alice().try_decide(&id, "approved", None).expect(200, "").json();
    assert_eq!((&voted["status"], voted["votes"].as_array().map(Vec::len)), (&json!("pending"), Some(1)));
    assert_eq!(voted["still_needed"], json!([{ "group": "security", "count": 1 }]));
    // A second vote of the same person adds nothing.
    assert_eq!(rig.alice().try_decide(&id, "approved", None).expect(200, "").json()["status"], "pending");
    let done = rig.gateway.reviewer("carol").try_decide(&id, "approved", None).expect(200, "").json();
    assert_eq!((&done["status"], &done["still_needed"]), (&json!("approved"), &json!([])));
}

#[test]
fn a_reviewer_outside_the_groups_may_not_decide() {
    let rig = Rig::parking("hold: 50ms, approvers: { group: ops, count: 1 }");
    let id = rig.bot().post("/tools/delete_repo", &repository()).send().expect(503, "approval_pending").approval();
    for decision in ["approved", "rejected"] {
        rig.gateway.reviewer("carol").try_decide(&id, decision, Some("x")).expect(403, "forbidden");
    }
    assert_eq!(rig.alice().approval(&id)["status"], "pending");
}

#[test]
fn a_bulk_decision_says_what_became_of_each() {
    let policy = "version: 1\nrules:\n  - id: drop\n    match: delete_repo\n    action: require_approval\n    risk: critical\n    \
                  approval: { hold: 50ms }\n";
    let rig = Rig::with(|home| home.policy(policy));
    let critical =
        rig.bot().post("/tools/delete_repo", &repository()).send().expect(503, "approval_pending").approval();
    let (open, decided) = (id(&create(&rig.bot(), "a", &json!({}))), id(&create(&rig.bot(), "b", &json!({}))));
    rig.alice().reject(&decided, "No.");
    let missing = format!("apr_{}", "0".repeat(36));
    let bulk = |ids: &[&str]| {
        let body = json!({ "ids": ids, "decision": "approved", "reason": "All fine." });
        rig.alice().call("POST", "/v1/approvals/bulk-decide").json(&body).send()
    };
    let answer = bulk(&[&open, &decided, &critical, &missing, "nonsense"]).expect(200, "").json();
    let results: Vec<&str> =
        answer["results"].as_array().expect("results").iter().filter_map(|r| r["result"].as_str()).collect();
    assert_eq!(results, ["decided", "already_decided", "forbidden", "not_found", "not_found"]);
    assert_eq!(rig.alice().approval(&open)["status"], "approved");
    assert_eq!(rig.alice().approval(&critical)["status"], "pending");
    bulk(&[]).expect(400, "invalid_request");
    bulk(&[&open, &open]).expect(400, "invalid_request");
    let many: Vec<String> = (0..201).map(|n| format!("x{n}")).collect();
    bulk(&many.iter().map(String::as_str).collect::<Vec<_>>()).expect(400, "invalid_request");
}

#[test]
fn an_agent_withdraws_its_own_approval_and_no_other() {
    let rig = Rig::start();
    let id = id(&create(&rig.bot(), "refund", &json!({})));
    let target = format!("/_holdpoint/v1/approvals/{id}/cancel");
    rig.gateway.agent("other-bot").call("POST", &target).send().expect(404, "not_found");
    let withdrawn = rig.bot().post(&target, &json!({ "reason": "Solved otherwise." })).send().expect(200, "").json();
    assert_eq!((&withdrawn["status"], &withdrawn["reason"]), (&json!("cancelled"), &json!("Solved otherwise.")));
    rig.bot().call("POST", &target).send().expect(409, "already_decided");
    rig.alice().try_decide(&id, "approved", None).expect(409, "already_decided");
}

#[test]
fn the_list_filters_and_pages_without_gaps() {
    let rig = Rig::start();
    let ids: Vec<String> = (0..5).map(|n| id(&create(&rig.bot(), &format!("job-{n}"), &json!({ "n": n })))).collect();
    rig.alice().approve(&ids[1]);
    let alice = rig.alice();
    let names = |query: &str| -> Vec<String> {
        alice.approvals(query).iter().map(|approval| approval["name"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(names("status=approved"), ["job-1"]);
    assert_eq!(names("tool=job-3"), ["job-3"]);
    assert_eq!(names("q=JOB-2"), ["job-2"]);
    assert_eq!(names("agent=nobody"), Vec::<String>::new());
    assert_eq!(names("sort=oldest&limit=2"), ["job-0", "job-1"]);
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = alice.call("GET", &format!("/v1/approvals?limit=2{cursor}")).send().expect(200, "").json();
        seen.extend(page["approvals"].as_array().expect("approvals").iter().map(id));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ids.into_iter().rev().collect::<Vec<_>>());
    for (query, named) in
        [("stauts=pending", "stauts"), ("limit=0", "limit"), ("risk=x", "risk"), ("tool=a&tool=b", "tool")]
    {
        let refused = alice.call("GET", &format!("/v1/approvals?{query}")).send().expect(400, "invalid_request");
        assert!(refused.text().contains(&format!("`{named}`")), "{}", refused.text());
    }
}

#[test]
fn each_record_of_an_export_can_be_checked_alone() {
    let rig = Rig::start();
    rig.alice().approve(&id(&create(&rig.bot(), "refund", &json!({}))));
    let export = rig.alice().call("GET", "/v1/audit/export").send().expect(200, "");
    assert_eq!(export.header("content-type"), Some("application/x-ndjson"));
    let bytes = |hex: &str| -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal")).collect()
    };
    let (mut previous, mut count) = ("0".repeat(64), 0_u64);
    for line in export.text().lines() {
        let record: Value = serde_json::from_str(line).expect("a record is JSON");
        count += 1;
        assert_eq!((&record["seq"], &record["previous"]), (&json!(count), &json!(previous)));
        let event =
            line.split_once("\"event\":").and_then(|(_, rest)| rest.rsplit_once(",\"previous\":")).expect("an event").0;
        let mut hasher = Sha256::new();
        hasher.update(bytes(&previous));
        hasher.update(count.to_be_bytes());
        hasher.update(event.as_bytes());
        let hash: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(record["hash"], json!(hash), "{line}");
        previous = hash;
    }
    assert!(count >= 3, "{count}");
}

#[test]
fn a_timeline_has_the_events_of_its_approval_alone() {
    let rig = Rig::start();
    let (one, _two) = (id(&create(&rig.bot(), "a", &json!({}))), id(&create(&rig.bot(), "b", &json!({}))));
    rig.alice().approve(&one);
    let timeline = rig.alice().call("GET", &format!("/v1/approvals/{one}/timeline")).send().expect(200, "").json();
    let kinds: Vec<&str> =
        timeline["records"].as_array().expect("records").iter().filter_map(|r| r["event"]["kind"].as_str()).collect();
    assert_eq!(kinds, ["approval_created", "approval_approved"]);
    assert_eq!(timeline["next_after"], Value::Null);
}

#[test]
fn the_answer_to_a_detached_call_is_replayed_to_its_agent_alone() {
    let rig = Rig::with(|home| home.policy(&gate_delete("hold: 10s, release: detached")));
    rig.origin.behave(Manner::Bytes(b"HTTP/1.1 201 Created\r\nx-kept: yes\r\ncontent-length: 4\r\n\r\ndone".to_vec()));
    let call = rig.bot().post("/tools/delete_repo", &repository()).header("prefer", "respond-async");
    let answer = call.send();
    assert_eq!(answer.status, 202, "{}", answer.text());
    let id = answer.approval();
    let target = format!("/_holdpoint/v1/approvals/{id}/result");
    rig.bot().call("GET", &target).send().expect(409, "no_result");
    rig.alice().approve(&id);
    let replayed = until("the result is kept", || {
        Some(rig.bot().call("GET", &target).send()).filter(|answer| answer.status != 409)
    });
    assert_eq!((replayed.status, replayed.text().as_str(), replayed.header("x-kept")), (201, "done", Some("yes")));
    assert_eq!(replayed.approval(), id);
    assert_eq!(replayed.header("holdpoint-source"), Some("upstream"));
    rig.gateway.agent("other-bot").call("GET", &target).send().expect(404, "not_found");
    assert_eq!(rig.deletions(), 1);
}

#[test]
fn an_unknown_outcome_is_settled_once_by_a_person() {
    let rig = Rig::start();
    rig.origin.behave(Manner::Close);
    let (waiting, approval) = rig.park();
    rig.alice().approve(&approval);
    waiting.answer().expect(502, "outcome_unknown");
    rig.until_outcome(&approval, "unknown");
    let resolve =
        |body: Value| rig.alice().call("POST", &format!("/v1/approvals/{approval}/resolve")).json(&body).send();
    let records = || rig.alice().events(Some(&approval)).iter().filter(|kind| *kind == "release_resolved").count();
    resolve(json!({ "outcome": "committed", "note": " " })).expect(400, "invalid_request");
    assert_eq!(records(), 0);
    let settled = resolve(json!({ "outcome": "committed", "note": "The repository is gone." })).expect(200, "").json();
    assert_eq!(settled["outcome"]["resolved"], "committed");
    assert_eq!(settled["resolution"]["by"], "alice");
    assert_eq!(settled["resolution"]["note"], "The repository is gone.");
    resolve(json!({ "outcome": "not_committed", "note": "No." })).expect(409, "not_unknown");
    // The trail says it once, and by whom.
    assert_eq!(records(), 1);
    let trail = rig.alice().trail();
    let settled = trail.iter().find(|record| record["event"]["kind"] == "release_resolved").expect("it is there");
    assert_eq!(settled["event"]["actor"], json!({ "reviewer": "alice" }), "{settled}");
    // The note is between reviewers.
    assert!(!rig.bot().approval(&approval).text().contains("repository is gone"));
}

#[test]
fn the_listener_answers_under_its_own_names_alone() {
    let rig = Rig::start();
    let rebound = rig.alice().call("GET", "/v1/approvals").header("host", "evil.example").send();
    rebound.expect(403, "cross_site");
    rig.alice().call("GET", "/v1/approvals").header("host", "127.0.0.1:8081").send().expect(200, "");
    // A probe comes by address.
    let probe = rig.gateway.reviewer("nobody").call("GET", "/healthz").header("host", "10.1.2.3:8081").send();
    assert_eq!(probe.status, 200);
}

#[test]
fn every_answer_is_protected_and_names_its_request() {
    let rig = Rig::start();
    for answer in [
        rig.gateway.get("/healthz"),
        rig.gateway.get("/v1/approvals"),
        rig.gateway.get("/nothing/here"),
        rig.alice().call("GET", "/v1/approvals").send(),
        rig.alice().call("PUT", "/v1/approvals").send(),
        rig.bot().approval("apr_x"),
        rig.bot().call("GET", "/_holdpoint/v1/nothing").send(),
    ] {
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{answer:?}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer:?}");
        assert!(answer.header("content-security-policy").is_some_and(|policy| policy.contains("default-src 'none'")));
        assert!(answer.header("holdpoint-request-id").is_some_and(|id| id.starts_with("req_")), "{answer:?}");
        assert_eq!(answer.header("holdpoint-source"), Some("gateway"), "{answer:?}");
    }
}

#[test]
fn the_reference_has_every_operation_and_every_problem() {
    let api = include_str!("../../docs/reference/api.md");
    for route in holdpoint::api::table::ROUTES {
        let heading = format!("### `{} {}` ·", route.method, route.path);
        assert_eq!(api.matches(&heading).count(), 1, "{heading}");
        let section = api.split_once(&heading).expect("it is there").1.split("\n### ").next().expect("a section");
        for parameter in route.query {
            assert!(section.contains(parameter.name), "{heading} does not name `{}`", parameter.name);
        }
    }
    assert_eq!(api.matches("\n### `").count(), holdpoint::api::table::ROUTES.len());
    let problems = include_str!("../../docs/reference/problems.md");
    for code in holdpoint::problem::Code::ALL {
        let heading = format!("\n## `{}`\n\n{} · {} ·", code.as_str(), code.status().as_u16(), code.title());
        assert_eq!(problems.matches(&heading).count(), 1, "{heading}");
    }
    assert_eq!(problems.matches("\n## `").count(), holdpoint::problem::Code::ALL.len());
}
