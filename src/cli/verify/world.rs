//! What the checks act in: the scratch gateway, the scratch upstreams, and everybody's credentials.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context as _, anyhow};
use serde_json::{Value, json};

use super::gateway::{Gateway, PATIENCE, until};
use super::recorder::{ANSWERED, Arrival, Recorder};
use super::sample::{How, Sample};
use super::scratch::{AUDITOR, Spec};
use super::wire::{Answer, Request};
use crate::config::settings::Config;
use crate::domain::policy::CompiledPolicy;
use crate::problem::Code;
use crate::protocol::mcp::{META_DECISION, Status};
use crate::telemetry::stopwatch::Stopwatch;

/// How long a plain call asks to be kept waiting before it comes back.
const KEPT_SECONDS: u64 = 5;

pub(super) struct World<'c> {
    /// The configuration as the operator wrote it.
    pub(super) config: &'c Config,
    pub(super) policy: &'c CompiledPolicy,
    pub(super) spec: Spec,
    pub(super) gateway: Gateway,
    pub(super) recorder: Recorder,
    marks: Cell<u64>,
    /// Sessions of routes with several servers, by agent and path.
    sessions: RefCell<BTreeMap<(String, String), String>>,
}

/// A call that is parked, and its caller.
pub(super) struct Parked {
    pub(super) id: String,
    /// As reviewers see it.
    pub(super) approval: Value,
    pub(super) caller: Caller,
}

/// A caller that comes back for as long as its call is pending.
pub(super) struct Caller {
    answer: JoinHandle<std::io::Result<Answer>>,
    leave: Arc<AtomicBool>,
}

impl Caller {
    /// Its last answer.
    pub(super) fn answer(self) -> anyhow::Result<Answer> {
        let answer = self.answer.join().map_err(|_| anyhow!("a caller's thread panicked"))?;
        answer.context("a waiting caller got no answer")
    }

    fn is_answered(&self) -> bool {
        self.answer.is_finished()
    }

    /// Does not come back after the answer that it waits for.
    pub(super) fn leave(self) {
        self.leave.store(true, Ordering::SeqCst);
        drop(self.answer.join());
    }
}

impl<'c> World<'c> {
    pub(super) fn new(config: &'c Config, spec: Spec, gateway: Gateway, recorder: Recorder) -> Self {
        let policy = config.policies.compiled();
        Self { config, policy, spec, gateway, recorder, marks: Cell::new(0), sessions: RefCell::default() }
    }

    /// A mark that no call had.
    pub(super) fn mark(&self) -> u64 {
        self.marks.set(self.marks.get() + 1);
        self.marks.get()
    }

    pub(super) fn agent_token(&self, id: &str) -> anyhow::Result<&str> {
        self.spec.agents.get(id).map(String::as_str).ok_or_else(|| anyhow!("there is no agent `{id}`"))
    }

    pub(super) fn reviewer_token(&self, id: &str) -> anyhow::Result<&str> {
        self.spec.reviewers.get(id).map(String::as_str).ok_or_else(|| anyhow!("there is no reviewer `{id}`"))
    }

    /// The request of a call with its credential and, where it takes one, its session.
    pub(super) fn request(&self, sample: &Sample) -> anyhow::Result<Request> {
        let request = self.authorised(sample, sample.request())?;
        match &sample.how {
            How::Mcp { path, several: true, .. } => Ok(request.header("mcp-session-id", &self.session(sample, path)?)),
            How::Mcp { .. } | How::Http { .. } => Ok(request),
        }
    }

    fn authorised(&self, sample: &Sample, request: Request) -> anyhow::Result<Request> {
        match &sample.agent {
            Some(agent) => Ok(request.bearer(self.agent_token(agent)?)),
            None => Ok(request),
        }
    }

