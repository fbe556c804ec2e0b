//! The linear scan: what is refused before anything is read, and where everything stands.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle};

use super::{DEPTH_MAX, Span};
use crate::config::diagnostic::{Code, Diagnostic, Place, Source};
use crate::domain::policy::PathSegment;

/// The most refusals that one scan reports.
const REFUSALS_MAX: usize = 50;

impl From<&str> for PathSegment {
    fn from(key: &str) -> Self {
        PathSegment::Key(key.to_owned())
    }
}

impl From<usize> for PathSegment {
    fn from(index: usize) -> Self {
        PathSegment::Index(index)
    }
}

/// A path as people read it: `upstreams.payments.tools[0].call`; empty for the document itself.
pub fn path_text(path: &[PathSegment]) -> String {
    let mut text = String::new();
    for segment in path {
        // Writing into a `String` cannot fail.
        let _ = match segment {
            PathSegment::Key(key) if text.is_empty() => write!(text, "{key}"),
            PathSegment::Key(key) => write!(text, ".{key}"),
            PathSegment::Index(index) => write!(text, "[{index}]"),
        };
    }
    text
}

/// Where a value stands, and what is in it.
#[derive(Debug, Clone)]
pub struct Node {
    place: Place,
    span: Span,
    children: Children,
}

#[derive(Debug, Clone)]
enum Children {
    None,
    Items(Vec<Node>),
    Entries(Vec<(Key, Node)>),
}

#[derive(Debug, Clone)]
struct Key {
    name: String,
    place: Place,
    span: Span,
}

/// The places of all values and keys of one document.
#[derive(Debug, Clone)]
pub struct Spans {
    root: Node,
}

impl Spans {
    /// The value under `path`, or the nearest value around it.
    pub fn value(&self, path: &[PathSegment]) -> (Place, Span) {
        let (_, node) = self.find(path);
        (node.place, node.span.clone())
    }

    /// The key that ends `path` (or the item, for an index), or the nearest key around it; the document's first
    /// value when there is none.
    pub fn key(&self, path: &[PathSegment]) -> (Place, Span) {
        let (key, node) = self.find(path);
        key.map_or((node.place, node.span.clone()), |key| (key.place, key.span.clone()))
    }

    fn find(&self, path: &[PathSegment]) -> (Option<&Key>, &Node) {
        let mut found: (Option<&Key>, &Node) = (None, &self.root);
        for segment in path {
            let next = match (segment, &found.1.children) {
                (PathSegment::Key(name), Children::Entries(entries)) => {
                    entries.iter().find(|(key, _)| key.name == *name).map(|(key, node)| (Some(key), node))
                }
                (PathSegment::Index(index), Children::Items(items)) => items.get(*index).map(|node| (None, node)),
                _ => None,
            };
            match next {
                Some(next) => found = next,
                None => break,
            }
        }
        found
    }
}

/// Scans one document.
///
/// # Errors
/// Every refusal, or the first syntax error.
pub(super) fn scan(source: &Arc<Source>) -> Result<Spans, Vec<Diagnostic>> {
    let mut scan =
        Scan { offsets: Offsets::new(&source.text), source, stack: Vec::new(), root: None, refused: Vec::new() };
    let mut documents = 0;
    let mut parser = Parser::new_from_str(&source.text);
    while let Some(next) = parser.next_event() {
        let (event, span) = match next {
            Ok(event) => event,
            // The scanner looks ahead for keys, so it may meet its own bound before ours.
            Err(error) if error.info() == "recursion limit exceeded" => {
                scan.refuse(*error.marker(), *error.marker(), Code::YamlForbidden, too_deep(), None);
                break;
            }
            // The usual slip: `match: *delete*` without quotes.
            Err(error) if error.info().contains("unknown anchor") => {
                let message = "text that begins with `*` is an alias, and aliases are not accepted";
                let hint = "put the text in quotes, as in `\"*delete*\"`";
                scan.refuse(*error.marker(), *error.marker(), Code::YamlForbidden, message, Some(hint));
                break;
            }
            Err(error) => {
                let message = format!("not valid YAML: {}", error.info());
                scan.refuse(*error.marker(), *error.marker(), Code::YamlSyntax, message, None);
                break;
            }
        };
        if matches!(event, Event::DocumentStart(_)) {
            documents += 1;
        }
        if documents > 1 {
            let message = "a second document starts here; one file holds one document";
            scan.refuse(span.start, span.end, Code::YamlForbidden, message, Some("remove `---` or use a second file"));
            break;
        }
        if scan.event(event, span.start, span.end).is_break() || scan.refused.len() >= REFUSALS_MAX {
            break;
        }
    }
    match (scan.root, scan.refused) {
        (Some(root), refused) if refused.is_empty() => Ok(Spans { root }),
        (_, refused) if !refused.is_empty() => Err(refused),
        _ => Err(vec![Diagnostic::of_file(source.name.clone(), Code::YamlSyntax, "the file is empty")]),
    }
}

struct Scan<'a> {
    source: &'a Arc<Source>,
    offsets: Offsets,
    stack: Vec<Frame>,
    root: Option<Node>,
    refused: Vec<Diagnostic>,
}

/// A list or mapping that has begun and not ended.
struct Frame {
    start: Marker,
    content: Content,
}

enum Content {
    Items(Vec<Node>),
    Entries { entries: Vec<(Key, Node)>, key: Option<Key>, seen: HashMap<String, (Place, Span)> },
}

type Flow = std::ops::ControlFlow<()>;

