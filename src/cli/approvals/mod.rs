//! `holdpoint approvals`: the queue from a terminal, over the API of a running gateway.
//!
//! The reviewer's token comes from `HOLDPOINT_TOKEN` or a file, never from an argument: arguments are seen by every process of
//! the machine. What agents wrote is shown with everything that cannot be seen made visible, in tables and in JSON.
//!
//! Exit status: 0 when it was done, 1 when the gateway said no (decided already, not an approver, no such approval), 2 when
//! it could not be asked or did not answer (not reachable, token unknown, arguments that it does not take).

mod client;
mod table;
mod watch;

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use super::{complain, runtime, say};
use crate::domain::id::ApprovalId;
use crate::domain::text::inert_json;
use crate::domain::time::Clock;
use crate::telemetry::clock::SystemClock;
use client::{Client, Failure, Remote, encoded};

/// The most approvals on one page of the API.
const PAGE_MAX: u32 = 200;
/// The most approvals that one `list` shows.
const LIST_MAX: u32 = 10_000;

/// The commands under `approvals`.
#[derive(Debug, Subcommand)]
pub enum ApprovalsCommand {
    /// List approvals; those that are pending unless another status is asked for
    List(Box<ListArgs>),
    /// Show one approval with its input
    Show(ShowArgs),
    /// Show what is pending, and then what happens, until it is interrupted
    Watch(WatchArgs),
    /// Approve; where several people must, this is one vote
    Approve(DecideArgs),
    /// Reject; the reason goes back to the caller
    Reject(DecideArgs),
}

/// Arguments of `holdpoint approvals list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    remote: Remote,
    #[command(flatten)]
    filter: FilterArgs,
    /// The order
    #[arg(long, value_parser = ["newest", "oldest"], default_value = "newest")]
    sort: String,
    /// At most so many
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=i64::from(LIST_MAX)))]
    limit: u32,
    /// Go on where an earlier list ended
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
    /// How they are shown
    #[arg(short, long, value_enum, default_value_t = Shape::Table)]
    output: Shape,
}

/// Which approvals.
#[derive(Debug, Args)]
struct FilterArgs {
    /// pending, approved, rejected, expired or cancelled; several with commas between; `any` for all
    #[arg(long, default_value = "pending")]
    status: String,
    /// The tool or the action
    #[arg(long)]
    tool: Option<String>,
    /// The rule
    #[arg(long)]
    rule: Option<String>,
    /// The agent
    #[arg(long)]
    agent: Option<String>,
    /// low, medium, high or critical
    #[arg(long)]
    risk: Option<String>,
    /// ok, `due_soon`, breached or expired
    #[arg(long)]
    sla: Option<String>,
    /// The trace
    #[arg(long, value_name = "ID")]
    trace_id: Option<String>,
    /// Text in the name, the summary, the agent or the input
    #[arg(short, long, value_name = "TEXT")]
    query: Option<String>,
    /// Asked for at or after this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Asked for before this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

/// Arguments of `holdpoint approvals show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    #[command(flatten)]
    remote: Remote,
    /// The approval
    #[arg(value_name = "ID")]
    id: ApprovalId,
    /// How it is shown
    #[arg(short, long, value_enum, default_value_t = Shape::Table)]
    output: Shape,
}

/// Arguments of `holdpoint approvals watch`.
#[derive(Debug, Args)]
pub struct WatchArgs {
    #[command(flatten)]
    remote: Remote,
    /// How what happens is shown
    #[arg(short, long, value_enum, default_value_t = Shape::Table)]
    output: Shape,
}

/// Arguments of `holdpoint approvals approve` and `reject`.
#[derive(Debug, Args)]
pub struct DecideArgs {
    #[command(flatten)]
    remote: Remote,
    /// The approval
    #[arg(value_name = "ID")]
    id: ApprovalId,
    /// For the caller and the trail
    #[arg(short, long, value_name = "TEXT")]
    reason: Option<String>,
    /// Decide only if this is the payload: its hash, as `show` says it
    #[arg(long, value_name = "HEX")]
    payload_sha256: Option<String>,
    /// How the approval is shown afterwards
    #[arg(short, long, value_enum, default_value_t = Shape::Table)]
    output: Shape,
}

/// How something is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shape {
    /// For people
    Table,
    /// As the API says it; characters that cannot be seen are escaped
    Json,
}

