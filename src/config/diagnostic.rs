//! Problems in files that people write, with their place, and how they are printed.
//!
//! Every problem names the file, the line and the column, says what is wrong, and where possible what to do. It does
//! not decide what is a problem: `yaml` (syntax), `shape` (keys and types) and `resolve` (meaning) do.
//!
//! Invariant: no control character of a file or a message reaches the terminal or the log; values of secret fields
//! are masked in every excerpt (see [`Source::masked`]).

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde::{Serialize, Serializer};

/// The most problems that one report shows; what is beyond is counted, not shown.
pub const PROBLEMS_MAX: usize = 200;

/// A text file by the name shown to people and its content.
#[derive(Clone, PartialEq, Eq)]
pub struct Source {
    /// The name shown in messages: the path as the user gave it.
    pub name: String,
    /// The content, without a byte-order mark.
    pub text: String,
}

/// Shows no content: it may hold secrets.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({}, {} bytes)", self.name, self.text.len())
    }
}

impl Source {
    /// Wraps a text; a leading byte-order mark is dropped, because some editors write one.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        let text: String = text.into();
        let text = text.strip_prefix('\u{feff}').map_or(text.clone(), str::to_owned);
        Self { name: name.into(), text }
    }

    /// The same source with the bytes of `ranges` overwritten by `*`, so that excerpts may be shown and logged.
    /// Line breaks stay, and so do lengths and offsets.
    #[must_use]
    pub fn masked(&self, ranges: &[Range<usize>]) -> Self {
        let mut bytes = self.text.clone().into_bytes();
        for range in ranges {
            let inside = bytes.get_mut(range.clone()).unwrap_or_default();
            inside.iter_mut().filter(|byte| !matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b'*');
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Self { name: self.name.clone(), text }
    }
}

/// A place in a file, both numbers counted from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file is not loaded.
    Error,
    /// The file is loaded; what it says is probably not what was meant.
    Warning,
}

/// The kind of a problem: stable names for scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The configuration file itself cannot be read.
    ConfigUnreadable,
    /// A file that the configuration names cannot be read.
    FileUnreadable,
    /// A file is larger than its limit.
    FileTooLarge,
    /// Not YAML.
    YamlSyntax,
    /// YAML that is refused on purpose: aliases, anchors, tags, merge keys, depth, several documents.
    YamlForbidden,
    /// A key given twice.
    DuplicateKey,
    /// A key that does not exist.
    UnknownKey,
    /// A key that must be there.
    MissingKey,
    /// A value of the wrong kind.
    WrongType,
    /// A value of the right kind that is not acceptable.
    BadValue,
    /// `${…}` that cannot be resolved, or that stands where none is read.
    Secret,
    /// Settings that contradict each other.
    Conflict,
    /// A name that refers to nothing.
    UnknownName,
    /// An id, a route or a token given twice.
    DuplicateName,
    /// Something this version does not do.
    Unsupported,
    /// An upstream that is one of the gateway's own listeners.
    OwnListener,
    /// A gate that no reviewer can open.
    NoReviewer,
    /// A certificate or key that cannot be used.
    Certificate,
    /// An OpenAPI document that cannot be used.
    OpenApi,
    /// A rule that does not compile.
    Policy,
    /// A setting that works but exposes credentials.
    Exposure,
    /// A definition that nothing uses.
    Unused,
}

impl Code {
    /// The stable name, for example `unknown_key`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Code::ConfigUnreadable => "config_unreadable",
            Code::FileUnreadable => "file_unreadable",
            Code::FileTooLarge => "file_too_large",
            Code::YamlSyntax => "yaml_syntax",
            Code::YamlForbidden => "yaml_forbidden",
            Code::DuplicateKey => "duplicate_key",
            Code::UnknownKey => "unknown_key",
            Code::MissingKey => "missing_key",
            Code::WrongType => "wrong_type",
            Code::BadValue => "bad_value",
            Code::Secret => "secret",
            Code::Conflict => "conflict",
            Code::UnknownName => "unknown_name",
            Code::DuplicateName => "duplicate_name",
            Code::Unsupported => "unsupported",
            Code::OwnListener => "own_listener",
            Code::NoReviewer => "no_reviewer",
            Code::Certificate => "certificate",
            Code::OpenApi => "open_api",
            Code::Policy => "policy",
            Code::Exposure => "exposure",
            Code::Unused => "unused",
        }
    }
}

/// The part of a source that a problem is about.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Excerpt {
    source: Arc<Source>,
    span: Range<usize>,
    related: Vec<(Range<usize>, String)>,
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file, by the name shown to people.
    pub file: String,
    /// Where in the file; `None` for a problem of the file as a whole.
    pub place: Option<Place>,
    /// How bad it is.
    pub severity: Severity,
    /// Its kind.
    pub code: Code,
    /// What is wrong, in one line.
    pub message: String,
    /// What to do, in one line.
    pub hint: Option<String>,
    excerpt: Option<Box<Excerpt>>,
}

impl Diagnostic {
    /// An error of the file as a whole.
    pub fn of_file(file: impl Into<String>, code: Code, message: impl AsRef<str>) -> Self {
        Self {
            file: file.into(),
            place: None,
            severity: Severity::Error,
            code,
            message: visible(message.as_ref()),
            hint: None,
            excerpt: None,
        }
    }

