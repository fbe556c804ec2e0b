//! The keys that seal stored requests and answers: where they come from, and whether the store needs others.

use std::path::{Path, PathBuf};

use super::Error;
use crate::config::settings::StoreSettings;
use crate::domain::id::ApprovalId;
use crate::domain::time::Timestamp;
use crate::store::seal::{SealError, Sealer, load_or_create_key};
use crate::store::sqlite::SqliteStore;
use crate::store::{self, Store as _};

/// The store needs a key that is not at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing;

/// Where the key is when none is configured.
pub fn key_file(store: &Path) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(".key");
    PathBuf::from(name)
}

/// Seals with the configured key, or with that of the key file, which is made when it is missing; opens with the earlier
/// ones as well.
///
/// # Errors
/// [`Error::Key`]
pub fn sealer(settings: &StoreSettings) -> Result<Sealer, Error> {
    let path = key_file(&settings.path);
    let failed = |path: PathBuf, reason: String| Error::Key { path, reason };
    let key = match &settings.secret_key {
        Some(key) => *key.expose(),
        None => load_or_create_key(&path).map_err(|error| failed(path, error.to_string()))?,
    };
    let earlier: Vec<_> = settings.previous_secret_keys.iter().map(|key| *key.expose()).collect();
    Sealer::from_keys(key, &earlier).map_err(|error| failed(settings.path.clone(), error.to_string()))
}

/// Looks at one sealed message for each key that the store has seen, after forgetting what nobody needs: a missing key is
/// told at the start and not when somebody approves.
///
/// # Errors
/// A store that cannot be read or written.
pub async fn check(store: &SqliteStore, sealer: &Sealer, now: Timestamp) -> Result<Result<(), Missing>, store::Error> {
    while store.forget(now).await? > 0 {}
    let samples = store.one_of_each_key().await?;
    let missing = samples.iter().any(|(id, sealed)| open(sealer, *id, sealed) == Err(SealError::UnknownKey));
    Ok(if missing { Err(Missing) } else { Ok(()) })
}

/// Opens what is stored for an approval.
///
/// # Errors
/// [`SealError`]
pub fn open(sealer: &Sealer, id: ApprovalId, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
    sealer.open(sealed, id.to_string().as_bytes())
}

/// Seals anew what is stored for an approval; `None` when no key at hand opens it.
pub fn reseal(sealer: &Sealer, id: ApprovalId, sealed: &[u8]) -> Option<Vec<u8>> {
    let plain = open(sealer, id, sealed).ok()?;
    sealer.seal(&plain, id.to_string().as_bytes()).ok()
}
