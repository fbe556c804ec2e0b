//! Tasks that the gateway keeps: a held call whose caller follows it by id instead of waiting.
//!
//! A task is an approval whose call the gateway sends itself: nothing else is stored, so it outlives a restart as the approval
//! does. Only calls that were let through although their caller wanted a task are kept in memory, with their results, for a while.

use std::time::Duration;

use http::Response;
use serde_json::{Map, Value, json};

use crate::domain::approval::{Approval, Canceller, Execution, PermitFate, ReleaseMode, State};
use crate::domain::call::Protocol;
use crate::domain::id::ApprovalId;
use crate::domain::identity::AgentId;
use crate::domain::time::Timestamp;
use crate::gate::Gate;
use crate::problem::Problem;
use crate::protocol::mcp::{self as protocol, Id, Revision};

use super::super::Proxy;
use super::super::answer as plain;
use super::super::body::AnswerBody;
use super::answer::{self, About};
use super::finished::{Finished, FinishedTask};
use super::hold;
use super::rewrite::Edit;
use super::stream::Pulse;

/// What the ids of the gateway's tasks begin with; every other id is the upstream's.
pub(super) const PREFIX: &str = "gwt_";
/// How often a caller should ask for a task, in milliseconds.
const POLL_MS: u64 = 2_000;
/// How long one `tasks/result` keeps its caller.
const RESULT_WAIT_MAX: Duration = Duration::from_secs(3600);
/// Tasks in one list.
const LIST_MAX: u32 = 100;

/// A task as its caller sees it.
pub(super) struct View {
    pub(super) id: String,
    pub(super) status: &'static str,
    pub(super) message: Option<String>,
    pub(super) created: Timestamp,
    pub(super) updated: Timestamp,
    pub(super) ttl: Duration,
}

impl View {
    fn of(approval: &Approval) -> Self {
        let (status, message) = status_of(approval);
        let updated = match &approval.execution {
            Execution::Releasing { at, .. }
            | Execution::Succeeded { at, .. }
            | Execution::Failed { at, .. }
            | Execution::Unknown { at, .. }
            | Execution::Resolved { at, .. } => *at,
            Execution::None | Execution::Held => approval.state.closed_at().unwrap_or(approval.created_at),
        };
        let ttl = approval.terms.expires_at.since(approval.created_at) + approval.terms.result_ttl;
        View { id: id_of(approval.id), status, message: Some(message), created: approval.created_at, updated, ttl }
    }

    fn fields(&self) -> Map<String, Value> {
        let mut task = Map::new();
        task.insert("taskId".into(), self.id.clone().into());
        task.insert("status".into(), self.status.into());
        if let Some(message) = &self.message {
            task.insert("statusMessage".into(), message.clone().into());
        }
        task.insert("createdAt".into(), self.created.to_string().into());
        task.insert("lastUpdatedAt".into(), self.updated.to_string().into());
        task
    }

    pub(super) fn legacy(&self) -> Value {
        let mut task = self.fields();
        task.insert("ttl".into(), millis(self.ttl).into());
        task.insert("pollInterval".into(), POLL_MS.into());
        Value::Object(task)
    }

