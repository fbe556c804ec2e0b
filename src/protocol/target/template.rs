//! Path templates (`/customers/{id}`) and the set of them that gives calls their names.
//!
//! A near miss is reported apart from a miss: a server that ignores case or a trailing slash would serve `/Refunds` as
//! `/refunds`, so a request that only such a server would take for a mapped call is refused, not passed under a name
//! that no rule knows.

use super::{RequestTarget, TargetError, path_segments};
use crate::domain::names::NameMap;
use crate::protocol::json::folded;
use smallvec::SmallVec;

/// Segments of one template.
const TEMPLATE_SEGMENTS_MAX: usize = 64;

/// A path in which `{name}` stands for any one non-empty segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathTemplate {
    segments: Vec<Segment>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    /// Decoded text.
    Literal(String),
    Parameter(String),
}

/// Why a template does not load.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A literal part could match no request, because the path would be refused.
    #[error("no accepted path can match this template: {0}")]
    Path(#[from] TargetError),
    /// Braces that do not enclose exactly one whole segment.
    #[error("`{segment}` must be a whole segment in braces, such as `{{id}}`, with letters, digits and `_` only")]
    Parameter {
        /// The segment.
        segment: String,
    },
    /// One name for two segments.
    #[error("the parameter `{name}` appears twice; give each its own name")]
    Twice {
        /// The name.
        name: String,
    },
    /// A query or more segments than allowed.
    #[error("a template is a path of at most {TEMPLATE_SEGMENTS_MAX} segments, without a query")]
    Shape,
    /// Two templates that a server may not tell apart.
    #[error(
        "the templates number {first} and {second} have the same method and differ at most by case, trailing slash or parameter names; keep one"
    )]
    Ambiguous {
        /// Position of the earlier one.
        first: usize,
        /// Position of the later one.
        second: usize,
    },
}

impl PathTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// When it could never match, or braces are used for anything but one whole segment.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let rest = text.strip_prefix('/').ok_or(TargetError::NoSlash)?;
        if text.contains(['?', '#']) || rest.split('/').count() > TEMPLATE_SEGMENTS_MAX {
            return Err(TemplateError::Shape);
        }
        let mut names: Vec<&str> = Vec::new();
        // The literal parts are checked as a path in which each parameter is a letter.
        let mut path = String::with_capacity(text.len());
        for segment in rest.split('/') {
            path.push('/');
            match parameter(segment)? {
                Some(name) if names.contains(&name) => return Err(TemplateError::Twice { name: name.to_owned() }),
                Some(name) => {
                    names.push(name);
                    path.push('x');
                }
                None => path.push_str(segment),
            }
        }
        let segments = path_segments(&path)?
            .into_iter()
            .zip(rest.split('/'))
            .map(|(decoded, written)| {
                let name = written.strip_prefix('{').and_then(|inner| inner.strip_suffix('}'));
                name.map_or(Segment::Literal(decoded), |name| Segment::Parameter(name.to_owned()))
            })
            .collect();
        Ok(Self { segments })
    }

    /// The parameters' names and the decoded segments they stand for; `None` when the path does not match.
    pub fn capture<'t>(&'t self, target: &'t RequestTarget) -> Option<Vec<(&'t str, &'t str)>> {
        if self.segments.len() != target.segments().len() {
            return None;
        }
        let mut parameters = Vec::new();
        for (segment, text) in self.segments.iter().zip(target.segments()) {
            match segment {
                Segment::Literal(literal) if literal == text => {}
                Segment::Parameter(name) if !text.is_empty() => parameters.push((name.as_str(), text.as_str())),
                Segment::Literal(_) | Segment::Parameter(_) => return None,
            }
        }
        Some(parameters)
    }

    /// Whether the path matches exactly.
    pub fn matches(&self, target: &RequestTarget) -> bool {
        self.capture(target).is_some()
    }

    /// Whether the path would match for a server that ignores case, Unicode form or a trailing slash, but does not match
    /// exactly.
    pub fn matches_loosely(&self, target: &RequestTarget) -> bool {
        let (own, other) = (trimmed(&self.segments, Segment::is_empty), trimmed(target.segments(), String::is_empty));
        own.len() == other.len()
            && own.iter().zip(other).all(|(segment, text)| match segment {
                Segment::Literal(literal) => folded(literal) == folded(text),
                Segment::Parameter(_) => !text.is_empty(),
            })
            && !self.matches(target)
    }
}

