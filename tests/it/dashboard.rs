//! The page as a browser without script uses it: forms, redirects, and text that stays inert.

use serde_json::{Value, json};

use crate::support::http::Answer;
use crate::support::people::{Call, token};
use crate::support::rig::{Rig, repository};

const HOME: &str = "/dashboard/approvals";

/// Signs in with a token; the cookie to send.
pub(crate) fn sign_in(rig: &Rig, reviewer: &str) -> String {
    let answer = post(rig, "", "/dashboard/sign-in", &[("token", &token(reviewer))]);
    assert_eq!(answer.status, 303, "{}", answer.text());
    let cookie = answer.header("set-cookie").expect("a session").to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    cookie.split(';').next().expect("a pair").to_owned()
}

pub(crate) fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// Posts a form as a page of the gateway's own would.
fn form(rig: &Rig, cookie: &str, target: &str, fields: &[(&str, &str)]) -> Call {
    let body: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
    Call::new(rig.gateway.admin, "POST", target)
        .header("content-type", "application/x-www-form-urlencoded")
        .header("cookie", cookie)
        .body(body.join("&"))
}

fn post(rig: &Rig, cookie: &str, target: &str, fields: &[(&str, &str)]) -> Answer {
    form(rig, cookie, target, fields).header("origin", "http://localhost").send()
}

fn get(rig: &Rig, cookie: &str, target: &str) -> Answer {
    Call::new(rig.gateway.admin, "GET", target).header("cookie", cookie).send()
}

/// The value of a hidden field on a page.
pub(crate) fn hidden(page: &str, name: &str) -> String {
    let field = format!("name=\"{name}\" value=\"");
    let rest = page.split_once(&field).unwrap_or_else(|| panic!("no field `{name}`: {page}")).1;
    rest.split('"').next().expect("an end").to_owned()
}

fn create(rig: &Rig, body: &Value) -> String {
    let created = rig.bot().post("/_holdpoint/v1/approvals", body).send().expect(201, "");
    created.json()["id"].as_str().expect("an id").to_owned()
}

/// Decides by the form of the approval's own page.
fn decide(rig: &Rig, cookie: &str, id: &str, decision: &str, reason: &str) -> Answer {
    let page = get(rig, cookie, &format!("{HOME}/{id}")).text();
    let (csrf, hash) = (hidden(&page, "csrf"), hidden(&page, "payload_sha256"));
    let fields = [("csrf", csrf.as_str()), ("payload_sha256", &hash), ("decision", decision), ("reason", reason)];
    post(rig, cookie, &format!("{HOME}/{id}/decide"), &fields)
}

#[test]
fn a_reviewer_signs_in_approves_and_signs_out() {
    let rig = Rig::start();
    let (waiting, id) = rig.park();
    let cookie = sign_in(&rig, "alice");
    let list = get(&rig, &cookie, HOME).text();
    assert!(list.contains(&format!("data-approval-id=\"{id}\"")), "{list}");
    assert!(list.contains("(1) Pending approvals"), "{list}");
    for shown in ["acme/website", "Deleting needs a second pair of eyes.", "POST /delete_repo", "waiting"] {
        assert!(list.contains(shown), "{shown}: {list}");
    }
    let decided = decide(&rig, &cookie, &id, "approved", "");
    assert_eq!(decided.status, 303, "{}", decided.text());
    assert_eq!(waiting.answer().expect(200, "").approval(), id);
    let approval = rig.alice().approval(&id);
    assert_eq!(
        (&approval["decided_by"]["id"], &approval["decided_by"]["channel"]),
        (&json!("alice"), &json!("dashboard"))
    );
    let history = get(&rig, &cookie, "/dashboard/approvals?view=history").text();
    assert!(history.contains(&id) && history.contains("approved by alice"), "{history}");

    let csrf = hidden(&history, "csrf");
    let out = post(&rig, &cookie, "/dashboard/sign-out", &[("csrf", &csrf)]);
    assert_eq!(out.header("location"), Some("/dashboard/sign-in"));
    assert_eq!(get(&rig, &cookie, HOME).status, 303);
    let kinds = rig.alice().events(None);
    assert!(kinds.contains(&"signed_in".to_owned()) && kinds.contains(&"signed_out".to_owned()), "{kinds:?}");
}

#[test]
fn a_wrong_token_signs_nobody_in_and_is_counted() {
    let rig = Rig::start();
    for token in ["wrong", "", &token("bot")] {
        let answer = post(&rig, "", "/dashboard/sign-in", &[("token", token)]);
        assert_eq!((answer.status, answer.header("set-cookie")), (401, None));
    }
    let failures = rig.gateway.metric("holdpoint_admin_auth_failures_total", &[("method", "token")]);
    assert!((failures - 3.0).abs() < f64::EPSILON, "{failures}");
}

