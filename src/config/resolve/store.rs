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
    let secret_key = model.secret_key.as_ref().map(|text| secret_key(context, text));
    let url = context.secret(&at, &model.url)?;
    let path = sqlite_path(context, &at, url.expose())?;
    let path = context.folder.join(path);
    if !path.parent().is_none_or(|folder| folder.as_os_str().is_empty() || folder.is_dir()) {
        let message = format!("the folder of the store, `{}`, does not exist here", shown_folder(&path));
        context.warn(&at, Code::FileUnreadable, message, "create it before the start; the file itself is made");
    }
    match secret_key {
        Some(key) => Some(StoreSettings { path, secret_key: Some(key?) }),
        None => Some(StoreSettings { path, secret_key: None }),
    }
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

fn secret_key(
    context: &mut Context<'_>,
    text: &crate::config::model::values::Text<crate::config::secrets::SecretText>,
) -> Option<Secret<[u8; 32]>> {
    let at = at!["store", "secret_key"];
    let resolved = context.secret(&at, text)?;
    let encoded = resolved.expose().trim();
    let decoded = STANDARD.decode(encoded).or_else(|_| STANDARD_NO_PAD.decode(encoded)).ok();
    let key = decoded.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    if key.is_none_or(|key| key == [0; 32]) {
        let message = "`secret_key` is not 32 bytes in base64";
        context.error(&at, Code::BadValue, message, "make one with `openssl rand -base64 32`");
        return None;
    }
    key.map(Secret::new)
}
