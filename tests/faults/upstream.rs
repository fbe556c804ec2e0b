//! Upstreams that die, at every point of a call: what was not sent keeps its permit, what may have been is unknown, nothing goes out
//! twice.

use serde_json::{Value, json};

use crate::death::{DEATHS, Death};
use crate::dying::Upstream;
use crate::kit::{LONG, until_true};
use crate::support::gateway::Gateway;
use crate::support::home::Home;
use crate::support::http::Answer;
use crate::support::origin::Nowhere;
use crate::support::people::{Agent, Call, Reviewer};
use crate::support::rig::gate_delete;
use crate::support::wait::until_within;

/// The deaths that an upstream over TLS can die besides.
const HANDSHAKES: [Death; 3] = [Death::InHandshake, Death::ResetInHandshake, Death::SilentHandshake];

struct Scene {
    gateway: Gateway,
    home: Home,
    upstream: Upstream,
}

impl Scene {
    fn new(upstream: Upstream) -> Self {
        let home = Home::new(upstream.address)
            .policy(&gate_delete("hold: 60s, expires_in: 1h, grant_ttl: 1h"))
            .upstream_key("timeout: 6s")
            .upstream_key("connect_timeout: 2s");
        let home = match &upstream.certificate {
            None => home,
            Some(certificate) => {
                std::fs::write(home.path("upstream.pem"), certificate).expect("written");
                let mut home = home.upstream_key("tls: { ca: upstream.pem }");
                home.settings.whole = Some(home.configuration().replace("url: \"http://", "url: \"https://"));
                home
            }
        };
        Self { gateway: Gateway::start(&home), home, upstream }
    }

    fn bot(&self) -> Agent {
        self.gateway.agent("bot")
    }

    fn alice(&self) -> Reviewer {
        self.gateway.reviewer("alice")
    }

    /// A call with a mark of its own; long enough that an upstream can die within it.
    fn call(&self, tool: &str, mark: &str) -> Call {
        let filling = if mark.contains("AfterHead") { "x".repeat(300 << 10) } else { String::new() };
        self.bot().post(&format!("/tools/{tool}"), &json!({ "filling": filling, "mark": mark }))
    }

    fn outcome(&self, id: &str) -> Value {
        self.alice().approval(id)["outcome"].clone()
    }

    /// Waits until the release has ended.
    fn end_of(&self, id: &str) -> String {
        until_within(LONG, &format!("the release of {id} has ended"), || {
            let state = self.outcome(id)["state"].as_str().unwrap_or_default().to_owned();
            ["failed", "unknown", "succeeded"].contains(&state.as_str()).then_some(state)
        })
    }

    /// Says what became of the release and of the upstream fit together: nothing was sent, or it may have been and is unknown.
    fn check_end(&self, death: Death, mark: &str, state: &str) {
        let times = self.upstream.times_received(mark);
        assert!(times <= 1, "{mark}: sent {times} times");
        match (state, death) {
            ("failed", Death::Unread) => assert_eq!(self.upstream.bytes_received_last(), 0, "{mark}"),
            // Whether a byte was on its way when the reset came, the upstream cannot tell; the gateway says that none was.
            ("failed", Death::ResetUnread) => {}
            ("failed", _) => assert!(death.is_before_sending() && times == 0, "{mark}: called failed"),
            ("unknown", _) => assert!(!death.is_before_sending(), "{mark}: nothing was sent, and it is called unknown"),
            _ => panic!("{mark}: {state}"),
        }
    }

    /// What an unknown outcome leads to: the same call asks anew, and a person settles the old one.
    fn check_unknown(&self, id: &str, mark: &str, times: usize) {
        let again = self.call("delete_repo", mark).header("prefer", "wait=0").send().expect(503, "approval_pending");
        assert_ne!(again.approval(), id, "{mark}");
        self.alice().reject(&again.approval(), "It may have run.");
        let resolve = self.alice().call("POST", &format!("/v1/approvals/{id}/resolve"));
        resolve.json(&json!({ "outcome": "not_committed", "note": "Looked." })).send().expect(200, "");
        assert_eq!(self.upstream.times_received(mark), times, "{mark}: sent again");
    }

    /// What a failure leads to: the permit is there, and the same call uses it.
    fn check_permit(&self, id: &str, mark: &str) {
        let outcome = self.outcome(id);
        assert_eq!((&outcome["state"], &outcome["retry_allowed"]), (&json!("failed"), &json!(true)), "{mark}");
        self.upstream.will(Death::None);
        let retried = self.call("delete_repo", mark).send().expect(200, "");
        assert_eq!((retried.approval(), self.upstream.times_received(mark)), (id.to_owned(), 1), "{mark}");
    }
}