#[test]
fn the_way_back_after_signing_in_never_leaves_the_page() {
    let rig = Rig::start();
    for (next, want) in [
        ("/dashboard/approvals?view=history", "/dashboard/approvals?view=history"),
        ("https://evil.example/", HOME),
        ("//evil.example/dashboard/approvals", HOME),
        ("/v1/approvals", HOME),
    ] {
        let answer = post(&rig, "", "/dashboard/sign-in", &[("token", &token("alice")), ("next", next)]);
        assert_eq!(answer.header("location"), Some(want), "{next}");
    }
}

#[test]
fn a_form_of_another_site_or_session_changes_nothing() {
    let rig = Rig::start();
    let id = create(&rig, &json!({ "action": "refund" }));
    let (alice, bob) = (sign_in(&rig, "alice"), sign_in(&rig, "bob"));
    let page = get(&rig, &alice, &format!("{HOME}/{id}")).text();
    let (csrf, hash) = (hidden(&page, "csrf"), hidden(&page, "payload_sha256"));
    let target = format!("{HOME}/{id}/decide");
    let fields = |csrf: &str| {
        vec![
            ("csrf".to_owned(), csrf.to_owned()),
            ("payload_sha256".into(), hash.clone()),
            ("decision".into(), "approved".into()),
        ]
    };
    let call = |cookie: &str, csrf: &str| {
        let fields = fields(csrf);
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        form(&rig, cookie, &target, &fields)
    };
    for refused in [
        call(&alice, &csrf).header("origin", "http://evil.example"),
        call(&alice, &csrf).header("origin", "null"),
        call(&alice, &csrf).header("origin", "http://localhost").header("sec-fetch-site", "cross-site"),
        call(&alice, &csrf),
        call(&alice, "").header("origin", "http://localhost"),
        call(&alice, "guess").header("origin", "http://localhost"),
        call(&bob, &csrf).header("origin", "http://localhost"),
        call(&alice, &csrf).header("origin", "http://evil.example").header("host", "evil.example"),
    ] {
        assert_eq!(refused.send().status, 403);
    }
    // The API takes the session for reading, and for changes only with the token of its forms.
    let api = |headers: &[(&str, &str)]| {
        let call = Call::new(rig.gateway.admin, "POST", &format!("/v1/approvals/{id}")).header("cookie", &alice);
        let call = headers.iter().fold(call, |call, (name, value)| call.header(name, value));
        call.json(&json!({ "decision": "approved" })).send()
    };
    api(&[]).expect(403, "cross_site");
    api(&[("origin", "http://localhost")]).expect(403, "cross_site");
    api(&[("x-csrf-token", &csrf)]).expect(403, "cross_site");
    api(&[("x-csrf-token", &csrf), ("origin", "http://evil.example")]).expect(403, "cross_site");
    assert_eq!(rig.alice().approval(&id)["status"], "pending");
    api(&[("x-csrf-token", &csrf), ("origin", "http://localhost")]).expect(200, "");
}

#[test]
fn text_from_agents_is_inert_and_hides_nothing() {
    let rig = Rig::start();
    let nasty = "<script>alert(1)</script>\u{202e}gnp\u{200b}\u{1b}[31m\n<img src=x onerror=alert(1)>";
    let id = create(&rig, &json!({ "action": nasty, "context": { "key": nasty }, "trace_id": nasty }));
    let cookie = sign_in(&rig, "alice");
    rig.alice().reject(&id, nasty);
    for target in [format!("{HOME}/{id}"), format!("{HOME}?view=history"), format!("{HOME}?view=history&decided={id}")]
    {
        let page = get(&rig, &cookie, &target).text();
        assert!(!page.contains("<script>alert") && !page.contains("<img"), "{page}");
        for hidden in ['\u{202e}', '\u{200b}', '\u{1b}'] {
            assert!(!page.contains(hidden), "{hidden:?} is on {target}");
        }
        assert!(page.contains("\\u{202e}") && page.contains("&lt;script&gt;"), "{page}");
    }
}