/// Runs a command under `approvals`.
pub fn run(command: &ApprovalsCommand) -> ExitCode {
    runtime(async {
        let done = match command {
            ApprovalsCommand::List(args) => list(args).await,
            ApprovalsCommand::Show(args) => show(args).await,
            ApprovalsCommand::Watch(args) => watch::watch(&args.remote, args.output).await,
            ApprovalsCommand::Approve(args) => decide(args, "approved").await,
            ApprovalsCommand::Reject(args) => decide(args, "rejected").await,
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                complain(&format!("error: {failure}"));
                ExitCode::from(failure.status())
            }
        }
    })
}

/// A page as the API gives it; approvals keep the digits that were sent.
#[derive(Debug, Serialize, Deserialize)]
struct Page {
    approvals: Vec<Box<RawValue>>,
    next_cursor: Option<String>,
}

impl FilterArgs {
    /// The query of the API, without `limit` and `cursor`.
    fn query(&self) -> String {
        let status = (self.status != "any").then_some(&self.status);
        let fields = [
            ("status", status),
            ("tool", self.tool.as_ref()),
            ("rule", self.rule.as_ref()),
            ("agent", self.agent.as_ref()),
            ("risk", self.risk.as_ref()),
            ("sla", self.sla.as_ref()),
            ("trace_id", self.trace_id.as_ref()),
            ("q", self.query.as_ref()),
            ("since", self.since.as_ref()),
            ("until", self.until.as_ref()),
        ];
        let given = fields.into_iter().filter_map(|(name, value)| Some((name, value?)));
        given.map(|(name, value)| format!("{name}={}&", encoded(value))).collect()
    }
}

async fn list(args: &ListArgs) -> Result<(), Failure> {
    let client = Client::new(&args.remote)?;
    let fixed = format!("{}sort={}", args.filter.query(), args.sort);
    let page = pages(&client, &fixed, args.limit, args.cursor.clone()).await?;
    match args.output {
        Shape::Json => say(&inert_json(client::text(&page)?)),
        Shape::Table => {
            say(&table::rows(&page.approvals, SystemClock.now())?);
            if let Some(cursor) = &page.next_cursor {
                complain(&format!("there are more: go on with `--cursor {cursor}`, or ask for more with `--limit`"));
            }
        }
    }
    Ok(())
}

/// Asks page by page until there are `limit`, or no more.
async fn pages(client: &Client, fixed: &str, limit: u32, mut cursor: Option<String>) -> Result<Page, Failure> {
    let mut approvals = Vec::new();
    loop {
        let wanted = (limit - approvals.len() as u32).min(PAGE_MAX);
        let behind = cursor.as_ref().map_or_else(String::new, |cursor| format!("&cursor={}", encoded(cursor)));
        let page: Page = client.get(&format!("/v1/approvals?{fixed}&limit={wanted}{behind}")).await?;
        approvals.extend(page.approvals);
        if page.next_cursor.is_none() || approvals.len() as u32 >= limit {
            return Ok(Page { approvals, next_cursor: page.next_cursor });
        }
        if page.next_cursor == cursor {
            return Err(Failure::answer("the list does not go on behind its cursor"));
        }
        cursor = page.next_cursor;
    }
}

async fn show(args: &ShowArgs) -> Result<(), Failure> {
    let client = Client::new(&args.remote)?;
    let approval: Box<RawValue> = client.get(&format!("/v1/approvals/{}", args.id)).await?;
    say(&shown(&approval, args.output)?);
    Ok(())
}

fn shown(approval: &RawValue, output: Shape) -> Result<String, Failure> {
    match output {
        Shape::Json => Ok(inert_json(approval.get().to_owned()) + "\n"),
        Shape::Table => table::detail(approval),
    }
}

async fn decide(args: &DecideArgs, decision: &str) -> Result<(), Failure> {
    let client = Client::new(&args.remote)?;
    let mut body = json!({ "decision": decision });
    for (name, value) in [("reason", &args.reason), ("payload_sha256", &args.payload_sha256)] {
        if let Some(value) = value {
            body[name] = value.as_str().into();
        }
    }
    let approval: Box<RawValue> = client.post(&format!("/v1/approvals/{}", args.id), &body).await?;
    match args.output {
        Shape::Json => say(&shown(&approval, Shape::Json)?),
        Shape::Table => say(&table::decided(&approval)?),
    }
    Ok(())
}