    fn modern(&self, result_type: &str) -> Value {
        let mut task = self.fields();
        task.insert("resultType".into(), result_type.into());
        task.insert("ttlMs".into(), millis(self.ttl).into());
        task.insert("pollIntervalMs".into(), POLL_MS.into());
        Value::Object(task)
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn id_of(approval: ApprovalId) -> String {
    format!("{PREFIX}{approval}")
}

/// Whether the gateway keeps the task with this id.
pub(super) fn is_ours(id: &str) -> bool {
    id.starts_with(PREFIX)
}

/// The state of a task, and in words what it waits for or came to.
fn status_of(approval: &Approval) -> (&'static str, String) {
    let rule = &approval.terms.rule;
    match (&approval.state, &approval.execution) {
        (State::Pending, _) => ("working", format!("Waiting for human approval {} (rule {rule})", approval.id)),
        (State::Rejected(decision), _) => {
            let reason = decision.reason.as_deref().map_or_else(String::new, |reason| format!(": {reason}"));
            ("failed", format!("Rejected by {}{reason}; the call was NOT executed", decision.by))
        }
        (State::Expired { .. }, _) => ("failed", "Nobody decided in time; the call was NOT executed".to_owned()),
        (State::Cancelled { by: Canceller::Agent, .. }, _) => ("cancelled", "Taken back by the caller".to_owned()),
        (State::Cancelled { by: Canceller::Policy, .. }, _) => {
            ("failed", "A newer policy blocks the call; it was NOT executed".to_owned())
        }
        (State::Cancelled { by: Canceller::Operator, .. }, _) => {
            ("failed", "Closed when a backup was restored; the call was NOT executed by this gateway since".to_owned())
        }
        (State::Approved(_), Execution::Succeeded { .. }) => ("completed", "The upstream has answered".to_owned()),
        (State::Approved(_), Execution::Failed { permit: PermitFate::Returned, reason, .. }) => {
            ("working", format!("Approved; not sent yet: {reason}"))
        }
        (State::Approved(_), Execution::Failed { reason, .. }) => {
            ("failed", format!("Approved, and NOT executed: {reason}"))
        }
        (State::Approved(_), Execution::Unknown { reason, .. }) => {
            ("failed", format!("The call was sent and its outcome is UNKNOWN: {reason}"))
        }
        (State::Approved(_), Execution::Resolved { .. }) => ("failed", "A person settled its outcome".to_owned()),
        (State::Approved(_), Execution::None | Execution::Held | Execution::Releasing { .. }) => {
            ("working", "Approved; being sent".to_owned())
        }
    }
}

/// The answer to a call that became a task, as its revision says it.
pub(super) fn created(id: &Id, revision: Revision, approval: &Approval) -> Response<AnswerBody> {
    let view = View::of(approval);
    let result = match revision.is_stateless() {
        true => view.modern("task"),
        false => {
            let immediate = format!("Queued for human approval {}.", approval.id);
            json!({ "task": view.legacy(), "_meta": { "io.modelcontextprotocol/model-immediate-response": immediate } })
        }
    };
    answer::json(protocol::response(id, &result), &approval.id.to_string())
}

/// A request about a task of the gateway's.
pub(super) struct TaskRequest<'a> {
    pub(super) id: Id,
    pub(super) method: &'a str,
    pub(super) task: &'a str,
    pub(super) agent: AgentId,
    /// The upstreams whose tasks can be asked for here.
    pub(super) upstreams: Vec<String>,
    pub(super) revision: Revision,
    pub(super) streams: bool,
}

impl Proxy {
    /// Answers a request about a task of the gateway's.
    pub(super) async fn mcp_task(&self, asked: TaskRequest<'_>) -> Response<AnswerBody> {
        match self.task_answer(&asked).await {
            Ok(response) => response,
            Err(problem) => answer::failed(&asked.id, problem),
        }
    }

    async fn task_answer(&self, asked: &TaskRequest<'_>) -> Result<Response<AnswerBody>, Problem> {
        if let Some(finished) = self.finished.find(asked.task, &asked.agent, self.gate.now()) {
            return Ok(finished_answer(asked, &finished));
        }
        let Some(approval) = find(&self.gate, asked).await? else {
            return Ok(answer::rpc(&asked.id, -32602, "there is no such task, or it is no longer kept"));
        };
        match asked.method {
            // Boxed: the future of every message has room for these, and few are about tasks.
            "tasks/result" if !asked.revision.is_stateless() => Ok(Box::pin(self.task_result(asked, approval)).await),
            "tasks/cancel" => Box::pin(self.cancel_task(asked, approval)).await,
            "tasks/update" if asked.revision.is_stateless() => {
                Ok(answer::rpc(&asked.id, -32602, "this task asks for no input"))
            }
            "tasks/get" => {
                let result = match asked.revision.is_stateless() {
                    true => modern_view(&self.gate, asked, &approval).await?,
                    false => View::of(&approval).legacy(),
                };
                Ok(answer::json(protocol::response(&asked.id, &result), &approval.id.to_string()))
            }
            _ => Ok(answer::rpc(&asked.id, -32601, "the method is not known for tasks of this revision")),
        }
    }

    async fn cancel_task(&self, asked: &TaskRequest<'_>, approval: Approval) -> Result<Response<AnswerBody>, Problem> {
        let id = approval.id;
        self.gate.withdraw(id, &asked.agent, Some("the caller cancelled its task".to_owned())).await?;
        let now = self.gate.approval(id).await?.unwrap_or(approval);
        let taken_back = matches!(now.state, State::Cancelled { by: Canceller::Agent, .. });
        let result = match asked.revision.is_stateless() {
            true => json!({ "resultType": "complete" }),
            false if taken_back => View::of(&now).legacy(),
            false => return Ok(answer::rpc(&asked.id, -32602, "the task can no longer be cancelled")),
        };
        Ok(answer::json(protocol::response(&asked.id, &result), &id.to_string()))
    }

    /// Waits for the end of a task, and answers with what its call came to.
    async fn task_result(&self, asked: &TaskRequest<'_>, approval: Approval) -> Response<AnswerBody> {
        let about = About { id: asked.id.clone(), tool: approval.subject.name.clone(), revision: asked.revision };
        let (gate, id) = (self.gate.clone(), approval.id);
        let ended = async move {
            let approval = gate.wait(id, RESULT_WAIT_MAX).await?.unwrap_or(approval);
            let mut result = outcome(&gate, &about, approval).await?;
            result["_meta"]["io.modelcontextprotocol/related-task"] = json!({ "taskId": id_of(id) });
            Ok::<_, Problem>(protocol::response(&about.id, &result))
        };
        let text = |ended: Result<String, Problem>, id: &Id| {
            ended.unwrap_or_else(|problem| answer::rpc_text(Some(id), -32603, &problem))
        };
        if !asked.streams {
            return answer::json(text(ended.await, &asked.id), &id.to_string());
        }
        let (mut pulse, body) = Pulse::new(None, String::new());
        let own = asked.id.clone();
        self.tracker.spawn(async move {
            if let Ok(ended) = pulse.alongside(ended).await {
                // A caller that leaves can ask again.
                let _ = pulse.write(protocol::sse::message(&text(ended, &own))).await;
            }
        });
        hold::head(body, &id.to_string())
    }

