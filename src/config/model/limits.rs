//! `limits` and `log`, as written.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::values::{ByteSize, Text};

/// `limits`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsModel {
    /// The largest request body that is read; larger ones are refused with 413.
    pub body_bytes_max: Text<ByteSize>,
    /// The largest head of a request.
    pub header_bytes_max: Text<ByteSize>,
    /// Pending approvals that one agent may have; more are refused with 429.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub pending_per_agent_max: u32,
    /// Pending approvals in total; more are refused with 429.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub pending_total_max: u32,
    /// Bytes of held requests in memory in total, headers and bodies; more are refused with 429.
    pub held_bytes_max: Text<ByteSize>,
    /// Open connections per listener; more are closed as soon as they are accepted.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections_max: u32,
    /// The largest upstream response that is kept for a detached call.
    pub response_bytes_max: Text<ByteSize>,
    /// The longest wait that a caller may ask for with `Prefer: wait`.
    pub wait_max: Text<Duration>,
}

impl Default for LimitsModel {
    fn default() -> Self {
        Self {
            body_bytes_max: Text(ByteSize(1 << 20)),
            header_bytes_max: Text(ByteSize(64 << 10)),
            pending_per_agent_max: 50,
            pending_total_max: 100_000,
            held_bytes_max: Text(ByteSize(256 << 20)),
            connections_max: 20_000,
            response_bytes_max: Text(ByteSize(8 << 20)),
            wait_max: Text(Duration::from_secs(5 * 60)),
        }
    }
}

/// `log`.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogModel {
    /// The form of a line.
    pub format: LogFormat,
    /// The least severe lines written.
    pub level: LogLevel,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line.
    #[default]
    Json,
    /// For people.
    Text,
}

/// The least severe log lines that are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Failures.
    Error,
    /// And what may become one.
    Warn,
    /// And what an operator wants to see.
    #[default]
    Info,
    /// And details.
    Debug,
    /// And everything.
    Trace,
}

impl LogLevel {
    /// The spelling in YAML and in filters.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }
}
