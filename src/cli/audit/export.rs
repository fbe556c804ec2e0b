//! `holdpoint audit export`: the trail as NDJSON, the same bytes that `GET /v1/audit/export` gives.
//!
//! It ends with the record that is the newest when it begins. Records are checked as they are written out: an export of a
//! damaged trail breaks off before the first bad record, with exit status 1.

use std::fs::OpenOptions;
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::{Stopped, each};
use crate::cli::stores::StoreArgs;
use crate::cli::{complain, runtime};
use crate::domain::audit::{BadRecord, Fault, Head, verify_from};
use crate::store::sqlite::SqliteStore;
use crate::store::{AuditFilter, Store as _};

/// Arguments of `holdpoint audit export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// Only records behind this one
    #[arg(long, value_name = "SEQ", default_value_t = 0)]
    after: u64,
    /// The file to make, readable by its owner alone; one that is there is never overwritten. Left out: standard output
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

/// Exports.
pub(super) fn run(args: &ExportArgs) -> ExitCode {
    let store = match args.store.open() {
        Ok(store) => store,
        Err(code) => return code,
    };
    runtime(async {
        let written = match &args.to {
            None => write(&store, args.after, &mut BufWriter::new(std::io::stdout().lock())).await,
            Some(path) => match create(path) {
                Ok(file) => to_file(&store, args.after, file).await,
                Err(error) => {
                    complain(&format!("error: `{}` cannot be made: {error}", path.display()));
                    return ExitCode::from(2);
                }
            },
        };
        match written {
            Ok(None) => {
                complain(&format!("there is no record behind {}", args.after));
                ExitCode::SUCCESS
            }
            Ok(Some(head)) => {
                complain(&format!("the last record is {}:{}", head.seq, head.hash));
                ExitCode::SUCCESS
            }
            Err(stopped) => stopped.report(),
        }
    })
}

fn create(path: &Path) -> std::io::Result<std::fs::File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

async fn to_file(store: &SqliteStore, after: u64, file: std::fs::File) -> Result<Option<Head>, Stopped> {
    let mut out = BufWriter::new(file);
    let head = write(store, after, &mut out).await?;
    out.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
    Ok(head)
}

async fn write(store: &SqliteStore, after: u64, out: &mut impl Write) -> Result<Option<Head>, Stopped> {
    let last = store.audit_head().await?;
    let mut head: Option<Head> = (after == 0).then_some(Head::EMPTY);
    let filter = AuditFilter { after, ..AuditFilter::default() };
    let reached = each(store, filter, last, |record| {
        let before = head.unwrap_or(Head { seq: after, hash: record.previous });
        head = Some(verify_from(before, [record.clone()]).map_err(Stopped::Bad)?);
        let line = record.to_line().map_err(|error| Stopped::NoLine(record.seq, error))?;
        out.write_all(line.as_bytes())?;
        out.write_all(b"\n")?;
        Ok(())
    })
    .await?;
    out.flush()?;
    if reached < last {
        return Err(Stopped::Bad(BadRecord { seq: reached + 1, fault: Fault::CutOff }));
    }
    Ok(head.filter(|head| head.seq > after))
}
