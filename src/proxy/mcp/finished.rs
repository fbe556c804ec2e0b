//! Tasks whose calls were let through at once: their callers asked for a task, and the server made none.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

use crate::domain::identity::AgentId;
use crate::domain::time::Timestamp;
use crate::gate::random_token;

use super::tasks::{PREFIX, View};

/// Finished tasks that are kept in memory, and for how long.
const FINISHED_MAX: usize = 1_000;
const FINISHED_BYTES_MAX: usize = 64 * 1024 * 1024;
const FINISHED_TTL: Duration = Duration::from_secs(600);
/// Tasks whose calls were sent at once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Finished {
    tasks: Arc<Mutex<VecDeque<FinishedTask>>>,
}

#[derive(Debug, Clone)]
pub(super) struct FinishedTask {
    pub(super) id: String,
    agent: AgentId,
    at: Timestamp,
    pub(super) result: Value,
    bytes: usize,
}

impl Finished {
    /// Keeps a result; the oldest make room. The task that stands for it.
    pub(super) fn keep(&self, agent: &AgentId, now: Timestamp, result: Value) -> Value {
        let id = format!("{PREFIX}{}", random_token());
        let bytes = result.to_string().len();
        let task = FinishedTask { id, agent: agent.clone(), at: now, result, bytes };
        let view = task.view();
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.push_back(task);
        while tasks.len() > FINISHED_MAX || tasks.iter().map(|task| task.bytes).sum::<usize>() > FINISHED_BYTES_MAX {
            tasks.pop_front();
        }
        view
    }

    pub(super) fn find(&self, id: &str, agent: &AgentId, now: Timestamp) -> Option<FinishedTask> {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.retain(|task| now < task.at.plus(FINISHED_TTL));
        tasks.iter().find(|task| task.id == id && task.agent == *agent).cloned()
    }
}

impl FinishedTask {
    pub(super) fn view(&self) -> Value {
        let failed = self.result["isError"] == true;
        let view = View {
            id: self.id.clone(),
            status: if failed { "failed" } else { "completed" },
            message: None,
            created: self.at,
            updated: self.at,
            ttl: FINISHED_TTL,
        };
        view.legacy()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis(second * 1000)
    }

    #[test]
    fn a_finished_task_is_its_agents_alone_and_for_a_while() {
        let (finished, agent) = (Finished::default(), AgentId("a".into()));
        let task = finished.keep(&agent, at(0), json!({ "isError": true }));
        let id = task["taskId"].as_str().expect("an id");
        assert!(id.starts_with(PREFIX));
        assert_eq!(task["status"], "failed");
        assert!(finished.find(id, &agent, at(1)).is_some());
        assert!(finished.find(id, &AgentId("b".into()), at(1)).is_none());
        assert!(finished.find(id, &agent, at(601)).is_none());
    }

    #[test]
    fn the_oldest_finished_tasks_make_room() {
        let (finished, agent) = (Finished::default(), AgentId("a".into()));
        let first = finished.keep(&agent, at(0), json!({}));
        for _ in 0..FINISHED_MAX {
            finished.keep(&agent, at(0), json!({}));
        }
        assert!(finished.find(first["taskId"].as_str().expect("an id"), &agent, at(1)).is_none());
    }
}