#[test]
fn what_the_list_does_not_show_in_full_cannot_be_approved_from_it() {
    let rig = Rig::start();
    let data = format!("{}rm -rf /", "x".repeat(100_000));
    let id = create(&rig, &json!({ "action": "job", "context": { "data": data } }));
    let cookie = sign_in(&rig, "alice");
    let list = get(&rig, &cookie, HOME).text();
    assert!(list.contains("99\u{202f}619 more characters hidden"), "{list}");
    assert!(!list.contains("value=\"approved\"") && list.contains("value=\"rejected\""), "{list}");
    let csrf = hidden(&list, "csrf");
    let bulk = [("csrf", csrf.as_str()), ("item", &id), ("decision", "approved")];
    let results = post(&rig, &cookie, "/dashboard/bulk/decide", &bulk).text();
    assert!(results.contains("not shown in full"), "{results}");
    assert_eq!(rig.alice().approval(&id)["status"], "pending");
    let detail = get(&rig, &cookie, &format!("{HOME}/{id}")).text();
    assert!(detail.contains(&data) && detail.contains("value=\"approved\""));
}

#[test]
fn whoever_decides_second_is_told_who_was_first() {
    let rig = Rig::start();
    let id = create(&rig, &json!({ "action": "refund" }));
    let cookie = sign_in(&rig, "alice");
    let page = get(&rig, &cookie, &format!("{HOME}/{id}")).text();
    rig.gateway.reviewer("bob").approve(&id);
    let fields = [
        ("csrf", hidden(&page, "csrf")),
        ("payload_sha256", hidden(&page, "payload_sha256")),
        ("decision", "rejected".to_owned()),
        ("reason", "No.".to_owned()),
    ];
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let answer = post(&rig, &cookie, &format!("{HOME}/{id}/decide"), &fields);
    assert_eq!(answer.status, 409);
    assert!(answer.text().contains("Already approved by bob"), "{}", answer.text());
}

#[test]
fn a_rejection_needs_a_reason_and_the_caller_gets_it() {
    let rig = Rig::start();
    let (waiting, id) = rig.park();
    let cookie = sign_in(&rig, "alice");
    assert_eq!(decide(&rig, &cookie, &id, "rejected", "  ").status, 400);
    assert_eq!(decide(&rig, &cookie, &id, "rejected", "Too risky today.").status, 303);
    assert!(waiting.answer().expect(403, "rejected").text().contains("Too risky today."));
}

#[test]
fn a_form_about_another_payload_decides_nothing() {
    let rig = Rig::start();
    let id = create(&rig, &json!({ "action": "refund" }));
    let cookie = sign_in(&rig, "alice");
    let csrf = hidden(&get(&rig, &cookie, HOME).text(), "csrf");
    let target = format!("{HOME}/{id}/decide");
    let stale = "0".repeat(64);
    let answer = post(&rig, &cookie, &target, &[("csrf", &csrf), ("payload_sha256", &stale), ("decision", "approved")]);
    assert_eq!(answer.status, 409);
    assert!(answer.text().contains("not the one you were shown"), "{}", answer.text());
    let without = post(&rig, &cookie, &target, &[("csrf", &csrf), ("decision", "approved")]);
    assert_eq!(without.status, 400);
    assert_eq!(rig.alice().approval(&id)["status"], "pending");
}

#[test]
fn many_are_reviewed_then_decided_each_with_its_result() {
    let rig = Rig::start();
    let ids: Vec<String> = (0..3).map(|n| create(&rig, &json!({ "action": format!("job-{n}") }))).collect();
    let cookie = sign_in(&rig, "alice");
    let csrf = hidden(&get(&rig, &cookie, HOME).text(), "csrf");
    let picked: Vec<(&str, &str)> =
        std::iter::once(("csrf", csrf.as_str())).chain(ids.iter().map(|id| ("item", id.as_str()))).collect();
    let before = rig.alice().trail().len();
    let review = post(&rig, &cookie, "/dashboard/bulk/review", &picked);
    assert_eq!(review.status, 200);
    assert!(review.text().contains("Approve 3") && review.text().contains("1 × job-0"), "{}", review.text());
    assert_eq!(rig.alice().trail().len(), before, "looking first changes nothing");
    rig.gateway.reviewer("bob").reject(&ids[1], "No.");
    let decided: Vec<(&str, &str)> =
        picked.into_iter().chain([("decision", "approved"), ("reason", "Fine.")]).collect();
    let results = post(&rig, &cookie, "/dashboard/bulk/decide", &decided).text();
    assert_eq!(results.matches(": approved by alice").count(), 2, "{results}");
    assert!(results.contains("already rejected by bob"), "{results}");
    let statuses: Vec<Value> = ids.iter().map(|id| rig.alice().approval(id)["status"].clone()).collect();
    assert_eq!(statuses, ["approved", "rejected", "approved"]);
}

