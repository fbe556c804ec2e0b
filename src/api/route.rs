//! What a row of the route table says.

use std::future::Future;
use std::pin::Pin;

use axum::response::Response;
use http::Method;
use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::problem::{Code, Problem};

use super::context::Context;

/// The longest body of everything but a created approval, in bytes.
pub const BODY_BYTES_MAX: usize = 64 << 10;

/// Who may call an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Everybody who reaches the listener.
    Anyone,
    /// An agent, for what is its own.
    Agent,
    /// A reviewer; admins are reviewers.
    Reviewer,
    /// A reviewer with the role `admin`.
    Admin,
    /// A scraper of metrics; everybody, where no metrics token is configured.
    Metrics,
}

/// Whether an operation changes anything. A `GET` never does; a `POST` that only reads takes its question as a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It only reads.
    Reads,
    /// It changes an approval or a tool and writes the trail in the same transaction.
    Writes,
}

/// Gives the schema of a type to the document's generator.
pub type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// What body an operation takes. Bodies are JSON.
#[derive(Clone, Copy)]
pub enum Body {
    /// None; one that is sent is not read.
    None,
    /// One may be sent.
    Optional(SchemaOf),
    /// One must be sent, of at most [`BODY_BYTES_MAX`].
    Required(SchemaOf),
    /// One must be sent, of at most `limits.body_bytes_max`.
    Context(SchemaOf),
}

/// What an operation answers when it succeeds.
#[derive(Clone, Copy)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The media type.
    pub media_type: &'static str,
    /// The schema of a JSON answer.
    pub schema: Option<SchemaOf>,
    /// What it is, for people.
    pub description: &'static str,
}

/// A query parameter.
#[derive(Debug, Clone, Copy)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// What it may say.
    pub kind: ParameterKind,
    /// What it does.
    pub description: &'static str,
}

/// What a query parameter may say.
#[derive(Debug, Clone, Copy)]
pub enum ParameterKind {
    /// Any text of at most 256 characters.
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
    /// One or several of these words, with commas between.
    Words(&'static [&'static str]),
    /// The id of an approval.
    Approval,
    /// The upstream and the name of a tool, with a slash between.
    Tool,
    /// A whole number between these, inclusive.
    Number(u64, u64),
    /// An RFC 3339 time.
    Time,
    /// A duration such as `25s`.
    Duration,
    /// Nothing: its presence counts.
    Flag,
}

impl Parameter {
    /// Whether an empty value can mean something. Where it cannot, it is refused: a client that sent nothing for a filter would
    /// take everything for what it asked for.
    pub fn may_be_empty(&self) -> bool {
        match self.kind {
            ParameterKind::Text | ParameterKind::Flag => true,
            ParameterKind::Word(_)
            | ParameterKind::Words(_)
            | ParameterKind::Approval
            | ParameterKind::Tool
            | ParameterKind::Number(..)
            | ParameterKind::Time
            | ParameterKind::Duration => false,
        }
    }
}

/// What an operation comes to.
pub type Answered = Pin<Box<dyn Future<Output = Result<Response, Problem>> + Send>>;

/// One operation.
pub struct Route {
    /// The HTTP method.
    pub method: Method,
    /// The path, with `{id}` for an approval's id, `{upstream}` and `{name}` for a tool.
    pub path: &'static str,
    /// The operation's id: stable, `camelCase`.
    pub operation: &'static str,
    /// What it does, in one line.
    pub summary: &'static str,
    /// Who may call it: any of these.
    pub who: &'static [Role],
    /// Whether it changes anything.
    pub effect: Effect,
    /// The query parameters it knows; all others are refused.
    pub query: &'static [Parameter],
    /// The body it takes.
    pub body: Body,
    /// What it answers.
    pub answer: Answer,
    /// The problems that are particular to it.
    pub problems: &'static [Code],
    pub(super) handler: fn(Context) -> Answered,
}

/// The schema of `T`, for a row of the table.
pub fn schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

impl Answer {
    /// A JSON answer of type `T`.
    pub const fn json<T: JsonSchema>(status: u16, description: &'static str) -> Self {
        Self { status, media_type: "application/json", schema: Some(schema_of::<T>), description }
    }

    /// An answer that is no JSON document.
    pub const fn other(media_type: &'static str, description: &'static str) -> Self {
        Self { status: 200, media_type, schema: None, description }
    }
}