    /// A route with several servers has calls in sessions only.
    fn session(&self, sample: &Sample, path: &str) -> anyhow::Result<String> {
        let key = (sample.agent.clone().unwrap_or_default(), path.to_owned());
        if let Some(session) = self.sessions.borrow().get(&key) {
            return Ok(session.clone());
        }
        let hello = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
            "protocolVersion": "2025-06-18", "capabilities": {},
            "clientInfo": { "name": "holdpoint-verify", "version": env!("CARGO_PKG_VERSION") } } });
        let request = Request::new("POST", path).header("accept", "application/json, text/event-stream");
        let answer = self.authorised(sample, request.json(hello.to_string()))?.send(self.gateway.proxy)?;
        let session = answer.header("mcp-session-id");
        let session = session.ok_or_else(|| anyhow!("no session began at {path}: {}", answer.shown()))?.to_owned();
        self.sessions.borrow_mut().insert(key, session.clone());
        Ok(session)
    }

    /// Makes a call once, and waits for no decision.
    pub(super) fn once(&self, sample: &Sample) -> anyhow::Result<Answer> {
        let request = self.request(sample)?.header("prefer", "wait=0");
        request.send(self.gateway.proxy).with_context(|| format!("{} got no answer", sample.shown()))
    }

    /// Makes a call that comes back while it is pending.
    pub(super) fn start(&self, sample: &Sample) -> anyhow::Result<Caller> {
        let request = self.request(sample)?.header("prefer", &format!("wait={KEPT_SECONDS}"));
        let (proxy, leave) = (self.gateway.proxy, Arc::new(AtomicBool::new(false)));
        let left = leave.clone();
        let answer = std::thread::spawn(move || follow(&request, proxy, &left));
        Ok(Caller { answer, leave })
    }

    /// Makes a call and waits until it is parked. The inner error says what happened in place of that.
    pub(super) fn park(&self, sample: &Sample) -> anyhow::Result<Result<Parked, String>> {
        let known: BTreeSet<String> = self.pending()?.iter().map(id_of).collect();
        let arrived = self.recorder.count();
        let caller = self.start(sample)?;
        let found = until(|| {
            if let Some(approval) = self.pending()?.into_iter().find(|approval| !known.contains(&id_of(approval))) {
                return Ok(Some(Some(approval)));
            }
            // Answered, and nothing is pending even now.
            Ok(caller.is_answered().then_some(None))
        })?;
        match found.flatten() {
            Some(approval) => Ok(Ok(Parked { id: id_of(&approval), approval, caller })),
            None if caller.is_answered() => {
                let answer = caller.answer()?;
                let sent = self.recorder.count() - arrived;
                let sent = if sent > 0 { "; it arrived at the upstream" } else { "; nothing arrived at the upstream" };
                Ok(Err(format!("{} was answered {}{sent}", sample.shown(), answer.shown())))
            }
            None => Err(anyhow!("{} was neither parked nor answered within {PATIENCE:?}", sample.shown())),
        }
    }

    /// Makes a call that is parked and whose caller does not wait; the approval's id.
    pub(super) fn park_and_leave(&self, sample: &Sample) -> anyhow::Result<Result<String, String>> {
        let known: BTreeSet<String> = self.pending()?.iter().map(id_of).collect();
        let answer = self.once(sample)?;
        let found = self.pending()?.iter().map(id_of).find(|id| !known.contains(id));
        Ok(found.ok_or_else(|| format!("{} was answered {}", sample.shown(), answer.shown())))
    }

    /// As a reviewer or admin, on the admin listener.
    pub(super) fn ask(&self, token: &str, request: Request) -> anyhow::Result<Answer> {
        let shown = format!("{} {}", request.method, request.target);
        request.bearer(token).send(self.gateway.admin).with_context(|| format!("{shown} got no answer"))
    }

    /// As the reviewer that only looks; anything but 200 is an error.
    pub(super) fn look(&self, target: &str) -> anyhow::Result<Answer> {
        let answer = self.ask(self.reviewer_token(AUDITOR)?, Request::new("GET", target))?;
        if answer.status == 200 { Ok(answer) } else { Err(anyhow!("GET {target}: {}", answer.shown())) }
    }

    pub(super) fn pending(&self) -> anyhow::Result<Vec<Value>> {
        let answer = self.look("/v1/approvals?status=pending&limit=200")?.json();
        Ok(answer["approvals"].as_array().cloned().unwrap_or_default())
    }

    pub(super) fn approval(&self, id: &str) -> anyhow::Result<Value> {
        Ok(self.look(&format!("/v1/approvals/{id}"))?.json())
    }

    pub(super) fn decide(&self, token: &str, id: &str, decision: &str) -> anyhow::Result<Answer> {
        let body = json!({ "decision": decision, "reason": "holdpoint verify" }).to_string();
        self.ask(token, Request::new("POST", &format!("/v1/approvals/{id}")).json(body))
    }

    /// Lets the configured reviewers decide in turn until it is decided; who took part. The inner error: nobody could.
    pub(super) fn decided(&self, id: &str, decision: &str) -> anyhow::Result<Result<Vec<String>, String>> {
        let (mut took_part, mut refusals) = (Vec::new(), Vec::new());
        for reviewer in &self.config.reviewers {
            let reviewer = &reviewer.reviewer.id;
            let answer = self.decide(self.reviewer_token(reviewer)?, id, decision)?;
            if answer.status != 200 {
                refusals.push(format!("{reviewer}: {}", answer.json()["detail"].as_str().unwrap_or("refused")));
                continue;
            }
            took_part.push(reviewer.clone());
            if answer.json()["status"] != "pending" {
                return Ok(Ok(took_part));
            }
        }
        let votes = if took_part.is_empty() { "nobody".to_owned() } else { took_part.join(", ") };
        Ok(Err(format!("{votes} could, and it is still pending; {}", refusals.join("; "))))
    }

    /// Takes back everything that is pending, so that nothing of one check is left for the next.
    pub(super) fn clear(&self) -> anyhow::Result<()> {
        for approval in self.pending()? {
            let agent = approval["agent"].as_str().unwrap_or_default();
            let request = Request::new("POST", &format!("/_holdpoint/v1/approvals/{}/cancel", id_of(&approval)));
            let request = match self.spec.agents.get(agent) {
                Some(token) => request.bearer(token),
                None => request,
            };
            request.json("{}").send(self.gateway.proxy)?;
        }
        Ok(())
    }

    /// What has arrived since there were `count`, once there is at least one more.
    pub(super) fn arrival_after(&self, count: usize) -> anyhow::Result<Vec<Arrival>> {
        until(|| Ok((self.recorder.count() > count).then_some(())))?;
        Ok(self.recorder.since(count))
    }
}

fn follow(request: &Request, proxy: SocketAddr, left: &AtomicBool) -> std::io::Result<Answer> {
    let watch = Stopwatch::start();
    loop {
        let answer = request.send(proxy)?;
        if !is_pending(&answer) || left.load(Ordering::SeqCst) || watch.elapsed() > PATIENCE {
            return Ok(answer);
        }
    }
}

/// Whether the answer says that nobody has decided: plain HTTP by its status, MCP in the result.
pub(super) fn is_pending(answer: &Answer) -> bool {
    let body = answer.json();
    let plain = answer.status == 503 && body["code"] == Code::ApprovalPending.as_str();
    plain || body["result"]["_meta"][META_DECISION]["status"] == Status::Pending.as_str()
}

/// Whether the answer is the scratch upstream's.
pub(super) fn is_the_upstreams(answer: &Answer) -> bool {
    answer.text().contains(ANSWERED)
}

/// The id of an approval.
pub(super) fn id_of(approval: &Value) -> String {
    approval["id"].as_str().unwrap_or_default().to_owned()
}
