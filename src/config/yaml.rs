//! The YAML guard: the only way YAML enters the program.
//!
//! In order: a size cap; a linear scan of the parser's events that refuses what makes YAML dangerous or ambiguous
//! (depth, aliases, anchors, tags, merge keys, second documents, duplicate keys) and notes where everything stands; then
//! a whole-document read into a tree, which refuses duplicate keys once more by the parser that decides; then, by
//! [`Document::typed`], the typed read. The scan decides no value: what a scalar means is for `serde_yaml` alone, so
//! that two parsers cannot disagree about it.
//!
//! It does not know what keys mean; see `shape`.

use std::ops::Range;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::diagnostic::{Code, Diagnostic, Place, Source};

mod scan;
#[cfg(test)]
mod tests;

pub use scan::{Node, Spans, path_text};

use crate::domain::policy::PathSegment;

/// The largest file read: nesting costs time beyond its length in YAML parsers, so files are bounded.
pub const FILE_BYTES_MAX: usize = 256 * 1024;
/// The deepest nesting of lists and mappings.
pub const DEPTH_MAX: usize = 32;

/// A document that passed the guard: its values, and where each stands.
#[derive(Debug, Clone)]
pub struct Document {
    source: Arc<Source>,
    value: serde_yaml::Value,
    spans: Spans,
}

/// Reads one document.
///
/// # Errors
/// Everything the guard refuses, each at its place; several at once where the scan can go on.
pub fn read(source: Source) -> Result<Document, Vec<Diagnostic>> {
    if source.text.len() > FILE_BYTES_MAX {
        let message = format!("the file has {} bytes; at most {FILE_BYTES_MAX} are read", source.text.len());
        return Err(vec![
            Diagnostic::of_file(source.name, Code::FileTooLarge, message).hint("split it into several files"),
        ]);
    }
    let source = Arc::new(source);
    let spans = scan::scan(&source)?;
    let value = serde_yaml::from_str::<serde_yaml::Value>(&source.text)
        .map_err(|error| vec![placed(&source, &error, Code::YamlSyntax)])?;
    Ok(Document { source, value, spans })
}

impl Document {
    /// The source, for excerpts.
    pub fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// The values.
    pub fn value(&self) -> &serde_yaml::Value {
        &self.value
    }

    /// The places.
    pub fn spans(&self) -> &Spans {
        &self.spans
    }

    /// Shows this source in excerpts from now on; offsets must be the same (see [`Source::masked`]).
    pub fn show_from(&mut self, source: Arc<Source>) {
        self.source = source;
    }

    /// Reads the document into `T`.
    ///
    /// # Errors
    /// The first thing that `T` refuses, at its place. The message may quote a value: run `shape` first, which knows
    /// which values are secret.
    pub fn typed<T: DeserializeOwned>(&self, text: &str) -> Result<T, Diagnostic> {
        serde_yaml::from_str(text).map_err(|error| placed(&self.source, &error, Code::BadValue))
    }

    /// An error at the value under `path`, or at the nearest value around it.
    pub fn at_value(&self, path: &[PathSegment], code: Code, message: impl AsRef<str>) -> Diagnostic {
        let (place, span) = self.spans.value(path);
        Diagnostic::at(&self.source, place, span, code, message)
    }

    /// An error at the key that ends `path`, or at the item when the path ends in an index.
    pub fn at_key(&self, path: &[PathSegment], code: Code, message: impl AsRef<str>) -> Diagnostic {
        let (place, span) = self.spans.key(path);
        Diagnostic::at(&self.source, place, span, code, message)
    }
}

/// A parser's error as a diagnostic; its own mention of the place is cut from the message.
fn placed(source: &Arc<Source>, error: &serde_yaml::Error, code: Code) -> Diagnostic {
    let text = error.to_string();
    let message = text.rfind(" at line ").map_or(text.as_str(), |at| &text[..at]);
    let code = if message.contains("duplicate entry") { Code::DuplicateKey } else { code };
    match error.location() {
        Some(at) => {
            let start = at.index().min(source.text.len());
            let place = Place { line: at.line(), column: at.column() };
            Diagnostic::at(source, place, start..end_of_word(&source.text, start), code, message)
        }
        None => Diagnostic::of_file(source.name.clone(), code, message),
    }
}

/// The end of the word that starts at byte `start`, or of its one character.
fn end_of_word(text: &str, start: usize) -> usize {
    let Some(rest) = text.get(start..) else { return start };
    let length = rest.find(|c: char| c.is_whitespace() || matches!(c, ',' | '}' | ']')).unwrap_or(rest.len());
    start + length.max(rest.chars().next().map_or(0, char::len_utf8))
}

/// The bytes of a span: a shorthand for signatures.
pub type Span = Range<usize>;
