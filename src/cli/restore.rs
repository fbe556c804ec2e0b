//! `holdpoint restore`: a backup in the place of the store.
//!
//! What was pending or approved in the backup may have been decided and sent since it was made: it is closed, so that nothing
//! is sent again on the strength of it. Exit status: 0 when it was restored, 1 when that was refused (there is a store, a
//! gateway runs on it, the backup is damaged), 2 when it could not be done. Unless it is 0 the store is as it was.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::stores::StoreArgs;
use super::{complain, say};
use crate::config::settings::StoreSettings;
use crate::domain::id::ApprovalId;
use crate::domain::time::Clock;
use crate::runtime::keys::key_file;
use crate::store::Error;
use crate::store::sqlite::{CopyError, Existing, Restored, restore};
use crate::telemetry::clock::SystemClock;

/// How many ids of a kind are listed; the trail has them all.
const LISTED_MAX: usize = 20;

/// Arguments of `holdpoint restore`.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// The backup
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// Replace a store that holds something; it is kept under a name of its own
    #[arg(long)]
    force: bool,
}

/// Restores the backup.
pub fn run(args: &RestoreArgs) -> ExitCode {
    let settings = match args.store.settings() {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    let existing = if args.force { Existing::SetAside } else { Existing::Keep };
    match restore(&settings.path, &args.from, existing, SystemClock.now()) {
        Ok(restored) => {
            say(&report(&restored, &settings));
            ExitCode::SUCCESS
        }
        Err(error) => {
            let in_use = matches!(error, CopyError::Store(Error::InUse));
            let hint = if in_use { ": stop the gateway first" } else { "" };
            complain(&format!("error: nothing was restored: {error}{hint}"));
            ExitCode::from(status(&error))
        }
    }
}

/// 1 for no, 2 for could not.
fn status(error: &CopyError) -> u8 {
    match error {
        CopyError::NotEmpty { .. }
        | CopyError::Trail { .. }
        | CopyError::Same(_)
        | CopyError::Exists(_)
        | CopyError::Store(Error::InUse | Error::TooNew { .. } | Error::Corrupt(_)) => 1,
        CopyError::File { .. } | CopyError::Store(Error::Unavailable(_) | Error::Unsure(_)) => 2,
    }
}

fn report(restored: &Restored, settings: &StoreSettings) -> String {
    let path = settings.path.display();
    let newest = restored.newest.map_or_else(String::new, |at| format!(", the newest of {at}"));
    let mut text = format!(
        "restored:  {path}, {} approvals\ntrail:     {} records of the backup{newest}; what followed is not in this store\n",
        restored.approvals, restored.backup.seq
    );
    let mut line = |name: &str, ids: &[ApprovalId], what: &str| {
        text.push_str(&format!("{name}{} {what}\n", ids.len()));
        for id in ids.iter().take(LISTED_MAX) {
            text.push_str(&format!("  {id}\n"));
        }
        if ids.len() > LISTED_MAX {
            text.push_str(&format!("  and {} more: see `holdpoint audit export`\n", ids.len() - LISTED_MAX));
        }
    };
    line("cancelled: ", &restored.cancelled, "that were pending: they may have been decided and sent since");
    line("unknown:   ", &restored.unknown, "that were approved: they may have been sent; a reviewer must settle them");
    let key = match settings.secret_key {
        Some(_) => "`store.secret_key` and `store.previous_secret_keys`".to_owned(),
        None => format!("`{}`", key_file(&settings.path).display()),
    };
    text.push_str(&format!(
        "key:       answers kept in the backup need the key of its time, which `serve` will look for in {key}\n"
    ));
    if restored.lapsed > 0 {
        text.push_str(&format!(
            "closed:    {} whose grant was over, unused, when the backup was made\n",
            restored.lapsed
        ));
    }
    if let Some(aside) = &restored.set_aside {
        text.push_str(&format!("set aside: the store that was here is now {}\n", aside.display()));
    }
    text
}
