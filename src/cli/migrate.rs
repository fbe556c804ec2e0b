//! `holdpoint migrate`: the store's schema brought up to date, and what it holds sealed anew under the current key.
//!
//! `serve` migrates by itself when it starts; this is for whoever wants to do it, or know of it, before. Forward only: a
//! store of a newer version is refused. Exit status: 0 when the store is as this version wants it, 1 when it is not (`--check`
//! finds an older schema, or something was sealed with a key that is not at hand), 2 when that could not be found out or done.

use std::process::ExitCode;

use clap::Args;

use super::stores::StoreArgs;
use super::{complain, say};
use crate::config::settings::StoreSettings;
use crate::domain::time::Clock;
use crate::runtime::keys;
use crate::store::sqlite::{Resealed, SCHEMA, Upkeep, schema_of};
use crate::telemetry::clock::SystemClock;

/// What the trail says of approvals that are given up.
const LOST: &str = "its stored request cannot be opened: the key that sealed it is lost. It was not sent";

/// Arguments of `holdpoint migrate`.
#[derive(Debug, Args)]
pub struct MigrateArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// Say which schema the store has, and change nothing
    #[arg(long, conflicts_with = "reseal")]
    check: bool,
    /// Seal stored requests and answers anew with the current key, so that earlier keys can be taken out
    #[arg(long)]
    reseal: bool,
    /// Close the approvals whose stored request no key at hand opens, and forget what cannot be read
    #[arg(long, requires = "reseal")]
    give_up_lost: bool,
}

/// Migrates, and seals anew where that is asked for.
pub fn run(args: &MigrateArgs) -> ExitCode {
    let settings = match args.store.settings() {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    match work(args, &settings) {
        Ok(code) => code,
        Err(problem) => {
            complain(&format!("error: {problem}"));
            ExitCode::from(2)
        }
    }
}

fn work(args: &MigrateArgs, settings: &StoreSettings) -> Result<ExitCode, String> {
    let found = schema_of(&settings.path).map_err(|error| error.to_string())?;
    if args.check {
        let current = found == SCHEMA;
        let hint = if current { "up to date" } else { "run `holdpoint migrate` while no gateway runs on it" };
        say(&format!("the store has schema {found}, this version writes {SCHEMA}: {hint}\n"));
        return Ok(if current { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let mut upkeep = Upkeep::begin(&settings.path).map_err(|error| error.to_string())?;
    say(&if found == SCHEMA {
        format!("the store has schema {SCHEMA} already\n")
    } else {
        format!("the store's schema was {found} and is {SCHEMA}\n")
    });
    let code = if args.reseal { reseal(args, settings, &mut upkeep)? } else { ExitCode::SUCCESS };
    upkeep.end().map_err(|error| error.to_string())?;
    Ok(code)
}

fn reseal(args: &MigrateArgs, settings: &StoreSettings, upkeep: &mut Upkeep) -> Result<ExitCode, String> {
    let key_file = keys::key_file(&settings.path);
    if settings.secret_key.is_none() && !key_file.exists() {
        return Err(format!(
            "there is no key: no `store.secret_key` is configured, and `{}` is missing",
            key_file.display()
        ));
    }
    let sealer = keys::sealer(settings).map_err(|error| error.to_string())?;
    let done = upkeep.reseal(|id, sealed| keys::reseal(&sealer, id, sealed)).map_err(|error| error.to_string())?;
    let Resealed { resealed, lost_requests, lost_results } = &done;
    say(&format!("{resealed} stored requests and answers are sealed with the current key\n"));
    if lost_requests.is_empty() && lost_results.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let lost = format!("{} stored requests and {} kept answers", lost_requests.len(), lost_results.len());
    if args.give_up_lost {
        let closed = upkeep.give_up(&done, LOST, SystemClock.now()).map_err(|error| error.to_string())?;
        say(&format!("{lost} could not be opened and are forgotten; {closed} approvals were closed\n"));
        return Ok(ExitCode::SUCCESS);
    }
    let hint = "put the key that sealed them under `store.previous_secret_keys`, or give them up with `--give-up-lost`";
    complain(&format!("error: {lost} were sealed with a key that is not at hand and are as they were: {hint}"));
    Ok(ExitCode::FAILURE)
}
