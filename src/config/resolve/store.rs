//! `store`.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use super::{Context, at};
use crate::config::diagnostic::Code;
use crate::config::model::StoreModel;
use crate::config::secrets::Secret;
use crate::config::settings::StoreSettings;
use crate::domain::policy::PathSegment;

pub(in crate::config) fn store(context: &mut Context<'_>, model: &StoreModel) -> Option<StoreSettings> {
    let mapping = context.document.value().get("store").is_some_and(serde_yaml::Value::is_mapping);
    let at: Vec<PathSegment> = if mapping { at!["store", "url"].to_vec() } else { at!["store"].to_vec() };
    let secret_key =
        model.secret_key.as_ref().map(|text| key(context, &at!["store", "secret_key"], "`secret_key`", text));
    let previous = previous_keys(context, model);
    let url = context.secret(&at, &model.url)?;
    let path = sqlite_path(context, &at, url.expose())?;
    let path = context.folder.join(path);
    if !path.parent().is_none_or(|folder| folder.as_os_str().is_empty() || folder.is_dir()) {
        let message = format!("the folder of the store, `{}`, does not exist here", shown_folder(&path));
        context.warn(&at, Code::FileUnreadable, message, "create it before the start; the file itself is made");
    }
    let secret_key = match secret_key {
        Some(key) => Some(key?),
        None => None,
    };
    Some(StoreSettings { path, secret_key, previous_secret_keys: previous? })
}

fn shown_folder(path: &Path) -> String {
    path.parent().map_or_else(String::new, |folder| folder.display().to_string())
}

fn sqlite_path(context: &mut Context<'_>, at: &[PathSegment], url: &str) -> Option<PathBuf> {
    let hint =
        "write `sqlite:///absolute/path.db`, or `sqlite://relative/path.db` from the configuration file's folder";
    let Some(path) = url.strip_prefix("sqlite://") else {
        // The URL is not quoted: it may hold a password.
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let message = "PostgreSQL stores are not supported in this version";
            context.error(at, Code::Unsupported, message, hint);
        } else {
            context.error(at, Code::BadValue, "this is not the URL of a store", hint);
        }
        return None;
    };
    let illegal =
        path.is_empty() || path.ends_with('/') || path.contains(['?', '#', '%', '\0']) || path.starts_with(':');
    if illegal {
        let message = "the store's URL must name a file, without options or `%` escapes";
        context.error(at, Code::BadValue, message, hint);
        return None;
    }
    Some(PathBuf::from(path))
}

/// How many earlier keys there may be.
const PREVIOUS_KEYS_MAX: usize = 16;

fn previous_keys(context: &mut Context<'_>, model: &StoreModel) -> Option<Vec<Secret<[u8; 32]>>> {
    let texts = &model.previous_secret_keys;
    if texts.len() > PREVIOUS_KEYS_MAX {
        let message = format!("`previous_secret_keys` has {} keys; {PREVIOUS_KEYS_MAX} are kept", texts.len());
        let hint =
            "seal everything with the current key (`holdpoint migrate --reseal`), then take the earlier ones out";
        context.error(&at!["store", "previous_secret_keys"], Code::BadValue, message, hint);
        return None;
    }
    let keys: Vec<_> = texts
        .iter()
        .enumerate()
        .map(|(index, text)| key(context, &at!["store", "previous_secret_keys", index], "the earlier key", text))
        .collect();
    keys.into_iter().collect()
}

/// A key in base64; `None` after noting what is wrong with it. Nothing of it is quoted.
fn key(
    context: &mut Context<'_>,
    at: &[PathSegment],
    name: &str,
    text: &crate::config::model::values::Text<crate::config::secrets::SecretText>,
) -> Option<Secret<[u8; 32]>> {
    let resolved = context.secret(at, text)?;
    let encoded = resolved.expose().trim();
    let problem = match STANDARD.decode(encoded).or_else(|_| STANDARD_NO_PAD.decode(encoded)) {
        Err(_) => format!("{name} is not base64 of 32 bytes"),
        Ok(bytes) => match <[u8; 32]>::try_from(bytes.as_slice()) {
            Err(_) => format!("{name} has {} bytes; a key has 32 bytes", bytes.len()),
            Ok([0, rest @ ..]) if rest == [0; 31] => {
                format!("{name} is all zeros, which everybody knows: it would keep nothing secret")
            }
            Ok(key) => return Some(Secret::new(key)),
        },
    };
    context.error(at, Code::BadValue, problem, "make one with `openssl rand -base64 32`");
    None
}
