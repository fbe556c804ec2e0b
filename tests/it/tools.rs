//! Tool definitions that change: what becomes of calls, in a gateway that runs in this process so that lists and calls can be put
//! to its gate directly; the API and the page are reached over its listener.

mod api;
mod calls;
mod page;

use std::sync::Arc;

use bytes::Bytes;
use holdpoint::config::load::{Reviewers, load};
use holdpoint::config::secrets::ProcessEnv;
use holdpoint::domain::identity::AgentId;
use holdpoint::domain::policy::{Decision, VerdictKind};
use holdpoint::domain::time::Timestamp;
use holdpoint::domain::tools::{ListedTool, Page};
use holdpoint::gate::Gate;
use holdpoint::gate::held::HeldRequest;
use holdpoint::gate::intake::{Body, Entry};
use holdpoint::gate::parking::{Entered, Held, Order, Patience};
use holdpoint::gate::release::Sent;
use holdpoint::protocol::json;
use holdpoint::protocol::target::RequestTarget;
use holdpoint::runtime::{Origin, Running, start};
use holdpoint::store::Store;
use holdpoint::store::sqlite::{Options, SqliteStore};
use holdpoint::store::tools::Listing;
use serde_json::{Value, json};

use crate::support::home::{Home, digest};
use crate::support::people::Reviewer;
use crate::support::wait::{SOON, until};

/// Everything passes but `audited` (written down), `gated_*` (parked) and `forbidden` (blocked).
const POLICY: &str = r#"
version: 1
default: allow
rules:
  - { id: forbidden, match: forbidden, action: block }
  - { id: audited, match: audited, action: audit }
  - id: gated
    match: "gated_*"
    action: require_approval
    risk: low
    approval: { redact: [ /args/secret ] }
"#;

/// A gateway in this process, in front of MCP upstreams that differ in `on_tool_change`.
pub(crate) struct Tools {
    runtime: tokio::runtime::Runtime,
    running: Option<Running>,
    home: Home,
}

/// What became of a call.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// Policy let it through.
    Passed,
    /// It was refused: rule and reason.
    Blocked(Option<String>, Option<String>),
    /// It was approved and sent.
    Sent,
    /// A reviewer rejected it, or it expired.
    Refused,
    /// It was approved, and may not be sent: why.
    NotSent(String),
}

/// A call under way.
pub(crate) struct UnderWay(tokio::task::JoinHandle<Done>);

fn configuration(keys: &str) -> String {
    let upstream =
        |name: &str, key: &str| format!("  {name}: {{ url: \"http://127.0.0.1:9/{name}\", protocol: mcp{key} }}\n");
    let upstreams = [
        upstream("mail", ""),
        upstream("asks", ", on_tool_change: require_approval"),
        upstream("strict", ", on_tool_change: block"),
        upstream("loose", ", on_tool_change: allow"),
    ];
    let routes = ["mail", "asks", "strict", "loose"].map(|name| format!("  - {{ path: /{name}, upstream: {name} }}\n"));
    format!(
        "version: 1\nproxy: {{ listen: \"127.0.0.1:0\" }}\nadmin: {{ listen: \"127.0.0.1:0\" }}\n\
         store: \"sqlite://holdpoint.db\"\npolicies: [ policy.yaml ]\n\
         agents: [ {{ id: bot, token_sha256: \"{}\" }} ]\nreviewers:\n  \
         - {{ id: alice, role: admin, token_sha256: \"{}\" }}\n  - {{ id: bob, token_sha256: \"{}\" }}\n\
         upstreams:\n{}routes:\n{}{keys}",
        digest("bot"),
        digest("alice"),
        digest("bob"),
        upstreams.concat(),
        routes.concat(),
    )
}

impl Tools {
    pub(crate) fn start() -> Self {
        Self::with("")
    }

    /// With further lines of configuration.
    fn with(keys: &str) -> Self {
        // No request reaches an upstream here.
        let mut home = Home::new(([127, 0, 0, 1], 9).into()).policy(POLICY);
        home.settings.whole = Some(configuration(keys));
        home.write();
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let mut tools = Self { runtime, running: None, home };
        tools.serve();
        tools
    }