    /// An error at a place; `span` are the bytes of `source` that the excerpt underlines.
    pub fn at(source: &Arc<Source>, place: Place, span: Range<usize>, code: Code, message: impl AsRef<str>) -> Self {
        let excerpt = Some(Box::new(Excerpt { source: Arc::clone(source), span, related: Vec::new() }));
        Self { place: Some(place), excerpt, ..Self::of_file(source.name.clone(), code, message) }
    }

    /// Adds what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl AsRef<str>) -> Self {
        self.hint = Some(visible(hint.as_ref()));
        self
    }

    /// Adds what to do, where there is something to say.
    #[must_use]
    pub fn hint_if(self, hint: Option<impl AsRef<str>>) -> Self {
        match hint {
            Some(hint) => self.hint(hint),
            None => self,
        }
    }

    /// Turns the problem into a warning.
    #[must_use]
    pub fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// Points at a second place in the same source.
    #[must_use]
    pub fn related(mut self, span: Range<usize>, label: &str) -> Self {
        if let Some(excerpt) = &mut self.excerpt {
            excerpt.related.push((span, label.to_owned()));
        }
        self
    }

    /// Shows `source` in the excerpt instead; used to swap in the masked text. Offsets must be the same.
    #[must_use]
    pub fn shown_from(mut self, source: &Arc<Source>) -> Self {
        if let Some(excerpt) = &mut self.excerpt
            && excerpt.source.name == source.name
        {
            excerpt.source = Arc::clone(source);
        }
        self
    }

    /// The problem in the look that Rust's compiler made familiar, over several lines, without colour.
    pub fn render(&self) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level.primary_title(self.message.as_str()).id(self.code.as_str());
        let mut group = match &self.excerpt {
            Some(excerpt) => title.element(excerpt.snippet(&self.file)),
            None => Group::with_title(title).element(annotate_snippets::Origin::path(self.file.as_str())),
        };
        if let Some(hint) = &self.hint {
            group = group.element(Level::HELP.message(hint.as_str()));
        }
        Renderer::plain().render(&[group])
    }
}

impl Excerpt {
    fn snippet<'a>(&'a self, file: &'a str) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
        let text = self.source.text.as_str();
        let primary = AnnotationKind::Primary.span(within(text, &self.span));
        let related = self
            .related
            .iter()
            .map(|(span, label)| AnnotationKind::Context.span(within(text, span)).label(label.as_str()));
        Snippet::source(text).path(file).annotation(primary).annotations(related)
    }
}

/// The span cut to the text, to its first line, and to character boundaries.
fn within(text: &str, span: &Range<usize>) -> Range<usize> {
    let floor = |mut at: usize| {
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let start = floor(span.start.min(text.len()));
    let end = floor(span.end.clamp(start, text.len()));
    let line_end = text[start..end].find('\n').map_or(end, |length| start + length);
    start..line_end
}

/// `file:line:column: message; hint`, the form for logs.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(place) = self.place {
            write!(f, ":{}:{}", place.line, place.column)?;
        }
        write!(f, ": {}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

/// `{file, line, column, severity, code, message, hint}`; `line`, `column` and `hint` may be null.
impl Serialize for Diagnostic {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct View<'a> {
            file: &'a str,
            line: Option<usize>,
            column: Option<usize>,
            severity: Severity,
            code: Code,
            message: &'a str,
            hint: Option<&'a str>,
        }
        let view = View {
            file: &self.file,
            line: self.place.map(|place| place.line),
            column: self.place.map(|place| place.column),
            severity: self.severity,
            code: self.code,
            message: &self.message,
            hint: self.hint.as_deref(),
        };
        view.serialize(serializer)
    }
}

/// Control characters become visible escapes, so that a file cannot drive the terminal it is reported on.
fn visible(text: &str) -> String {
    let invisible = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if invisible(c) { shown.extend(c.escape_unicode()) } else { shown.push(c) }
    }
    shown
}

/// Orders by file and place and drops repetitions; at most [`PROBLEMS_MAX`] stay, errors before warnings.
#[must_use]
pub fn in_order(mut diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let key = |d: &Diagnostic| (d.file.clone(), d.place, d.severity, d.message.clone());
    diagnostics.sort_by_key(key);
    diagnostics.dedup_by_key(|d| key(d));
    if diagnostics.len() > PROBLEMS_MAX {
        let errors = diagnostics.iter().filter(|d| d.severity == Severity::Error).count();
        if errors > 0 {
            diagnostics.retain(|d| d.severity == Severity::Error);
        }
        let hidden = diagnostics.len().saturating_sub(PROBLEMS_MAX);
        diagnostics.truncate(PROBLEMS_MAX);
        if let (Some(last), true) = (diagnostics.last().cloned(), hidden > 0) {
            let more = format!("{hidden} more problems are not shown; fix these first");
            let mut note = Diagnostic::of_file(last.file, last.code, more);
            note.severity = last.severity;
            diagnostics.push(note);
        }
    }
    diagnostics
}

/// The nearest of `known` to `given`, where it is near enough to be a slip, or else the one that `given` begins.
pub fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let fold = |text: &str| text.to_ascii_lowercase().replace('-', "_");
    let (given, mut beginning) = (fold(given), None);
    let slips = known.into_iter().filter_map(|name| {
        let folded = fold(name);
        if given.len() >= 3 && folded.starts_with(&given) {
            beginning = beginning.or(Some(name));
        }
        let distance = strsim::osa_distance(&given, &folded);
        let most = 1.max(folded.chars().count().max(given.chars().count()) / 3);
        (distance <= most).then_some((distance, name))
    });
    slips.min_by_key(|(distance, _)| *distance).map(|(_, name)| name).or(beginning)
}
