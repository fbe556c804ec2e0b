//! An agent that tries to decide for itself: its token at the admin listener, and upstreams that turn out to be the gateway.

use std::net::{SocketAddr, TcpListener, UdpSocket};

use serde_json::{Value, json};

use crate::support::gateway::Gateway;
use crate::support::home::Home;
use crate::support::http::{Answer, Wire};
use crate::support::people::{Call, token};
use crate::support::rig::{Rig, repository};
use crate::support::wait::until_true;

/// Every way to write something as an agent, or as nobody, where only reviewers may.
#[test]
fn h27_an_agents_token_opens_nothing_on_the_admin_listener_whatever_host_it_names() {
    let rig = Rig::start();
    let (waiting, id) = rig.park();
    let (proxy, admin) = (rig.gateway.proxy, rig.gateway.admin);
    let before = rig.alice().approval(&id);
    let decision = json!({ "decision": "approved" });
    let targets = [
        ("POST", format!("/v1/approvals/{id}")),
        ("POST", "/v1/approvals/bulk".to_owned()),
        ("POST", format!("/_holdpoint/v1/approvals/{id}")),
        ("POST", format!("/dashboard/approvals/{id}")),
        ("GET", "/v1/approvals".to_owned()),
        ("GET", "/v1/audit/export".to_owned()),
        ("GET", format!("/dashboard/approvals/{id}")),
    ];
    for address in [proxy, admin] {
        for host in ["admin", "localhost", &admin.to_string(), &proxy.to_string()] {
            for (method, target) in &targets {
                let mut call = Call::new(address, method, target).header("host", host).bearer(&token("bot"));
                if *method == "POST" {
                    call = call.json(&decision);
                }
                let answer = call.send();
                let what = format!("{method} {target} at {address} under the host {host}: {}", answer.text());
                // A page that wants a signed-in reviewer sends the browser to sign in.
                assert!([303, 400, 401, 403, 404, 405, 421].contains(&answer.status), "{}: {what}", answer.status);
                assert!(!answer.text().contains(&repository()["repo"].to_string()), "{what}");
            }
        }
    }
    assert_eq!(rig.alice().approval(&id), before, "nothing about it has changed");
    rig.nothing_was_sent();
    waiting.hang_up();
}

/// Lets everything through to the upstream but the gated call, and says in a reason which configuration is in force.
fn policy(url: &str) -> String {
    let gate = "{ id: gate, match: delete_repo, action: require_approval, approval: { hold: 30s } }";
    let marker = format!("{{ id: where, match: \"tools:GET /where\", action: block, reason: \"{url}\" }}");
    format!("version: 1\ndefault: allow\nrules: [ {gate}, {marker} ]\n")
}

/// A gateway whose configuration can name its own listeners: their ports are known only once they are bound.
struct Mirror {
    gateway: Gateway,
    home: Home,
    plain: String,
}

impl Mirror {
    /// The proxy listener is bound to `listen`, the admin listener to loopback.
    fn start(listen: &str) -> Self {
        let mut home = Home::new(SocketAddr::from(([127, 0, 0, 1], 9)));
        // What an agent would gain most from: the upstream's own headers are a reviewer's.
        home = home.upstream_key(&format!("headers: {{ authorization: \"Bearer {}\" }}", token("alice")));
        let plain = home.configuration();
        let at_loopback = "proxy: { listen: \"127.0.0.1:0\" }";
        assert!(plain.contains(at_loopback), "the rig's configuration has another listener by now");
        let plain = plain.replace(at_loopback, &format!("proxy: {{ listen: \"{listen}\" }}"));
        home.settings.policy = policy("at first");
        home.settings.whole = Some(plain.clone());
        let gateway = Gateway::start(&home);
        Self { gateway, home, plain }
    }

    /// Takes this over as the upstream's URL while the gateway runs.
    fn point_at(&mut self, url: &str) {
        self.home.settings.policy = policy(url);
        self.home.settings.whole = Some(self.plain.replace("http://127.0.0.1:9\"", &format!("{url}\"")));
        self.home.write();
        self.gateway.signal("HUP");
        until_true("the configuration is taken over", || {
            let answer = self.gateway.agent("bot").call("GET", "/tools/where").send().expect(403, "blocked");
            answer.json()["reason"] == url
        });
    }

    /// An agent's call that is to reach the approvals API through the upstream.
    fn decide_through_the_upstream(&self, id: &str) -> Answer {
        let target = format!("/tools/v1/approvals/{id}");
        self.gateway.agent("bot").post(&target, &json!({ "decision": "approved" })).send()
    }
}

#[track_caller]
fn refused_as_own(answer: &Answer, what: &str) {
    assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_unreachable"), "{what}: {}", answer.text());
    assert!(answer.text().contains("the gateway's own listeners"), "{what}: {}", answer.text());
}

