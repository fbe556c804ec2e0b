//! Secrets: references to the environment and to files, and values that never show themselves.
//!
//! `${NAME}` is an environment variable, `${file:/path}` the content of a file without its last line break, `$${` a
//! literal `${`. They are read only in fields meant for secrets (upstream headers and `env`, `store`, `token_sha256`), once per
//! load. A reference that cannot be resolved, or resolves to nothing, is an error: an empty credential is a wrong one.
//!
//! This is the only module that reads the environment. It does not keep secrets out of core dumps or swap.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

use super::files;
use super::model::values::{TextValue, ValueError};

/// The largest secret read from a file.
pub const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// Where `${NAME}` looks.
pub trait Env {
    /// The value of a variable; `None` when it is not set or not Unicode.
    fn variable(&self, name: &str) -> Option<String>;
}

/// The environment of this process.
#[derive(Debug, Clone, Copy)]
pub struct ProcessEnv;

impl Env for ProcessEnv {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

/// An environment of given pairs, for tests and for built-in configurations.
impl Env for [(&str, &str)] {
    fn variable(&self, name: &str) -> Option<String> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    }
}

impl<const N: usize> Env for [(&str, &str); N] {
    fn variable(&self, name: &str) -> Option<String> {
        self.as_slice().variable(name)
    }
}

/// A value that shows itself as `[redacted]` everywhere; [`Secret::expose`] is the only way to it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T>(T);

const REDACTED: &str = "[redacted]";

impl<T> Secret<T> {
    /// Wraps a value.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value, for the one place that needs it.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl<T> fmt::Display for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl<T> Serialize for Secret<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(REDACTED)
    }
}

/// A text that may hold references, as it stands in the file.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText {
    parts: Vec<Part>,
}

#[derive(Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Variable(String),
    File(PathBuf),
}

/// A resolved text, and the files it came from.
#[derive(Debug)]
pub struct Resolved {
    /// The text.
    pub text: Secret<String>,
    /// The files that were read; a change of one means a reload.
    pub files: Vec<PathBuf>,
}

impl SecretText {
    /// A text without references.
    pub fn literal(text: impl Into<String>) -> Self {
        Self { parts: vec![Part::Literal(text.into())] }
    }

    /// Resolves every reference; relative file names start from `folder`.
    ///
    /// # Errors
    /// A variable that is not set or is empty; a file that cannot be read, is empty, is too large or is not UTF-8.
    pub fn resolve(&self, env: &dyn Env, folder: &Path) -> Result<Resolved, ValueError> {
        let mut text = String::new();
        let mut read = Vec::new();
        for part in &self.parts {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Variable(name) => match env.variable(name) {
                    Some(value) if !value.is_empty() => text.push_str(&value),
                    Some(_) => return Err(missing(&format!("the environment variable `{name}` is empty"), name)),
                    None => return Err(missing(&format!("the environment variable `{name}` is not set"), name)),
                },
                Part::File(path) => {
                    let path = folder.join(path);
                    text.push_str(&secret_file(&path)?);
                    read.push(path);
                }
            }
        }
        Ok(Resolved { text: Secret::new(text), files: read })
    }
}

fn missing(message: &str, name: &str) -> ValueError {
    ValueError::new(message, format!("set `{name}` before the start, or use `${{file:/path}}`"))
}

fn secret_file(path: &Path) -> Result<String, ValueError> {
    let shown = path.display();
    let hint = "name a readable UTF-8 file that holds only the secret";
    let bytes = files::read_bounded(path, SECRET_BYTES_MAX)
        .map_err(|error| ValueError::new(format!("the secret file `{shown}` cannot be read: {error}"), hint))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| ValueError::new(format!("the secret file `{shown}` is not UTF-8 text"), hint))?;
    let text = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    if text.is_empty() {
        return Err(ValueError::new(format!("the secret file `{shown}` is empty"), hint));
    }
    Ok(text.to_owned())
}

impl TextValue for SecretText {
    const FORMAT: &'static str = "secret-text";

    fn read(text: &str) -> Result<Self, ValueError> {
        let wrong = |why: &str| {
            let hint = "write `${NAME}` or `${file:/path}`; `$${` stands for a literal `${`";
            // What stands between the braces may be a secret pasted by mistake.
            Err(ValueError::new(format!("a `${{…}}` reference {why}"), hint))
        };
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            if let Some(before) = rest[..at].strip_suffix('$') {
                literal.push_str(before);
                literal.push_str("${");
                rest = &rest[at + 2..];
                continue;
            }
            literal.push_str(&rest[..at]);
            let Some((inside, tail)) = rest[at + 2..].split_once('}') else { return wrong("is not closed by `}`") };
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
            }
            match inside.strip_prefix("file:") {
                Some("") => return wrong("names no file"),
                Some(path) => parts.push(Part::File(PathBuf::from(path))),
                None if is_variable(inside) => parts.push(Part::Variable(inside.to_owned())),
                None => return wrong("is neither a variable's name nor a file"),
            }
            rest = tail;
        }
        literal.push_str(rest);
        if !literal.is_empty() || parts.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Self { parts })
    }

    fn write(&self) -> String {
        REDACTED.to_owned()
    }
}

fn is_variable(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Shows references by name, and never a literal.
impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            match part {
                Part::Literal(_) => f.write_str(REDACTED)?,
                Part::Variable(name) => write!(f, "${{{name}}}")?,
                Part::File(path) => write!(f, "${{file:{}}}", path.display())?,
            }
        }
        Ok(())
    }
}
