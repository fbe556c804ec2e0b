//! `holdpoint serve`: the gateway until a signal ends it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{complain, runtime};
use crate::config::diagnostic::Severity;
use crate::config::load::{Reviewers, load};
use crate::config::secrets::ProcessEnv;
use crate::runtime::{Origin, start, stopped};

/// Arguments of `holdpoint serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", env = "HOLDPOINT_CONFIG")]
    config: PathBuf,
}

/// Runs the gateway. Exit code 0 after a clean shutdown, 1 when it could not start or end cleanly or its store was lost, 2 when
/// the configuration cannot be used.
pub fn run(args: &ServeArgs) -> ExitCode {
    let loaded = load(&args.config, &ProcessEnv, Reviewers::Required);
    for found in &loaded.diagnostics {
        complain(&found.to_string());
    }
    let Some(config) = loaded.config else {
        let errors = loaded.diagnostics.iter().filter(|found| found.severity == Severity::Error).count();
        complain(&format!(
            "{errors} problem(s) in the configuration; `holdpoint check -c FILE` shows each in its place"
        ));
        return ExitCode::from(2);
    };
    if let Err(error) = super::logs::init(&config) {
        complain(&error.to_string());
        return ExitCode::from(2);
    }
    let origin = Origin { path: args.config.clone(), files_read: loaded.files_read, reviewers: Reviewers::Required };
    runtime(async {
        let running = match start(config, origin).await {
            Ok(running) => running,
            Err(error) => {
                complain(&format!("{:#}", anyhow::Error::from(error)));
                return ExitCode::FAILURE;
            }
        };
        let is_store_sound = tokio::select! {
            asked = stopped() => {
                if let Err(error) = asked {
                    complain(&format!("signals cannot be received: {error}"));
                }
                true
            }
            // What is on disk can only be told by reading it anew: for the next process, once the disk is sound.
            () = running.store_lost() => {
                tracing::error!("the store is lost to this process: it ends, and a restart reads what is on disk");
                false
            }
        };
        if running.shut_down().await && is_store_sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    })
}