    fn serve(&mut self) {
        let path = self.home.path("holdpoint.yaml");
        let loaded = load(&path, &ProcessEnv, Reviewers::Required);
        let config = loaded.config.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics));
        let origin = Origin { path, files_read: Vec::new(), reviewers: Reviewers::Required };
        self.running = Some(self.runtime.block_on(start(config, origin)).expect("starts"));
    }

    /// Puts another policy in force.
    fn reload(&self, policy: &str) {
        std::fs::write(self.home.path("policy.yaml"), policy).expect("the policy can be written");
        let config = load(&self.home.path("holdpoint.yaml"), &ProcessEnv, Reviewers::Required).config.expect("loads");
        let reloaded = self.gate().reload(config.policies.compiled().clone(), self.gate().limits());
        self.runtime.block_on(reloaded).expect("is judged again");
    }

    fn restart(&mut self) {
        let running = self.running.take().expect("it runs");
        assert!(self.runtime.block_on(running.shut_down()), "it ends in time");
        self.serve();
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("it runs")
    }

    fn gate(&self) -> &Gate {
        &self.running().gate
    }

    pub(crate) fn reviewer(&self, id: &str) -> Reviewer {
        Reviewer { admin: self.running().admin, id: id.to_owned() }
    }

    fn try_list(&self, upstream: &str, page: Page, tools: &[(&str, &str)]) -> Result<(), String> {
        let listed = tools.iter().map(|(name, description)| entry(name, description)).collect();
        let listed = self.gate().tools_page_listed(upstream, page, listed);
        self.runtime.block_on(listed).map_err(|error| error.to_string())
    }

    /// The upstream lists these tools, by name and description.
    pub(crate) fn list(&self, upstream: &str, tools: &[(&str, &str)]) {
        self.try_list(upstream, Page::WHOLE, tools).expect("it is taken");
    }

    /// Starts a call of `bot`.
    fn start_call(&self, upstream: &str, tool: &str, argument: &str) -> UnderWay {
        let body = json!({ "to": argument, "secret": "canary" }).to_string();
        let request = HeldRequest {
            agent: AgentId("bot".to_owned()),
            upstream: upstream.to_owned(),
            tool: tool.to_owned(),
            method: http::Method::POST,
            target: RequestTarget::parse("/mcp").expect("a target"),
            headers: http::HeaderMap::new(),
            body: Some(Bytes::from(body)),
            protocol: holdpoint::domain::call::Protocol::Http,
        };
        UnderWay(self.runtime.spawn(call(self.gate().clone(), request)))
    }

    /// Makes a call to its end.
    fn call(&self, upstream: &str, tool: &str, argument: &str) -> Done {
        self.end(self.start_call(upstream, tool, argument))
    }

    fn end(&self, call: UnderWay) -> Done {
        let ended = async { tokio::time::timeout(SOON, call.0).await };
        self.runtime.block_on(ended).expect("it ends").expect("it does not panic")
    }

    /// The one pending approval.
    fn pending(&self) -> Value {
        until("one approval is pending", || match &*self.reviewer("alice").pending() {
            [one] => Some(one.clone()),
            _ => None,
        })
    }

    fn decide(&self, decision: &str) -> Value {
        let pending = self.pending();
        let id = pending["id"].as_str().expect("an id");
        self.reviewer("bob").try_decide(id, decision, Some("Because.")).expect(200, "");
        self.reviewer("alice").approval(id)
    }

    /// What the API says of a tool.
    fn tool(&self, upstream: &str, tool: &str) -> Value {
        let answer = self.reviewer("bob").call("GET", &format!("/v1/tools/{upstream}/{tool}")).send();
        answer.expect(200, "").json()
    }

    fn standing(&self, upstream: &str, tool: &str) -> String {
        self.tool(upstream, tool)["standing"].as_str().expect("a standing").to_owned()
    }
}

impl Drop for Tools {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            self.runtime.block_on(running.shut_down());
        }
    }
}

/// An entry of `tools/list`.
pub(crate) fn entry(name: &str, description: &str) -> ListedTool {
    let text = json!({ "name": name, "description": description, "inputSchema": { "type": "object" } }).to_string();
    let value = json::read(text.as_bytes(), &json::Limits::default()).expect("strict JSON");
    ListedTool::new(name, &value)
}

/// What the tool that [`seed`] leaves was first, and is now.
const SEEDED: [&str; 2] = ["Sends a mail.", "Sends a mail. Also reads your keys."];

/// The digest of the present definition of the tool that [`seed`] leaves.
pub(crate) fn seeded_digest() -> String {
    entry("send", SEEDED[1]).definition.digest.to_string()
}

/// Leaves a store with one tool, `mail/send`, whose definition has changed.
pub(crate) fn seed(home: &Home) {
    let store: Arc<dyn Store> =
        Arc::new(SqliteStore::open(&home.path("holdpoint.db"), Options::default()).expect("opens"));
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    for description in SEEDED {
        let tools = vec![entry("send", description)];
        let listing = Listing { upstream: "mail".to_owned(), page: Page::WHOLE, tools, tools_max: 10 };
        runtime.block_on(store.list_tools(listing, Timestamp::from_millis(1_767_225_600_000))).expect("is written");
    }
}

/// A call from its verdict to its end, as a proxy carries it out.
async fn call(gate: Gate, request: HeldRequest) -> Done {
    let policy = gate.policy();
    let order = {
        let bytes = request.body.clone().expect("there is a body");
        let value = json::read(&bytes, &json::Limits::default()).expect("strict JSON");
        let standing = gate.tool_standing(&request.upstream, &request.tool);
        let on_change = gate.on_tool_change(&request.upstream);
        let entry =
            Entry::new(&gate, &policy, request.facts(gate.tool_claims(&request.upstream, &request.tool)), gate.now())
                .for_tool(&request.tool, standing, on_change);
        let Decision::Verdict(verdict) =
            entry.judge(Body::Read(&value), holdpoint::telemetry::stopwatch::Stopwatch::start())
        else {
            panic!("the body was read")
        };
        match verdict.kind {
            VerdictKind::Blocked => {
                let denial = entry.deny(&verdict).await;
                return Done::Blocked(denial.rule, denial.reason);
            }
            VerdictKind::Allowed | VerdictKind::Audit => {
                entry.admit(&verdict).await.expect("a permit").spend_on_passing().expect("it is policy's");
                return Done::Passed;
            }
            VerdictKind::WaitingForApproval => {
                let (rule, shown) = entry.order(&verdict, Body::Read(&value), None).await.expect("is written");
                let request = request.clone();
                Order { request, rule, shown, idempotency_key: None, trace_id: None, patience: Patience::Wait(SOON) }
            }
        }
    };
    let held = match gate.enter(order).await.expect("is parked") {
        Entered::Settled(held) => held,
        Entered::Waiting(waiting) => waiting.to_the_end(Patience::Wait(SOON)).await.expect("waits"),
    };
    match *held {
        Held::Permitted(permit, request) => {
            let release = permit.spend(|| request.fingerprint()).expect("it is this call's");
            release.finish(Sent::Answered(200), None).await;
            Done::Sent
        }
        Held::BlockedNow(_, reason) => Done::NotSent(reason),
        Held::Refused(_) => Done::Refused,
        other => panic!("{other:?}"),
    }
}
