//! `holdpoint audit`: the trail in the store's file, read where the file is. A gateway may serve the store meanwhile.
//!
//! Exit status: 0 for yes, 1 when the trail is not what was written, 2 when that could not be found out.

mod export;
mod tail;
mod verify;

use std::process::ExitCode;

use clap::Subcommand;

use crate::domain::audit::{Actor, BadRecord, Event, Record};
use crate::store::sqlite::SqliteStore;
use crate::store::{AuditFilter, Error, Store as _};
use crate::web::text::visible;

/// Records read at a time.
const BATCH: u32 = 500;

/// The commands under `audit`.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Show the newest records, and with `-f` those that come
    Tail(tail::TailArgs),
    /// Check that every record is the one that was written, and name the first that is not
    Verify(verify::VerifyArgs),
    /// Write the trail as NDJSON; each line can be checked alone
    Export(export::ExportArgs),
}

/// Runs a command under `audit`.
pub fn run(command: &AuditCommand) -> ExitCode {
    match command {
        AuditCommand::Tail(args) => tail::run(args),
        AuditCommand::Verify(args) => verify::run(args),
        AuditCommand::Export(args) => export::run(args),
    }
}

/// Why records could not be handed on.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    /// The trail is not what was written.
    #[error("{0}")]
    Bad(BadRecord),
    /// A record is no line.
    #[error("record {0}: {1}")]
    NoLine(u64, crate::domain::audit::LineError),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] Error),
    /// Whoever reads has gone.
    #[error("cannot write: {0}")]
    Write(#[from] std::io::Error),
}

impl Stopped {
    /// Says why, unless the reader has only gone away (`| head`).
    fn report(&self) -> ExitCode {
        match self {
            Stopped::Write(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return ExitCode::SUCCESS,
            Stopped::Bad(_) | Stopped::NoLine(..) => {
                super::complain(&format!("error: the audit trail is damaged: {self}"));
                return ExitCode::FAILURE;
            }
            Stopped::Store(_) | Stopped::Write(_) => super::complain(&format!("error: {self}")),
        }
        ExitCode::from(2)
    }
}

/// Hands on what stands behind `filter.after` and up to record `last`, in order; the last sequence number handed on.
async fn each(
    store: &SqliteStore,
    mut filter: AuditFilter,
    last: u64,
    mut take: impl FnMut(&Record) -> Result<(), Stopped>,
) -> Result<u64, Stopped> {
    while filter.after < last {
        let records = store.audit(filter.clone(), BATCH).await?;
        let wanted = records.iter().take_while(|record| record.seq <= last);
        let before = filter.after;
        for record in wanted {
            take(record)?;
            filter.after = record.seq;
        }
        if filter.after == before {
            break;
        }
    }
    Ok(filter.after)
}

/// One record for people:
/// `17  2026-01-01T00:00:00.000Z  approval_approved  reviewer alice  apr_…  {"status":"approved"}`
pub(in crate::cli) fn describe(seq: u64, event: &str) -> String {
    let Ok(event) = serde_json::from_str::<Event>(event) else {
        return format!("{seq:>6}  {}", visible(event));
    };
    let actor = match &event.actor {
        Actor::Gateway => "gateway".to_owned(),
        Actor::Agent(id) => format!("agent {id}"),
        Actor::Reviewer(id) => format!("reviewer {id}"),
        Actor::Unauthenticated => "nobody known".to_owned(),
    };
    let approval = event.approval.map_or_else(|| "-".to_owned(), |id| id.to_string());
    let detail = serde_json::Value::Object(event.detail).to_string();
    let (at, kind) = (event.at, event.kind.as_str());
    format!("{seq:>6}  {at}  {kind:<18}  {:<20}  {approval}  {}", visible(&actor), visible(&detail))
}