#[test]
fn who_may_not_decide_is_told_why_instead_of_shown_a_button() {
    let rig = Rig::parking("hold: 50ms, approvers: { group: ops, count: 1 }");
    let id = rig.bot().post("/tools/delete_repo", &repository()).send().expect(503, "approval_pending").approval();
    let cookie = sign_in(&rig, "carol");
    for target in [HOME.to_owned(), format!("{HOME}/{id}")] {
        let page = get(&rig, &cookie, &target).text();
        assert!(page.contains("You cannot approve this") && !page.contains("value=\"approved\""), "{page}");
    }
    let list = get(&rig, &cookie, &format!("{HOME}/{id}")).text();
    let csrf = hidden(&list, "csrf");
    let hash = rig.alice().approval(&id)["payload_sha256"].as_str().expect("a hash").to_owned();
    let fields = [("csrf", csrf.as_str()), ("payload_sha256", &hash), ("decision", "approved")];
    assert_eq!(post(&rig, &cookie, &format!("{HOME}/{id}/decide"), &fields).status, 403);
    assert_eq!(rig.alice().approval(&id)["status"], "pending");
}

#[test]
fn redacted_values_appear_on_no_page_and_in_no_answer() {
    let rig = Rig::parking("hold: 50ms, redact: [ /args/a/b/c/d/secret ]");
    let body = json!({ "repo": "x", "a": { "b": { "c": { "d": { "secret": "canary-5f1d" } } } } });
    let id = rig.bot().post("/tools/delete_repo", &body).send().expect(503, "approval_pending").approval();
    let cookie = sign_in(&rig, "alice");
    for target in [
        HOME.to_owned(),
        format!("{HOME}/{id}"),
        format!("/v1/approvals/{id}"),
        "/v1/approvals".to_owned(),
        format!("/v1/approvals/{id}/timeline"),
        "/v1/audit".to_owned(),
        "/v1/audit/export".to_owned(),
    ] {
        let answer = get(&rig, &cookie, &target);
        assert_eq!(answer.status, 200, "{target}");
        assert!(!answer.text().contains("canary-5f1d"), "{target}");
    }
    assert!(get(&rig, &cookie, &format!("{HOME}/{id}")).text().contains("[redacted]"));
}

#[test]
fn filters_live_in_the_address_and_unknown_ones_are_named() {
    let rig = Rig::start();
    create(&rig, &json!({ "action": "job-one" }));
    let cookie = sign_in(&rig, "alice");
    assert!(get(&rig, &cookie, "/dashboard/approvals?tool=job-one").text().contains("data-approval-id"));
    let none = get(&rig, &cookie, "/dashboard/approvals?tool=job-two").text();
    assert!(none.contains("Nothing matches") && !none.contains("data-approval-id"), "{none}");
    let wrong = get(&rig, &cookie, "/dashboard/approvals?tol=x");
    assert_eq!(wrong.status, 400);
    assert!(wrong.text().contains("unknown parameter `tol`"), "{}", wrong.text());
    for (wrong, hint) in [("status=approved", "view=history"), ("view=history&status=pending", "leave out `view`")] {
        let answer = get(&rig, &cookie, &format!("/dashboard/approvals?{wrong}"));
        assert_eq!(answer.status, 400, "{wrong}");
        assert!(answer.text().contains(hint), "{wrong}: {}", answer.text());
    }
}

#[test]
fn pages_carry_a_strict_policy_and_no_inline_script_or_style() {
    let rig = Rig::start();
    let id = create(&rig, &json!({ "action": "refund" }));
    let cookie = sign_in(&rig, "alice");
    let detail = format!("{HOME}/{id}");
    for target in [HOME, &detail, "/dashboard/sign-in", "/dashboard/once/x", "/dashboard/nothing"] {
        let answer = get(&rig, &cookie, target);
        let policy = answer.header("content-security-policy").expect("a policy").to_owned();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let page = answer.text();
        assert!(!page.contains("style=\"") && !page.contains("<style") && !page.contains("onclick"), "{page}");
        assert_eq!(
            page.matches("<script").count(),
            page.matches("<script type=\"module\" src=\"/dashboard/assets/").count()
        );
        for asset in page.split(['"']).filter(|text| text.starts_with("/dashboard/assets/")) {
            let file = get(&rig, "", asset);
            assert_eq!(file.status, 200, "{asset}");
            assert_eq!(file.header("cache-control"), Some("public, max-age=31536000, immutable"));
        }
    }
}
