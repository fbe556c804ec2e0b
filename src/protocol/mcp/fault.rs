//! Why a message was refused before anything was judged.

use super::message::Id;

/// What is wrong with a message, as it is answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Fault {
    /// The JSON-RPC error code.
    pub rpc_code: i32,
    /// What kind of fault it is; the response table's code.
    pub kind: FaultKind,
    /// What is wrong and what to do.
    pub detail: String,
    /// The request it answers, where one could be told.
    pub id: Option<Id>,
    /// The revision that was asked for, where that is what is wrong.
    pub requested: Option<String>,
}

/// The kinds of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// No JSON-RPC message.
    Envelope,
    /// Several messages.
    Batch,
    /// A tool's name that readers could disagree about.
    ToolName,
    /// A key that could be taken for a reserved one.
    Confusable,
    /// The parameters are not what the method takes.
    Params,
    /// A header says something else than the body.
    Header,
    /// A revision that the gateway does not speak.
    Version,
}

impl Fault {
    pub(super) fn new(kind: FaultKind, detail: impl Into<String>) -> Self {
        let rpc_code = match kind {
            FaultKind::Envelope | FaultKind::Batch | FaultKind::Confusable => -32600,
            FaultKind::Params | FaultKind::ToolName => -32602,
            FaultKind::Header => -32020,
            FaultKind::Version => -32022,
        };
        Self { rpc_code, kind, detail: detail.into(), id: None, requested: None }
    }

    pub(super) fn about(mut self, id: Option<&Id>) -> Self {
        self.id = id.cloned();
        self
    }
}
