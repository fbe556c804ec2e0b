//! Files of cases: found beside policies, guarded like every other YAML file, and read strictly.

use std::path::{Path, PathBuf};

use crate::config::diagnostic::{Code, Diagnostic, Source};
use crate::config::files::read_bounded;
use crate::config::shape::{References, Shape};
use crate::config::yaml::{self, FILE_BYTES_MAX};
use crate::domain::policy::cases::{CasesFile, Reader};
use crate::domain::value::Value;
use crate::protocol::json::{self, Limits, confusable_with};

/// How files of cases end.
const CASES_ENDING: &str = ".cases.yaml";

/// The strict reader, as cases see it.
pub(in crate::cli) struct StrictReader;

impl Reader for StrictReader {
    fn read<'a>(&self, text: &'a str) -> Result<Value<'a>, String> {
        json::read(text.as_bytes(), &Limits::default()).map_err(|error| error.code().to_owned())
    }

    fn confusable(&self, key: &str, wanted: &str) -> bool {
        confusable_with(key, wanted)
    }
}

/// A file of cases and the policy it is about.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cli) struct Pair {
    pub(in crate::cli) cases: PathBuf,
    pub(in crate::cli) policy: PathBuf,
}

/// The cases that a path stands for: a file of cases, a policy with cases beside it, or every one in a folder.
///
/// # Errors
/// When there are none.
pub(in crate::cli) fn find(path: &Path) -> Result<Vec<Pair>, Diagnostic> {
    let name = path.display().to_string();
    if path.is_dir() {
        let unreadable =
            |error: std::io::Error| Diagnostic::of_file(name.clone(), Code::FileUnreadable, error.to_string());
        let mut pairs = Vec::new();
        for entry in std::fs::read_dir(path).map_err(unreadable)? {
            pairs.extend(pair(&entry.map_err(unreadable)?.path()));
        }
        pairs.sort_by(|left, right| left.cases.cmp(&right.cases));
        if pairs.is_empty() {
            let found = Diagnostic::of_file(name, Code::Policy, "the folder holds no cases (`*.cases.yaml`)");
            return Err(found.hint("write `payments.cases.yaml` beside `payments.yaml`"));
        }
        return Ok(pairs);
    }
    if let Some(pair) = pair(path) {
        return Ok(vec![pair]);
    }
    let cases = path.with_extension("").with_extension("cases.yaml");
    if cases.is_file() {
        return Ok(vec![Pair { cases, policy: path.to_owned() }]);
    }
    let message = format!("no cases beside it: `{}` does not exist", cases.display());
    Err(Diagnostic::of_file(name, Code::FileUnreadable, message))
}

/// A file of cases with its policy; `None` for other files.
fn pair(path: &Path) -> Option<Pair> {
    let stem = path.file_name()?.to_str()?.strip_suffix(CASES_ENDING)?;
    Some(Pair { cases: path.to_owned(), policy: path.with_file_name(format!("{stem}.yaml")) })
}

/// Reads a file of cases.
///
/// # Errors
/// Everything that the guard refuses, and every key and type that is wrong.
pub(in crate::cli) fn cases(path: &Path) -> Result<CasesFile, Vec<Diagnostic>> {
    let name = path.display().to_string();
    let unreadable = |error: String| vec![Diagnostic::of_file(name.clone(), Code::FileUnreadable, error)];
    let bytes = read_bounded(path, FILE_BYTES_MAX as u64).map_err(|error| unreadable(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|_| unreadable("the file is not UTF-8 text".to_owned()))?;
    let document = yaml::read(Source::new(name.clone(), text))?;
    let schema = schemars::schema_for!(CasesFile).to_value();
    let shape = Shape { schema: &schema, formats: &[], references: References::Literal };
    let found = shape.problems(&document);
    if !found.is_empty() {
        return Err(found);
    }
    document.typed(&document.source().text).map_err(|found| vec![found])
}
