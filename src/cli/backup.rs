//! `holdpoint backup`: a copy of the store, while a gateway serves it or not.
//!
//! The copy is checked before it gets its name. The key that opens stored requests is not copied: it belongs in another place
//! than what it protects, so the command says where it is. Exit status: 0 for a sound copy, 1 for a copy of a store whose
//! audit trail is damaged, 2 when there is no copy.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::stores::StoreArgs;
use super::{complain, say};
use crate::config::settings::StoreSettings;
use crate::runtime::keys::key_file;
use crate::store::sqlite::{Copied, backup};

/// Arguments of `holdpoint backup`.
#[derive(Debug, Args)]
pub struct BackupArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// The file to make; one that is there is never overwritten
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

/// Makes the backup.
pub fn run(args: &BackupArgs) -> ExitCode {
    let settings = match args.store.settings() {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    let copied = match backup(&settings.path, &args.to) {
        Ok(copied) => copied,
        Err(error) => {
            complain(&format!("error: no backup was made: {error}"));
            return ExitCode::from(2);
        }
    };
    say(&report(&copied, &args.to, &settings));
    match copied.bad {
        None => ExitCode::SUCCESS,
        Some(bad) => {
            complain(&format!(
                "error: the audit trail is damaged in the store, and so in the backup: {bad}. It cannot be restored as it is"
            ));
            ExitCode::FAILURE
        }
    }
}

fn report(copied: &Copied, to: &Path, settings: &StoreSettings) -> String {
    let Copied { head, schema, bytes, .. } = copied;
    format!(
        "backup:  {} ({bytes} bytes, schema {schema})\ntrail:   {} records; the last is {}:{}\nkey:     not in the backup; {}\n",
        to.display(),
        head.seq,
        head.seq,
        head.hash,
        where_the_key_is(settings),
    )
}

fn where_the_key_is(settings: &StoreSettings) -> String {
    match settings.secret_key {
        Some(_) => {
            "it is `store.secret_key` of the configuration. Keep it, and earlier ones, apart from the backup".into()
        }
        None => {
            let file = key_file(&settings.path);
            format!("it is in `{}`. Keep a copy of that file apart from the backup", file.display())
        }
    }
}