impl Segment {
    fn is_empty(&self) -> bool {
        matches!(self, Segment::Literal(text) if text.is_empty())
    }
}

/// The name in a `{name}` segment; `None` for a literal.
fn parameter(segment: &str) -> Result<Option<&str>, TemplateError> {
    if !segment.contains(['{', '}']) {
        return Ok(None);
    }
    segment
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
        .filter(|name| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'))
        .map(Some)
        .ok_or_else(|| TemplateError::Parameter { segment: segment.to_owned() })
}

/// The segments without the empty one that a trailing slash leaves.
fn trimmed<T>(segments: &[T], is_empty: impl Fn(&T) -> bool) -> &[T] {
    match segments.split_last() {
        Some((last, rest)) if is_empty(last) => rest,
        _ => segments,
    }
}

/// What a [`TemplateSet`] knows about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    /// The template at this position matches exactly, and no other reading of the path leads elsewhere.
    Exact(usize),
    /// A server that ignores case or a trailing slash would take the path for the template at this position: refuse.
    Near(usize),
    /// No template is meant.
    None,
}

/// Templates by method, looked up by one walk along the path whatever their number. A literal segment beats a parameter.
#[derive(Debug, Clone, Default)]
pub struct TemplateSet {
    exact: Node,
    /// The same templates folded and without trailing slash.
    loose: Node,
}

#[derive(Debug, Clone, Default)]
struct Node {
    literals: NameMap<Node>,
    parameter: Option<Box<Node>>,
    /// Method and position of the templates that end here.
    ends: Vec<(String, usize)>,
}

impl TemplateSet {
    /// Builds the set; lookups answer with positions in `templates`, whose first halves are methods.
    ///
    /// # Errors
    /// [`TemplateError::Ambiguous`] for two templates that a server may not tell apart.
    pub fn new<'t>(templates: impl IntoIterator<Item = (&'t str, &'t PathTemplate)>) -> Result<Self, TemplateError> {
        let mut set = Self::default();
        for (position, (method, template)) in templates.into_iter().enumerate() {
            set.exact.insert(&template.segments, str::to_owned, method, position);
            let folding = trimmed(&template.segments, Segment::is_empty);
            let earlier = set.loose.insert(folding, |text| folded(text).into_owned(), method, position);
            if let Some(first) = earlier {
                return Err(TemplateError::Ambiguous { first, second: position });
            }
        }
        Ok(set)
    }

    /// Finds the template for a request.
    pub fn find(&self, method: &str, target: &RequestTarget) -> Lookup {
        let loose: SmallVec<[_; 8]> =
            trimmed(target.segments(), String::is_empty).iter().map(|text| folded(text)).collect();
        match (self.exact.find(target.segments(), method), self.loose.find(&loose, method)) {
            (Some(exact), Some(loose)) if exact == loose => Lookup::Exact(exact),
            // The folded path may lead to a literal that the exact one passes by: `/users/Me` beside `/users/me`.
            (_, Some(loose)) => Lookup::Near(loose),
            (Some(exact), None) => Lookup::Exact(exact),
            (None, None) => Lookup::None,
        }
    }
}

impl Node {
    /// Adds a template; answers with the position of one that was there before.
    fn insert(
        &mut self,
        path: &[Segment],
        key: impl Fn(&str) -> String,
        method: &str,
        position: usize,
    ) -> Option<usize> {
        let end = path.iter().fold(self, |node, segment| match segment {
            Segment::Literal(text) => node.literals.entry(key(text).into()).or_default(),
            Segment::Parameter(_) => node.parameter.get_or_insert_default(),
        });
        let earlier = end.ends.iter().find(|(other, _)| other == method).map(|(_, position)| *position);
        end.ends.push((method.to_owned(), position));
        earlier
    }

    /// The position of the best template for this path; depth is bounded by the templates', not by the path.
    fn find(&self, path: &[impl AsRef<str>], method: &str) -> Option<usize> {
        let Some((first, rest)) = path.split_first() else {
            return self.ends.iter().find(|(other, _)| other == method).map(|(_, position)| *position);
        };
        let text = first.as_ref();
        let literal = self.literals.get(text).and_then(|node| node.find(rest, method));
        literal.or_else(|| self.parameter.as_ref().filter(|_| !text.is_empty())?.find(rest, method))
    }
}