impl Scan<'_> {
    fn event(&mut self, event: Event<'_>, start: Marker, end: Marker) -> Flow {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_anchor_and_tag(anchor, tag.is_some(), start, end);
                self.scalar(text, style, start, end);
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_anchor_and_tag(anchor, tag.is_some(), start, end);
                return self.open(Content::Items(Vec::new()), start, end);
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_anchor_and_tag(anchor, tag.is_some(), start, end);
                let content = Content::Entries { entries: Vec::new(), key: None, seen: HashMap::new() };
                return self.open(content, start, end);
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(_) => {
                let hint = "write the value out where it is used";
                self.refuse(start, end, Code::YamlForbidden, "aliases (`*name`) are not accepted", Some(hint));
                self.scalar(Cow::Borrowed("*"), ScalarStyle::Plain, start, end);
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {}
        }
        Flow::Continue(())
    }

    fn open(&mut self, content: Content, start: Marker, end: Marker) -> Flow {
        if let Some(Frame { content: Content::Entries { key: None, .. }, .. }) = self.stack.last() {
            let message = "a list or mapping cannot be a key";
            self.refuse(start, end, Code::YamlForbidden, message, Some("write a plain key such as `name:`"));
            return Flow::Break(());
        }
        if self.stack.len() >= DEPTH_MAX {
            self.refuse(start, end, Code::YamlForbidden, too_deep(), None);
            return Flow::Break(());
        }
        self.stack.push(Frame { start, content });
        Flow::Continue(())
    }

    fn close(&mut self) {
        let Some(frame) = self.stack.pop() else { return };
        let at = self.offsets.byte(frame.start);
        let children = match frame.content {
            Content::Items(items) => Children::Items(items),
            Content::Entries { entries, .. } => Children::Entries(entries),
        };
        // The first character (or key) stands for the whole: an excerpt of many lines would hide the place.
        let first_key = match &children {
            Children::Entries(entries) => entries.first().map(|(key, _)| key.span.clone()),
            Children::Items(_) | Children::None => None,
        };
        let span = first_key.filter(|key| key.start == at).unwrap_or(at..at + 1);
        self.value(Node { place: place(frame.start), span, children });
    }

    fn scalar(&mut self, text: Cow<'_, str>, style: ScalarStyle, start: Marker, end: Marker) {
        let mut span = self.offsets.byte(start)..self.offsets.byte(end);
        // The scanner counts the blanks behind a quoted text to it.
        span.end = span.start + self.source.text.get(span.clone()).map_or(0, |text| text.trim_end().len());
        match self.stack.last() {
            Some(Frame { content: Content::Entries { key: None, .. }, .. }) => {
                self.key(Key { name: text.into_owned(), place: place(start), span }, style, start, end);
            }
            _ => self.value(Node { place: place(start), span, children: Children::None }),
        }
    }

    fn key(&mut self, new: Key, style: ScalarStyle, start: Marker, end: Marker) {
        if new.name == "<<" && style == ScalarStyle::Plain {
            let hint = "write the keys out where they are used";
            self.refuse(start, end, Code::YamlForbidden, "merge keys (`<<`) are not accepted", Some(hint));
        }
        let Some(Frame { content: Content::Entries { key, seen, .. }, .. }) = self.stack.last_mut() else { return };
        let first = seen.get(&new.name).cloned();
        if first.is_none() {
            seen.insert(new.name.clone(), (new.place, new.span.clone()));
        }
        *key = Some(new.clone());
        if let Some((first, first_span)) = first {
            let message = format!("`{}` is given twice; first at {first}", new.name);
            let problem = Diagnostic::at(self.source, new.place, new.span, Code::DuplicateKey, message)
                .related(first_span, "first given here")
                .hint("keep one of the two");
            self.refused.push(problem);
        }
    }

    fn value(&mut self, node: Node) {
        match self.stack.last_mut() {
            None => self.root = Some(node),
            Some(Frame { content: Content::Items(items), .. }) => items.push(node),
            Some(Frame { content: Content::Entries { entries, key, .. }, .. }) => {
                if let Some(key) = key.take() {
                    entries.push((key, node));
                }
            }
        }
    }

    fn refuse_anchor_and_tag(&mut self, anchor: usize, tagged: bool, start: Marker, end: Marker) {
        if anchor != 0 {
            self.refuse(
                start,
                end,
                Code::YamlForbidden,
                "anchors (`&name`) are not accepted",
                Some("remove the anchor"),
            );
        }
        if tagged {
            let hint = "remove the tag; put text in quotes";
            self.refuse(start, end, Code::YamlForbidden, "tags (`!name`, `!!type`) are not accepted", Some(hint));
        }
    }

    fn refuse(&mut self, start: Marker, end: Marker, code: Code, message: impl AsRef<str>, hint: Option<&str>) {
        let span = self.offsets.byte(start)..self.offsets.byte(end);
        self.refused.push(Diagnostic::at(self.source, place(start), span, code, message).hint_if(hint));
    }
}

fn too_deep() -> String {
    format!("nested deeper than {DEPTH_MAX} levels")
}

fn place(marker: Marker) -> Place {
    Place { line: marker.line(), column: marker.col() + 1 }
}

/// The parser counts characters; excerpts need bytes.
enum Offsets {
    /// The text is ASCII: the same.
    Same,
    /// The byte offset of each character, and the length at the end.
    Table(Vec<usize>),
}

impl Offsets {
    fn new(text: &str) -> Self {
        if text.is_ascii() {
            return Offsets::Same;
        }
        Offsets::Table(text.char_indices().map(|(at, _)| at).chain([text.len()]).collect())
    }

    fn byte(&self, marker: Marker) -> usize {
        match self {
            Offsets::Same => marker.index(),
            Offsets::Table(table) => table.get(marker.index()).or(table.last()).copied().unwrap_or_default(),
        }
    }
}
