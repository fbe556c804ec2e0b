//! From the model to the settings: secrets, files, and what must hold between sections.
//!
//! Every problem is collected; a setting that could not be made is left out and its absence makes the load fail, so
//! nothing is loaded half. Problems are placed by path in the document.

use std::path::{Path, PathBuf};

use super::diagnostic::{Code, Diagnostic};
use super::model::values::{Text, ValueError};
use super::secrets::{Env, Secret, SecretText};
use super::yaml::Document;
use crate::domain::policy::PathSegment;

mod limits;
mod listeners;
mod principals;
mod programs;
mod store;
mod tls;
mod upstreams;

#[cfg(test)]
mod tests;

pub(super) use limits::limits;
pub(super) use listeners::{admin, proxy, separate_listeners};
pub(super) use principals::{agents, distinct_tokens, metrics, reviewers};
pub(super) use store::store;
pub(super) use upstreams::{not_own_listeners, routes, upstreams};

/// What resolving needs to know, and what it has found.
pub(super) struct Context<'a> {
    /// The document, for places.
    pub(super) document: &'a Document,
    /// Where `${NAME}` looks.
    pub(super) env: &'a dyn Env,
    /// The configuration file's folder, from which relative paths start.
    pub(super) folder: &'a Path,
    /// The files read so far.
    pub(super) files: Vec<PathBuf>,
    /// The problems found so far.
    pub(super) found: Vec<Diagnostic>,
}

impl Context<'_> {
    /// Notes an error at the value under `path`.
    pub(super) fn error(&mut self, path: &[PathSegment], code: Code, message: impl AsRef<str>, hint: &str) {
        self.found.push(self.document.at_value(path, code, message).hint(hint));
    }

    /// Notes a warning at the value under `path`.
    pub(super) fn warn(&mut self, path: &[PathSegment], code: Code, message: impl AsRef<str>, hint: &str) {
        self.found.push(self.document.at_value(path, code, message).hint(hint).warning());
    }

    /// Notes an error of a single value.
    fn value_error(&mut self, path: &[PathSegment], code: Code, error: ValueError) {
        self.found.push(self.document.at_value(path, code, error.message).hint_if(error.hint));
    }

    /// Resolves a secret; `None` after noting why not.
    fn secret(&mut self, path: &[PathSegment], text: &Text<SecretText>) -> Option<Secret<String>> {
        match text.0.resolve(self.env, self.folder) {
            Ok(resolved) => {
                self.files.extend(resolved.files);
                Some(resolved.text)
            }
            Err(error) => {
                self.value_error(path, Code::Secret, error);
                None
            }
        }
    }

    /// Reads a file that the value under `path` names; `None` after noting why not.
    fn file(&mut self, path: &[PathSegment], name: &str, bytes_max: u64) -> Option<Vec<u8>> {
        let file = self.folder.join(name);
        let read = super::files::read_bounded(&file, bytes_max);
        self.files.push(file);
        match read {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                let message = format!("`{name}` cannot be read: {error}");
                self.error(path, Code::FileUnreadable, message, "paths start from the configuration file's folder");
                None
            }
        }
    }
}

/// A path from keys and indices.
macro_rules! at {
    ($($segment:expr),+ $(,)?) => { [$($crate::domain::policy::PathSegment::from($segment)),+] };
}
pub(super) use at;
