//! Who may do what, over the whole route table: every endpoint, every kind of caller. A new endpoint is in the matrix by being in
//! the table; what answers otherwise than the rule says stands in a file with its reason, and an entry that is no longer needed fails.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use holdpoint::api::Surface;
use holdpoint::api::route::{Effect, Role, Route};
use holdpoint::api::table::ROUTES;
use holdpoint::dashboard::{Access, PAGES};
use serde_json::{Value, json};

use crate::support::home::digest;
use crate::support::people::{Call, token};
use crate::support::rig::Rig;

/// Who calls, by the name in the exceptions, the role and the id whose token is sent.
const CALLERS: [(&str, Option<Role>, &str); 6] = [
    ("anonymous", None, ""),
    ("owner", Some(Role::Agent), "bot"),
    ("other_agent", Some(Role::Agent), "other-bot"),
    ("reviewer", Some(Role::Reviewer), "bob"),
    ("admin", Some(Role::Admin), "alice"),
    ("metrics", Some(Role::Metrics), "metrics"),
];

fn rig() -> Rig {
    Rig::with(|home| {
        super::tools::seed(&home);
        let digest = digest("metrics");
        home.key(&format!("metrics: {{ token_sha256: \"{digest}\" }}")).key("limits: { pending_per_agent_max: 500 }")
    })
}

fn create(rig: &Rig) -> String {
    let created = rig.bot().post("/_holdpoint/v1/approvals", &json!({ "action": "refund" })).send().expect(201, "");
    created.json()["id"].as_str().expect("an id").to_owned()
}

/// A request that would be good, for a fresh approval of `bot`.
fn request(rig: &Rig, address: SocketAddr, prefix: &str, route: &Route) -> Call {
    let id = if route.path.contains("{id}") || route.operation == "bulkDecide" { create(rig) } else { String::new() };
    let target =
        format!("{prefix}{}", route.path.replace("{id}", &id)).replace("{upstream}", "mail").replace("{name}", "send");
    let call = Call::new(address, route.method.as_str(), &target);
    let body = match route.operation {
        "createApproval" => json!({ "action": "refund" }),
        "decideApproval" => json!({ "decision": "rejected", "reason": "No." }),
        "bulkDecide" => json!({ "ids": [id], "decision": "rejected", "reason": "No." }),
        "resolveApproval" => json!({ "outcome": "committed", "note": "Seen." }),
        "acceptTool" => json!({ "digest": super::tools::seeded_digest() }),
        "evaluatePolicy" => json!({ "tool": "safe_read" }),
        "simulatePolicy" => json!({ "policy": "version: 1\nrules: []\n" }),
        _ => return call,
    };
    call.json(&body)
}

/// The status alone: one of the operations streams for ever.
fn status(address: SocketAddr, call: &Call) -> u16 {
    let mut socket = TcpStream::connect(address).expect("the listener answers");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a read time-out can be set");
    socket.write_all(&call.bytes()).expect("a request can be sent");
    let mut head = [0; 12];
    socket.read_exact(&mut head).expect("an answer");
    String::from_utf8_lossy(&head[9..]).parse().expect("a status")
}

/// What the rule says: no credential 401, no role 403, another's approval 404, else the answer of the table.
fn expected(route: &Route, name: &str, role: Option<Role>) -> u16 {
    let admits = |role| match role {
        Role::Admin => route.who.contains(&Role::Admin) || route.who.contains(&Role::Reviewer),
        role => route.who.contains(&role),
    };
    match role {
        _ if route.who.contains(&Role::Anyone) => route.answer.status,
        None => 401,
        Some(role) if !admits(role) => 403,
        Some(Role::Agent) if name == "other_agent" && route.path.contains("{id}") => 404,
        Some(_) => route.answer.status,
    }
}

/// The answers that differ from the rule, with their reasons; which of them were needed.
struct Exceptions(Vec<Value>, BTreeSet<usize>);

impl Exceptions {
    fn read() -> Self {
        let text = include_str!("authorisation.exceptions.json");
        Self(serde_json::from_str(text).expect("the exceptions are JSON"), BTreeSet::new())
    }

    /// What a caller of an operation should be answered.
    fn wanted(&mut self, route: &Route, name: &str, role: Option<Role>) -> u16 {
        let Self(exceptions, used) = self;
        let Some(place) = exceptions.iter().position(|e| e["operation"] == route.operation && e["caller"] == name)
        else {
            return expected(route, name, role);
        };
        used.insert(place);
        let status = u16::try_from(exceptions[place]["status"].as_u64().expect("a status")).expect("a status");
        assert_ne!(status, expected(route, name, role), "{} by {name} is no exception", route.operation);
        assert!(exceptions[place]["why"].as_str().is_some_and(|why| why.len() > 10), "say why");
        status
    }
}

