//! The reviewer's page in a real Chromium: what a person sees and presses, and what becomes of the waiting call.

use serde_json::json;

use crate::support::browser::Browser;
use crate::support::http::{Wire, request};
use crate::support::origin::Manner;
use crate::support::people::token;
use crate::support::rig::{Rig, gate_delete};
use crate::support::wait::{until, until_true};

/// Text that tries to be more than text.
const HOSTILE: &str = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>\u{202e}gnp.exe\u{200b}\u{1b}[31m";

impl Rig {
    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.gateway.admin)
    }

    /// A browser that has signed in as `reviewer` and stands on the list of pending approvals.
    fn signed_in(&self, reviewer: &str, width: u32) -> Browser {
        let browser = Browser::start(width);
        browser.open(&self.url("/dashboard/approvals"));
        browser.enter("input[name=token]", &token(reviewer));
        browser.click("main button[type=submit]");
        until_true("signed in", || browser.count("#pending-count") == 1);
        // Being sent to the sign-in page is announced in the console; what follows must be quiet.
        browser.complaints();
        browser
    }
}

fn row(id: &str, rest: &str) -> String {
    format!("[data-approval-id=\"{id}\"] {rest}")
}

#[test]
fn approving_on_the_page_releases_the_waiting_call() {
    let rig = Rig::start();
    let (waiting, id) = rig.park();
    let browser = rig.signed_in("alice", 1280);
    assert_eq!(browser.text("#pending-count"), "1");
    assert!(browser.title().starts_with("(1)"), "{}", browser.title());
    let shown = browser.text(&format!("[data-approval-id=\"{id}\"]"));
    for wanted in ["delete_repo", "acme/website", "bot", "gate-delete", "POST /delete_repo"] {
        assert!(shown.contains(wanted), "`{wanted}` is missing: {shown}");
    }
    browser.screenshot("pending");
    assert!(!waiting.is_answered());
    browser.click(&row(&id, "button.approve"));
    assert_eq!(waiting.answer().expect(200, "").approval(), id);
    assert_eq!(rig.deletions(), 1);
    until_true("the list is empty", || browser.count("#pending-count") == 1 && browser.text("#pending-count") == "0");
    browser.screenshot("empty");
    let decided = rig.alice().approval(&id);
    assert_eq!(decided["decided_by"]["id"], "alice");
    browser.open(&rig.url("/dashboard/approvals?view=history"));
    let history = browser.text(&format!("[data-approval-id=\"{id}\"]"));
    assert!(history.to_lowercase().contains("approved") && history.contains("alice"), "{history}");
    browser.screenshot("history");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

/// Has the call that waits approved while its page is open and the upstream keeps it; then does `end`, and waits until the same page has
/// `word` for what became of it.
fn watch(rig: &Rig, browser: &Browser, approve: impl FnOnce(&str), end: impl FnOnce(), word: &str) {
    rig.origin.behave(Manner::Wait);
    let (waiting, id) = rig.park();
    browser.open(&rig.url(&format!("/dashboard/approvals/{id}")));
    approve(&id);
    until_true("it is being sent", || browser.count("[data-outcome=releasing]") == 1);
    assert_eq!(browser.count("[data-settle]"), 0);
    let before = browser.count("ol.timeline > li");
    browser.script("window.kept = true");
    end();
    until_true("the page says so", || browser.text("[data-outcome]").contains(word));
    assert!(browser.count("ol.timeline > li") > before, "with the record of it");
    assert_eq!(browser.script("return window.kept"), json!(true), "the page is the same one");
    drop(waiting.outcome());
}

#[test]
fn an_open_page_says_what_became_of_the_call() {
    let rig = Rig::start();
    let browser = rig.signed_in("alice", 1280);
    let press = |id: &str| browser.click(&row(id, "button.approve"));
    watch(&rig, &browser, press, || rig.origin.go_on(), "answered 200");
    assert_eq!(browser.count("[data-settle]"), 0);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn an_open_page_shows_the_votes_that_come_in() {
    let both = "hold: 60s, approvers: { all_of: [ { group: ops, count: 1 }, { group: security, count: 1 } ] }";
    let rig = Rig::with(|home| home.policy(&gate_delete(both)));
    let (waiting, id) = rig.park();
    let browser = rig.signed_in("alice", 1280);
    browser.open(&rig.url(&format!("/dashboard/approvals/{id}")));
    assert!(!browser.text("dl.facts").contains("carol"));
    browser.enter("input[name=reason]", "Half written");
    rig.gateway.reviewer("carol").approve(&id);
    until_true("the vote is there", || browser.text("dl.facts").contains("carol"));
    assert_eq!(browser.script("return document.querySelector('input[name=reason]').value"), json!("Half written"));
    browser.click(&row(&id, "button.approve"));
    waiting.answer().expect(200, "");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn an_open_page_offers_to_settle_an_outcome_that_becomes_unknown() {
    let rig = Rig::with(|home| home.upstream_key("timeout: 4s"));
    let browser = rig.signed_in("alice", 1280);
    // Somebody else approves: what could be pressed before is off then, and what comes is not.
    watch(&rig, &browser, |id| rig.gateway.reviewer("bob").approve(id), || (), "it may have run");
    assert_eq!(browser.count("button.approve:disabled, button.reject:disabled"), 2);
    assert_eq!(browser.count("[data-settle] :disabled"), 0);
    browser.enter("[data-settle] input[name=note]", "The repository is gone.");
    browser.click("[data-settle] button[value=committed]");
    until_true("it is settled", || browser.count("[data-outcome=resolved]") == 1);
    assert_eq!(browser.count("[data-settle]"), 0);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn rejecting_on_the_page_needs_a_reason_and_hands_it_to_the_caller() {
    let rig = Rig::start();
    let (waiting, id) = rig.park();
    let browser = rig.signed_in("bob", 1280);
    browser.open(&rig.url(&format!("/dashboard/approvals/{id}")));
    browser.screenshot("detail");
    browser.click(&row(&id, "button.reject"));
    // The browser itself holds a form back whose reason is empty.
    assert_eq!(rig.alice().approval(&id)["status"], "pending");
    browser.enter(&row(&id, "input[name=reason]"), "Ask the owners first.");
    browser.click(&row(&id, "button.reject"));
    let answer = waiting.answer().expect(403, "rejected");
    assert_eq!(answer.json()["reason"], "Ask the owners first.");
    rig.nothing_was_sent();
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn many_are_decided_at_once_with_one_reason_and_a_result_for_each() {
    let rig = Rig::start();
    let calls: Vec<_> = (0..3).map(|n| rig.bot().post("/tools/delete_repo", &json!({ "repo": n })).start()).collect();
    let ids = rig.gateway.pending(3);
    let browser = rig.signed_in("alice", 1280);
    // Somebody else is faster with one of them.
    rig.gateway.reviewer("bob").reject(&ids[2], "Mine.");
    for id in &ids[..2] {
        browser.click(&row(id, "input[name=item]"));
    }
    browser.click("#bulk button[type=submit]");
    until_true("the review page", || browser.count("input[name=item][type=hidden]") == 2);
    browser.screenshot("bulk-review");
    browser.enter("main input[name=reason]", "Not this week.");
    browser.click("main button.reject");
    until_true("a result for each", || browser.count("main li[data-approval-id]") == 2);
    browser.screenshot("bulk-results");
    assert_eq!(browser.text("ol.results").matches("delete_repo, ").count(), 2, "each by its name");
    let reasons: Vec<String> =
        calls.into_iter().map(|call| call.answer().expect(403, "rejected").json()["reason"].to_string()).collect();
    assert_eq!(reasons.iter().filter(|reason| reason.contains("Not this week.")).count(), 2, "{reasons:?}");
    rig.nothing_was_sent();
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn an_open_page_counts_and_announces_what_comes_without_moving_its_rows() {
    let rig = Rig::start();
    let (waiting, id) = rig.park();
    let browser = rig.signed_in("alice", 1280);
    until_true("the live line is there", || browser.text("#live").contains("live updates"));
    let second = rig.bot().post("/tools/delete_repo", &json!({ "repo": "second" })).start();
    let ids = rig.gateway.pending(2);
    until_true("the count follows", || browser.text("#pending-count") == "2");
    until_true("the new one is announced", || browser.text("#live").contains("1 new"));
    assert_eq!(browser.count("li.row"), 1, "rows do not appear by themselves");
    browser.screenshot("live");
    // A decision made elsewhere switches the row's buttons off.
    rig.gateway.reviewer("bob").approve(&id);
    waiting.answer().expect(200, "");
    until_true("the row says so", || browser.text(&row(&id, "[data-decision]")).contains("approved by bob"));
    assert_eq!(browser.script("return document.querySelector('li.row button.approve').disabled"), true);
    until_true("the count follows", || browser.text("#pending-count") == "1");
    browser.click("#live button");
    until_true("the new row", || browser.count(&format!("[data-approval-id=\"{}\"]", ids[1])) == 1);
    second.hang_up();
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn deciding_what_is_already_decided_shows_who_was_first() {
    let rig = Rig::start();
    let (waiting, id) = rig.park();
    let browser = rig.signed_in("alice", 1280);
    browser.open(&rig.url(&format!("/dashboard/approvals/{id}")));
    // Live updates would switch the button off: this is the moment before they arrive.
    browser.script("for (const button of document.querySelectorAll('#live button')) button.click()");
    rig.gateway.reviewer("bob").reject(&id, "No.");
    waiting.answer().expect(403, "rejected");
    browser.script("const button = document.querySelector('button.approve'); button.disabled = false; button.form.requestSubmit(button)");
    let said = until("the conflict is shown", || {
        let said = browser.text("main");
        said.contains("bob").then_some(said)
    });
    assert!(said.to_lowercase().contains("rejected"), "{said}");
    browser.screenshot("conflict");
    rig.nothing_was_sent();
}

#[test]
fn h28_hostile_text_is_inert_and_its_tricks_are_visible() {
    let rig = Rig::start();
    let body = json!({ "repo": HOSTILE });
    let call = rig.bot().post("/tools/delete_repo", &body).header("traceparent", "<script>alert(1)</script>");
    let waiting = call.start();
    let id = rig.gateway.one_pending();
    let browser = rig.signed_in("alice", 1280);
    for path in ["/dashboard/approvals".to_owned(), format!("/dashboard/approvals/{id}")] {
        browser.open(&rig.url(&path));
        assert!(!browser.title().contains("owned"), "{path}");
        assert_eq!(browser.count("main img, main script"), 0, "{path}");
        let text = browser.text("main");
        assert!(text.contains("onerror"), "{path}: the text itself is shown: {text}");
        assert!(text.contains("202e") && text.contains("200b"), "{path}: the tricks are visible: {text}");
        assert!(!text.contains('\u{202e}') && !text.contains('\u{200b}') && !text.contains('\u{1b}'), "{path}: {text}");
    }
    browser.screenshot("hostile");
    assert_eq!(browser.complaints(), Vec::<String>::new());
    waiting.hang_up();
}

#[test]
fn a_long_argument_is_never_cut_silently_and_cannot_be_approved_unseen() {
    let rig = Rig::start();
    let body = json!({ "repo": format!("{}THE-TAIL", "x".repeat(100_000)) });
    let waiting = rig.bot().post("/tools/delete_repo", &body).start();
    let id = rig.gateway.one_pending();
    let browser = rig.signed_in("alice", 1280);
    assert!(browser.text(&row(&id, ".hidden-part")).contains("more characters hidden"));
    assert_eq!(browser.count(&row(&id, "button.approve")), 0);
    browser.open(&rig.url(&format!("/dashboard/approvals/{id}")));
    assert_eq!(browser.script("return document.querySelector('main').textContent.includes('THE-TAIL')"), true);
    browser.click("button.approve");
    waiting.answer().expect(200, "");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn the_page_fits_a_narrow_screen_and_follows_the_colour_scheme() {
    let rig = Rig::start();
    let (waiting, id) = rig.park();
    let browser = rig.signed_in("alice", 1280);
    browser.screen_width(320);
    let detail = format!("/dashboard/approvals/{id}");
    for (name, path) in
        [("list", "/dashboard/approvals"), ("history", "/dashboard/approvals?view=history"), ("detail", &detail)]
    {
        browser.open(&rig.url(path));
        until_true("the page is laid out for the screen", || browser.script("return window.innerWidth") == 320);
        until_true(&format!("{path} does not scroll sideways"), || {
            let beyond =
                "const { scrollWidth, clientWidth } = document.documentElement; return scrollWidth - clientWidth";
            browser.script(beyond) == 0
        });
        let ground = || browser.script("return getComputedStyle(document.body).backgroundColor");
        browser.colour_scheme("light");
        browser.screenshot(&format!("narrow-{name}-light"));
        let light = ground();
        browser.colour_scheme("dark");
        until_true(&format!("{path} is dark"), || ground() != light);
        browser.screenshot(&format!("narrow-{name}-dark"));
    }
    waiting.hang_up();
}

#[test]
fn every_page_forbids_inline_script_framing_and_caching() {
    let rig = Rig::start();
    for path in ["/dashboard/sign-in", "/dashboard/approvals"] {
        let answer = rig.gateway.get(path);
        let policy = answer.header("content-security-policy").unwrap_or_default().to_owned();
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "frame-ancestors 'none'",
            "form-action 'self'",
            "base-uri 'none'",
        ] {
            assert!(policy.contains(part), "{path}: `{part}` is missing: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert!(answer.header("cache-control").is_some_and(|value| value.contains("no-store")), "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
    }
}

#[test]
fn h29_a_decision_from_another_site_or_under_another_host_is_refused() {
    let rig = Rig::start();
    let (waiting, id) = rig.park();
    let sign_in = |extra: &[(&str, &str)]| {
        let body = format!("token={}&next=", token("alice"));
        let mut headers = vec![("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned())];
        headers.extend(extra.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let mut wire = Wire::connect(rig.gateway.admin);
        wire.send(&request("POST", "/dashboard/sign-in", &headers, Some(body.as_bytes())));
        wire.answer().expect("an answer")
    };
    let origin = format!("http://{}", rig.gateway.admin);
    let host = rig.gateway.admin.to_string();
    let cookie = sign_in(&[("host", &host), ("origin", &origin)]);
    let cookie = cookie.header("set-cookie").unwrap_or_else(|| panic!("{cookie:?}")).to_owned();
    for flag in ["HttpOnly", "SameSite=Strict"] {
        assert!(cookie.contains(flag), "{cookie}");
    }
    let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
    let form = "decision=approved&csrf=guess";
    let decide = |extra: &[(&str, &str)]| {
        let mut headers = vec![
            ("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned()),
            ("cookie".to_owned(), cookie.clone()),
        ];
        headers.extend(extra.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let mut wire = Wire::connect(rig.gateway.admin);
        wire.send(&request("POST", &format!("/dashboard/approvals/{id}/decide"), &headers, Some(form.as_bytes())));
        wire.answer().expect("an answer")
    };
    let refused = [
        decide(&[("host", &host), ("origin", "https://evil.example")]),
        decide(&[("host", &host), ("sec-fetch-site", "cross-site")]),
        decide(&[("host", &host), ("origin", &origin)]),
        decide(&[("host", "evil.example"), ("origin", "http://evil.example")]),
    ];
    for answer in &refused {
        assert!([400, 403, 421].contains(&answer.status), "{answer:?}");
    }
    assert_eq!(rig.alice().approval(&id)["status"], "pending");
    rig.nothing_was_sent();
    waiting.hang_up();
}