/// Asserts what whoever sent the call is told.
fn check_told(answer: &Answer, death: Death, mark: &str) {
    let unknown = answer.header("holdpoint-outcome") == Some("unknown");
    let told = (answer.status, answer.code(), unknown, answer.json()["retryable"].as_bool());
    let not_sent = (502, "upstream_unreachable".to_owned(), false, Some(true));
    let lost = (502, "outcome_unknown".to_owned(), true, Some(false));
    let late = (504, "upstream_timeout".to_owned(), true, Some(false));
    match death {
        _ if death.is_before_sending() => assert_eq!(told, not_sent, "{mark}"),
        Death::Unread | Death::ResetUnread => assert!(told == not_sent || told == lost, "{mark}: {told:?}"),
        // A reset may overtake what was sent before it.
        Death::ResetInBody => assert_eq!(told, lost, "{mark}"),
        _ if death.is_in_body() => panic!("{mark}: half an answer was passed off as one: {answer:?}"),
        Death::SilentHead => assert_eq!(told, late, "{mark}"),
        _ => assert_eq!(told, lost, "{mark}"),
    }
}

/// A held call whose caller waits for the answer.
fn die_on_waiting_caller(scene: &Scene, death: Death) {
    let mark = format!("waiting-{death:?}");
    let (before, waiting) = (scene.upstream.connections(), scene.call("delete_repo", &mark).start());
    let id = scene.gateway.one_pending();
    scene.upstream.will(death);
    scene.alice().approve(&id);
    if death == Death::SilentBody {
        // The caller has the patience; when it has none left, the rest of the answer is awaited without it.
        until_true("the answer has begun", || scene.upstream.times_received(&mark) == 1);
        waiting.hang_up();
        scene.upstream.end_silence();
    } else {
        match waiting.outcome() {
            Ok(answer) => check_told(&answer, death, &mark),
            Err(error) => assert!(death.is_in_body(), "{mark}: {error}"),
        }
    }
    let state = scene.end_of(&id);
    scene.check_end(death, &mark, &state);
    assert_eq!(scene.upstream.connections(), before + 1, "{mark}: one connection, for this call alone");
    match state.as_str() {
        "unknown" => scene.check_unknown(&id, &mark, scene.upstream.times_received(&mark)),
        _ => scene.check_permit(&id, &mark),
    }
}

/// A held call that the gateway sends by itself; the approval, unless the permit came back.
fn die_on_the_gateway(scene: &Scene, death: Death) -> Option<String> {
    let mark = format!("detached-{death:?}");
    let parked = scene.call("delete_repo", &mark).header("prefer", "respond-async").send().expect(202, "");
    scene.upstream.will(death);
    scene.alice().approve(&parked.approval());
    let id = parked.approval();
    let state = scene.end_of(&id);
    scene.check_end(death, &mark, &state);
    scene.bot().call("GET", &format!("/_holdpoint/v1/approvals/{id}/result")).send().expect(409, "no_result");
    scene.upstream.will(Death::None);
    if state == "failed" {
        until_true("the gateway tries again", || scene.outcome(&id)["state"] == "succeeded");
        assert_eq!(scene.upstream.times_received(&mark), 1, "{mark}");
        return None;
    }
    Some(id)
}

/// A call that policy lets through.
fn die_on_allowed_call(scene: &Scene, death: Death) {
    let mark = format!("allowed-{death:?}");
    scene.upstream.will(death);
    let waiting = scene.call("safe_read", &mark).start();
    if death == Death::SilentBody {
        until_true("the answer has begun", || scene.upstream.times_received(&mark) == 1);
        scene.upstream.end_silence();
    }
    match waiting.outcome() {
        Ok(answer) => {
            check_told(&answer, death, &mark);
            let state = if answer.code() == "upstream_unreachable" { "failed" } else { "unknown" };
            scene.check_end(death, &mark, state);
        }
        Err(error) => assert!(death.is_in_body(), "{mark}: {error}"),
    }
    assert!(scene.upstream.times_received(&mark) <= 1, "{mark}");
}