/// An address of an interface of this machine other than loopback, if it has one.
fn interface() -> Option<SocketAddr> {
    let probe = UdpSocket::bind("0.0.0.0:0").ok()?;
    probe.connect("192.0.2.1:9").ok()?;
    probe.local_addr().ok().filter(|address| !address.ip().is_loopback())
}

/// The proxy listener is bound to `listen`, which these hosts reach.
fn check_nobody_decides_through_it(listen: &str, hosts: &[String]) {
    let mut mirror = Mirror::start(listen);
    let body = json!({ "action": "deploy" });
    let asked = mirror.gateway.agent("bot").post("/_holdpoint/v1/approvals", &body).send().expect(201, "").json();
    let id = asked["id"].as_str().expect("an id").to_owned();
    let (proxy, admin) = (mirror.gateway.proxy.port(), mirror.gateway.admin.port());
    let of_admin = ["127.0.0.1", "localhost"].map(|host| format!("http://{host}:{admin}"));
    let urls: Vec<String> = hosts.iter().map(|host| format!("http://{host}:{proxy}")).chain(of_admin).collect();
    for url in &urls {
        mirror.point_at(url);
        refused_as_own(&mirror.decide_through_the_upstream(&id), url);
    }
    let approval = mirror.gateway.reviewer("alice").approval(&id);
    assert_eq!((&approval["status"], &approval["votes"]), (&json!("pending"), &Value::Array(Vec::new())));
    let counted =
        mirror.gateway.metric("holdpoint_upstream_request_duration_seconds_count", &[("outcome", "not_sent")]);
    assert_eq!(counted, f64::from(u32::try_from(urls.len()).expect("few")), "each is counted as not sent");
    until_true("each is in the log", || {
        mirror.gateway.log().matches("an upstream is one of the gateway's own listeners").count() >= urls.len()
    });
}

fn owned(hosts: &[&str]) -> Vec<String> {
    hosts.iter().map(|host| (*host).to_owned()).collect()
}

#[test]
fn h27_an_upstream_that_resolves_to_a_listener_is_refused_when_it_is_connected_to() {
    check_nobody_decides_through_it("127.0.0.1:0", &owned(&["127.0.0.1", "localhost"]));
}

#[test]
fn h27_a_listener_on_every_address_is_known_under_each_of_them() {
    let mut hosts = owned(&["127.0.0.1", "127.0.0.2", "127.1.2.3", "localhost"]);
    hosts.extend(interface().map(|address| address.ip().to_string()));
    check_nobody_decides_through_it("0.0.0.0:0", &hosts);
}

#[test]
fn h27_a_listener_on_every_address_of_both_families_is_known_under_each_of_them() {
    // Where there is no IPv6, nothing can be bound to it.
    if TcpListener::bind("[::]:0").is_ok() {
        check_nobody_decides_through_it("[::]:0", &owned(&["127.0.0.1", "127.0.0.2", "[::1]", "localhost"]));
    }
}

#[test]
fn h27_an_approved_call_is_not_sent_to_a_listener_and_keeps_its_approval() {
    let mut mirror = Mirror::start("127.0.0.1:0");
    mirror.point_at(&format!("http://localhost:{}", mirror.gateway.admin.port()));
    let waiting = mirror.gateway.agent("bot").post("/tools/delete_repo", &repository()).start();
    let id = mirror.gateway.one_pending();
    mirror.gateway.reviewer("alice").approve(&id);
    refused_as_own(&waiting.answer(), "an approved call");
    let approval = mirror.gateway.reviewer("alice").approval(&id);
    assert_eq!(approval["status"], "approved", "{approval}");
    assert_ne!(approval["outcome"]["state"], "succeeded", "{approval}");
    let events = mirror.gateway.reviewer("alice").events(Some(&id));
    assert!(!events.contains(&"release_succeeded".to_owned()), "{events:?}");
}

#[test]
fn h27_the_proxy_is_no_way_to_another_host() {
    let rig = Rig::start();
    let admin = rig.gateway.admin;
    for line in [
        format!("POST http://{admin}/v1/approvals HTTP/1.1\r\nhost: {admin}"),
        format!("CONNECT {admin} HTTP/1.1\r\nhost: {admin}"),
        format!("GET /tools/safe_status HTTP/1.1\r\nhost: {admin}@x"),
        format!("GET //{admin}/v1/approvals HTTP/1.1\r\nhost: {admin}"),
    ] {
        let mut wire = Wire::connect(rig.gateway.proxy);
        wire.send(format!("{line}\r\nauthorization: Bearer {}\r\n\r\n", token("bot")).as_bytes());
        let answer = wire.answer().expect("an answer");
        assert!([400, 404, 405].contains(&answer.status), "{line}: {} {}", answer.status, answer.text());
    }
    rig.nothing_was_sent();
}
