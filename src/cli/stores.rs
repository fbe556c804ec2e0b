//! What the commands on the store share: which store the configuration names.
//!
//! They read `store` alone: a policy that does not load, or an upstream's secret that is not set in this shell, keeps nobody
//! from a backup.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::complain;
use crate::config::load::load_store;
use crate::config::secrets::ProcessEnv;
use crate::config::settings::StoreSettings;
use crate::store::sqlite::{Options, SqliteStore};

/// Which store.
#[derive(Debug, Clone, Args)]
pub(super) struct StoreArgs {
    /// The configuration file; only `store` in it is used
    #[arg(short, long, value_name = "FILE", env = "HOLDPOINT_CONFIG")]
    pub(super) config: PathBuf,
}

impl StoreArgs {
    /// The store's settings; the exit code after saying what is wrong with them.
    pub(super) fn settings(&self) -> Result<StoreSettings, ExitCode> {
        load_store(&self.config, &ProcessEnv).map_err(|problems| {
            for found in &problems {
                complain(&found.to_string());
            }
            ExitCode::from(2)
        })
    }

    /// The store, opened to look at it.
    pub(super) fn open(&self) -> Result<SqliteStore, ExitCode> {
        look(&self.settings()?.path)
    }
}

/// Opens a store to look at it; the exit code after saying why not.
pub(super) fn look(path: &Path) -> Result<SqliteStore, ExitCode> {
    SqliteStore::open_read_only(path, Options { readers: 1, ..Options::default() }).map_err(|error| {
        complain(&format!("error: {error}"));
        ExitCode::from(2)
    })
}