#[test]
fn every_endpoint_admits_exactly_the_callers_that_its_row_names() {
    let rig = rig();
    let mut exceptions = Exceptions::read();
    for route in ROUTES {
        for (name, role, id) in CALLERS {
            let mut call = request(&rig, rig.gateway.admin, "", route);
            if role.is_some() {
                call = call.bearer(&token(id));
            }
            let got = status(rig.gateway.admin, &call);
            assert_eq!(got, exceptions.wanted(route, name, role), "{} by {name}", route.operation);
        }
    }
    assert_eq!(exceptions.1.len(), exceptions.0.len(), "an exception names no operation or caller");
}

#[test]
fn the_agents_surface_serves_agents_and_nobody_else() {
    let rig = rig();
    let mut exceptions = Exceptions::read();
    let prefix = Surface::AgentOnly.prefix();
    for route in ROUTES {
        let served = Surface::AgentOnly.serves(route);
        for (name, role, id) in CALLERS {
            let mut call = request(&rig, rig.gateway.proxy, prefix, route);
            if role.is_some() {
                call = call.bearer(&token(id));
            }
            let got = status(rig.gateway.proxy, &call);
            if !served {
                // Its path may be one of another operation that is; it is never this one that answers.
                assert!((400..500).contains(&got), "{} by {name}: {got}", route.operation);
                continue;
            }
            let wanted = match role {
                Some(Role::Agent) => exceptions.wanted(route, name, role),
                // A reviewer's token calls nothing here, not even what reviewers may call on the admin listener.
                Some(_) => 403,
                None => 401,
            };
            assert_eq!(got, wanted, "{} by {name}", route.operation);
        }
    }
}

#[test]
fn an_unknown_token_is_nobody() {
    let rig = rig();
    for route in ROUTES.iter().filter(|route| !route.who.contains(&Role::Anyone)) {
        let call = request(&rig, rig.gateway.admin, "", route).bearer("hp_guessed");
        assert_eq!(status(rig.gateway.admin, &call), 401, "{}", route.operation);
    }
    assert!(rig.gateway.get("/healthz").status == 200);
}

#[test]
fn everything_that_changes_something_writes_the_trail_and_nothing_else_does() {
    let rig = rig();
    // It needs a call that was lost: `api::an_unknown_outcome_is_settled_once_by_a_person` looks at the record that it leaves.
    let exceptions = ["resolveApproval"];
    for route in ROUTES.iter().filter(|route| route.operation != "followEvents") {
        let caller = if route.who.contains(&Role::Agent) { "bot" } else { "alice" };
        let call = request(&rig, rig.gateway.admin, "", route).bearer(&token(caller));
        let before = rig.alice().trail().len();
        call.send();
        let grew = rig.alice().trail().len() > before;
        let writes = route.effect == Effect::Writes && !exceptions.contains(&route.operation);
        assert_eq!(grew, writes, "{}", route.operation);
    }
}

#[test]
fn reading_changes_nothing_wherever_the_pages_lead() {
    let rig = rig();
    let id = create(&rig);
    let cookie = super::dashboard::sign_in(&rig, "alice");
    let state = || (rig.alice().trail().len(), rig.alice().approval(&id), rig.alice().approvals(""));
    let before = state();
    let mut addresses: Vec<String> = ROUTES
        .iter()
        .filter(|route| route.method == "GET" && route.operation != "followEvents")
        .map(|route| route.path.replace("{id}", &id))
        .chain(PAGES.iter().filter(|page| page.method == "GET").map(|page| page.path.replace("{id}", &id)))
        .collect();
    let mut place = 0;
    while place < addresses.len() {
        let answer = Call::new(rig.gateway.admin, "GET", &addresses[place]).header("cookie", &cookie).send();
        assert!(answer.status < 500, "{}: {}", addresses[place], answer.status);
        if answer.header("content-type").is_some_and(|kind| kind.starts_with("text/html")) {
            for link in answer.text().split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
                let link = link.split('#').next().unwrap_or_default().replace("&amp;", "&");
                assert!(link.is_empty() || link.starts_with('/'), "a link that leaves: {link}");
                if !link.is_empty() && !addresses.contains(&link) {
                    addresses.push(link);
                }
            }
        }
        place += 1;
    }
    assert!(addresses.len() > ROUTES.len(), "{addresses:?}");
    assert_eq!(state(), before);
}

#[test]
fn every_page_but_signing_in_sends_strangers_to_sign_in() {
    let rig = rig();
    for page in PAGES.iter().filter(|page| page.access == Access::SignedIn) {
        let target = page.path.replace("{id}", &format!("apr_{}", "0".repeat(36)));
        let mut call = Call::new(rig.gateway.admin, page.method.as_str(), &target).header("origin", "http://localhost");
        if page.method == "POST" {
            call = call.header("content-type", "application/x-www-form-urlencoded").body("decision=approved");
        }
        let answer = call.send();
        match page.method.as_str() {
            "GET" => {
                assert_eq!(answer.status, 303, "{}", page.path);
                assert!(answer.header("location").is_some_and(|to| to.starts_with("/dashboard/sign-in?next=")));
            }
            _ => assert_eq!(answer.status, 401, "{}", page.path),
        }
        // An agent's token opens no page.
        assert_ne!(call.bearer(&token("bot")).send().status, 200, "{}", page.path);
    }
}