/// All deaths of `upstream`, for each kind of call; then a restart, which sends nothing again either.
fn die_all(upstream: Upstream, deaths: &[Death]) {
    let scene = Scene::new(upstream);
    for death in deaths {
        die_on_allowed_call(&scene, *death);
        die_on_waiting_caller(&scene, *death);
    }
    let unknown: Vec<String> = deaths.iter().filter_map(|death| die_on_the_gateway(&scene, *death)).collect();
    assert!(unknown.len() >= 10, "{unknown:?}");
    let Scene { gateway, home, upstream } = scene;
    let before = upstream.connections();
    gateway.crash();
    let scene = Scene { gateway: Gateway::start(&home), home, upstream };
    // Once a detached call has run from beginning to end, those before it had their turn too.
    let parked = scene.call("delete_repo", "the-last").header("prefer", "respond-async").send().expect(202, "");
    scene.alice().approve(&parked.approval());
    assert_eq!(scene.end_of(&parked.approval()), "succeeded");
    assert_eq!(scene.upstream.connections(), before + 1, "nothing but the last was sent");
    for id in unknown {
        assert_eq!(scene.outcome(&id)["state"], "unknown");
    }
    assert_eq!(scene.gateway.metric("holdpoint_calls_abandoned_total", &[]), 0.0);
    drop(scene.home);
}

#[test]
fn an_upstream_that_dies_at_any_point_is_sent_nothing_twice_and_the_outcome_is_called_what_it_is() {
    die_all(Upstream::plain(), &DEATHS);
}

#[test]
fn an_upstream_over_tls_that_dies_at_any_point_is_sent_nothing_twice_and_a_failed_handshake_keeps_the_permit() {
    die_all(Upstream::over_tls(), &[&HANDSHAKES[..], &DEATHS[..]].concat());
}

#[test]
fn an_upstream_that_refuses_connections_leaves_the_permit_to_the_gateways_own_next_try() {
    let nowhere = Nowhere::reserve();
    let home = Home::new(nowhere.address).policy(&gate_delete("hold: 50ms, expires_in: 1h, grant_ttl: 1h"));
    let gateway = Gateway::start(&home);
    let (bot, alice) = (gateway.agent("bot"), gateway.reviewer("alice"));
    let refused = bot.post("/tools/safe_read", &json!({})).send().expect(502, "upstream_unreachable");
    assert_eq!(refused.json()["retryable"], true);
    let call = bot.post("/tools/delete_repo", &json!({})).header("prefer", "respond-async");
    let id = call.send().expect(202, "").approval();
    alice.approve(&id);
    let state =
        |wanted: &str| until_true(&format!("{id} is {wanted}"), || alice.approval(&id)["outcome"]["state"] == wanted);
    state("failed");
    let origin = nowhere.listen();
    state("succeeded");
    assert_eq!(origin.count("/delete_repo"), 1);
}

#[test]
fn a_kept_connection_that_the_upstream_has_closed_sends_no_call_twice() {
    let scene = Scene::new(Upstream::plain());
    let (mut lost, mut passed) = (0, 0);
    for (round, death) in
        [Death::AfterAnswer, Death::ResetAfterAnswer, Death::AfterRequest].repeat(12).iter().enumerate()
    {
        // The first leaves a connection behind that dies in this very moment, or when it is used again.
        scene.upstream.will(if *death == Death::AfterRequest { Death::None } else { *death });
        let first = scene.call("safe_read", &format!("first-{round}.")).send();
        scene.upstream.will(if *death == Death::AfterRequest { *death } else { Death::None });
        let mark = format!("second-{round}.");
        let second = scene.call("safe_read", &mark).send();
        for (answer, mark) in [(first, format!("first-{round}.")), (second, mark)] {
            let times = scene.upstream.times_received(&mark);
            match (answer.status, answer.code().as_str()) {
                (200, "") => assert_eq!(times, 1, "{mark}"),
                (502, "upstream_unreachable") => assert_eq!(times, 0, "{mark}: called not sent"),
                (502, "outcome_unknown") => assert!(times <= 1, "{mark}: sent {times} times"),
                other => panic!("{mark}: {other:?}"),
            }
            if answer.status == 200 { passed += 1 } else { lost += 1 }
        }
    }
    assert!(lost >= 12 && passed >= 24, "{lost} lost, {passed} passed");
    // A held call never takes its chance on a kept connection.
    scene.upstream.will(Death::None);
    until_true("a connection is kept", || scene.call("safe_read", "to be kept").send().status == 200);
    scene.upstream.will(Death::AfterRequest);
    let before = scene.upstream.connections();
    let waiting = scene.call("delete_repo", "held").start();
    let id = scene.gateway.one_pending();
    scene.upstream.will(Death::None);
    scene.alice().approve(&id);
    waiting.answer().expect(200, "");
    assert_eq!((scene.upstream.connections(), scene.upstream.times_received("held")), (before + 1, 1));
    println!("R2: {lost} calls lost on dying connections and {passed} passed, each sent at most once");
}
