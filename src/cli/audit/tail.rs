//! `holdpoint audit tail`: the newest records, and with `-f` those that come, until it is interrupted.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{Stopped, describe, each};
use crate::cli::runtime;
use crate::cli::stores::StoreArgs;
use crate::domain::audit::Record;
use crate::domain::id::ApprovalId;
use crate::store::sqlite::SqliteStore;
use crate::store::{AuditFilter, Store as _};

/// How often new records are looked for.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Arguments of `holdpoint audit tail`.
#[derive(Debug, Args)]
pub struct TailArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// How many of the newest records to show
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 20)]
    lines: u64,
    /// Go on with the records that come
    #[arg(short, long)]
    follow: bool,
    /// Only records about this approval
    #[arg(long, value_name = "ID")]
    approval: Option<ApprovalId>,
    /// How records are shown
    #[arg(short, long, value_enum, default_value_t = Shape::Text)]
    output: Shape,
}

/// How records are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shape {
    /// One line for people each
    Text,
    /// NDJSON, as `audit export` writes it
    Json,
}

/// Shows the end of the trail.
pub(super) fn run(args: &TailArgs) -> ExitCode {
    let store = match args.store.open() {
        Ok(store) => store,
        Err(code) => return code,
    };
    runtime(async {
        match tail(args, &store).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(stopped) => stopped.report(),
        }
    })
}

async fn tail(args: &TailArgs, store: &SqliteStore) -> Result<(), Stopped> {
    let mut out = std::io::stdout();
    let mut last = store.audit_head().await?;
    let mut filter = AuditFilter { after: 0, approval: args.approval, approvals_only: false };
    if args.approval.is_none() {
        filter.after = last.saturating_sub(args.lines);
    }
    let mut newest = Vec::new();
    each(store, filter.clone(), last, |record| {
        newest.push(record.clone());
        // Of one approval there are few records; of a whole trail no more than asked for were read.
        if newest.len() as u64 > args.lines {
            newest.remove(0);
        }
        Ok(())
    })
    .await?;
    newest.iter().try_for_each(|record| show(&mut out, args.output, record))?;
    filter.after = last;
    out.flush()?;
    if !args.follow {
        return Ok(());
    }
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        last = store.audit_head().await?;
        each(store, filter.clone(), last, |record| show(&mut out, args.output, record)).await?;
        filter.after = last;
        out.flush()?;
    }
}

fn show(out: &mut impl Write, shape: Shape, record: &Record) -> Result<(), Stopped> {
    let line = match shape {
        Shape::Json => record.to_line().map_err(|error| Stopped::NoLine(record.seq, error))?,
        Shape::Text => describe(record.seq, &record.event),
    };
    writeln!(out, "{line}")?;
    Ok(())
}