    /// The gateway's tasks of one agent at one upstream, newest first.
    pub(super) async fn own_tasks(&self, agent: &AgentId, upstream: &str) -> Result<Vec<Value>, Problem> {
        let approvals = self.gate.approvals_of(agent, LIST_MAX).await?;
        Ok(approvals
            .iter()
            .filter(|approval| is_task(approval, upstream))
            .map(|task| View::of(task).legacy())
            .collect())
    }
}

/// Adds the gateway's tasks to the first page of the server's own.
pub(super) fn append(own: Result<Vec<Value>, Problem>) -> Edit {
    Box::new(move |mut result| {
        Box::pin(async move {
            let own = own?;
            match result.get_mut("tasks").and_then(Value::as_array_mut) {
                Some(tasks) => tasks.extend(own),
                None => result = json!({ "tasks": own }),
            }
            Ok(Some(result))
        })
    })
}

/// Puts the result of a call that was let through into a task, where its caller asked for one and the server made none.
pub(super) fn wrap(finished: Finished, agent: AgentId, gate: Gate) -> Edit {
    Box::new(move |result| {
        Box::pin(async move {
            let is_task = result.get("task").is_some();
            Ok((!is_task).then(|| json!({ "task": finished.keep(&agent, gate.now(), result) })))
        })
    })
}

fn finished_answer(asked: &TaskRequest<'_>, finished: &FinishedTask) -> Response<AnswerBody> {
    match asked.method {
        "tasks/get" => answer::rpc_result(&asked.id, &finished.view()),
        "tasks/result" => {
            let mut result = finished.result.clone();
            result["_meta"]["io.modelcontextprotocol/related-task"] = json!({ "taskId": finished.id });
            answer::rpc_result(&asked.id, &result)
        }
        _ => answer::rpc(&asked.id, -32602, "the task has ended"),
    }
}

fn is_task(approval: &Approval, upstream: &str) -> bool {
    approval.call().is_some_and(|call| {
        call.protocol == Protocol::Mcp && call.upstream == upstream && call.release == ReleaseMode::Detached
    })
}

async fn find(gate: &Gate, asked: &TaskRequest<'_>) -> Result<Option<Approval>, Problem> {
    let Some(id) = asked.task.strip_prefix(PREFIX).and_then(|id| id.parse().ok()) else { return Ok(None) };
    let found = gate.approval(id).await?;
    Ok(found.filter(|approval| {
        approval.subject.agent == asked.agent && asked.upstreams.iter().any(|upstream| is_task(approval, upstream))
    }))
}

/// With its result, once there is one. A refusal is a result like any other: the call ended, and this is what it came to.
async fn modern_view(gate: &Gate, asked: &TaskRequest<'_>, approval: &Approval) -> Result<Value, Problem> {
    let mut view = View::of(approval);
    let has_ended = view.status != "working" && view.status != "cancelled";
    if !has_ended {
        return Ok(view.modern("complete"));
    }
    view.status = "completed";
    let about = About { id: asked.id.clone(), tool: approval.subject.name.clone(), revision: asked.revision };
    let mut task = view.modern("complete");
    task["result"] = outcome(gate, &about, approval.clone()).await?;
    Ok(task)
}

/// What the call of a task came to, as a tool's result.
async fn outcome(gate: &Gate, about: &About, approval: Approval) -> Result<Value, Problem> {
    let held = gate.standing(approval).await?;
    if let Some(problem) = answer::problem_of(&held, gate.now()) {
        return Ok(protocol::tool_result(&about.decision(&problem), about.revision));
    }
    let crate::gate::parking::Held::Answered(approval, kept) = held else {
        return Err(plain::lost(crate::problem::Code::Internal, "the gateway lost track of the task"));
    };
    let message = about.kept(&kept).and_then(|text| serde_json::from_str::<Value>(&text).ok()).unwrap_or_default();
    match (message.get("result"), message.get("error")) {
        (Some(result), _) => Ok(result.clone()),
        (None, Some(error)) => {
            let said = error["message"].as_str().unwrap_or("no reason");
            Ok(
                json!({ "content": [{ "type": "text", "text": format!("The server refused the call: {said}") }], "isError": true }),
            )
        }
        (None, None) => Ok(protocol::tool_result(&about.decision(&plain::spent(&approval)), about.revision)),
    }
}
