//! The pass over the body: a loop with a stack of open containers instead of recursion.

use super::error::{Fault, JsonError, JsonErrorKind, Quantity, Step, SyntaxFault, pointer};
use super::keys::Names;
use super::{Limits, number, text};
use crate::domain::value::Value;
use std::borrow::Cow;

/// Open containers for which the stack has room from the start.
const STACK_START: usize = 8;
/// Members for which an object has room from the start.
const MEMBERS_START: usize = 8;

/// See [`super::read`].
pub(super) fn read<'a>(body: &'a [u8], limits: &Limits) -> Result<Value<'a>, JsonError> {
    let whole = |fault: Fault| JsonError { kind: fault.kind, offset: fault.offset, path: String::new() };
    if body.len() > limits.body_bytes {
        return Err(whole(Fault::too_large(Quantity::BodyBytes, limits.body_bytes, limits.body_bytes)));
    }
    let text =
        std::str::from_utf8(body).map_err(|error| whole(Fault::syntax(SyntaxFault::Utf8, error.valid_up_to())))?;
    let mut reader = Reader {
        text,
        at: 0,
        nodes_left: limits.nodes,
        folds_left: limits.folded_chars,
        stack: Vec::with_capacity(STACK_START),
        limits,
    };
    reader.document().map_err(|fault| {
        let steps: Vec<Step<'_>> = reader.stack.iter().filter_map(Open::step).collect();
        JsonError { kind: fault.kind, offset: fault.offset, path: pointer(&steps) }
    })
}

/// A container that has not ended yet.
enum Open<'a> {
    Array(Vec<Value<'a>>),
    Object {
        members: Vec<(Cow<'a, str>, Value<'a>)>,
        names: Names,
        /// The key whose value is being read; `None` while a key is.
        key: Option<Cow<'a, str>>,
    },
}

impl<'a> Open<'a> {
    fn step(&self) -> Option<Step<'_>> {
        match self {
            Open::Array(elements) => Some(Step::Index(elements.len())),
            Open::Object { key, .. } => key.as_deref().map(Step::Key),
        }
    }

    fn close(self) -> Value<'a> {
        match self {
            Open::Array(elements) => Value::Array(elements),
            Open::Object { members, .. } => Value::Object(members),
        }
    }
}

/// What comes after a value.
enum Next<'a> {
    /// Another value, at the reader's place.
    Value,
    /// The container ended and is a value itself.
    Closed(Value<'a>),
    /// Nothing: this was the document.
    Document(Value<'a>),
}

struct Reader<'a, 'l> {
    text: &'a str,
    /// The next byte to look at; always on a character boundary, at most the length.
    at: usize,
    nodes_left: usize,
    folds_left: usize,
    stack: Vec<Open<'a>>,
    limits: &'l Limits,
}

impl<'a> Reader<'a, '_> {
    fn document(&mut self) -> Result<Value<'a>, Fault> {
        if self.text.starts_with('\u{FEFF}') {
            return Err(self.syntax(SyntaxFault::ByteOrderMark));
        }
        self.skip_space();
        if self.at == self.text.len() {
            return Err(self.syntax(SyntaxFault::Empty));
        }
        loop {
            // `None`: a container was opened and the reader stands before its first value.
            let Some(mut value) = self.value()? else { continue };
            loop {
                match self.after_value(value)? {
                    Next::Value => break,
                    Next::Closed(container) => value = container,
                    Next::Document(root) => return self.finish(root),
                }
            }
        }
    }

    fn finish(&mut self, value: Value<'a>) -> Result<Value<'a>, Fault> {
        self.skip_space();
        match self.peek() {
            None => Ok(value),
            Some(b'/') => Err(self.syntax(SyntaxFault::Comment)),
            Some(_) => Err(self.syntax(SyntaxFault::Trailing)),
        }
    }

    /// Reads a scalar or an empty container, or opens a container and reads up to its first value.
    fn value(&mut self) -> Result<Option<Value<'a>>, Fault> {
        let start = self.at;
        self.nodes_left = self
            .nodes_left
            .checked_sub(1)
            .ok_or_else(|| Fault::too_large(Quantity::Nodes, self.limits.nodes, start))?;
        let value = match self.peek() {
            Some(b'"') => Value::String(self.string()?),
            Some(b'-' | b'0'..=b'9') => {
                let (number, end) = number::read(self.text, start, self.limits)?;
                self.at = end;
                Value::Number(number)
            }
            Some(b'{') => return self.open_object(),
            Some(b'[') => return self.open_array(),
            Some(b't') => self.literal("true", Value::Bool(true))?,
            Some(b'f') => self.literal("false", Value::Bool(false))?,
            Some(b'n') => self.literal("null", Value::Null)?,
            other => return Err(self.no_value(other)),
        };
        Ok(Some(value))
    }

    /// Puts `value` into the innermost container and reads on to the next value or the container's end.
    fn after_value(&mut self, value: Value<'a>) -> Result<Next<'a>, Fault> {
        let end = match self.stack.last_mut() {
            Some(Open::Array(elements)) => {
                elements.push(value);
                b']'
            }
            Some(Open::Object { members, key, .. }) => {
                members.push((key.take().unwrap_or_default(), value));
                b'}'
            }
            None => return Ok(Next::Document(value)),
        };
        self.skip_space();
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                self.skip_space();
                if self.peek() == Some(end) {
                    return Err(self.syntax(SyntaxFault::TrailingComma));
                }
                if end == b'}' {
                    self.key()?;
                }
                Ok(Next::Value)
            }
            Some(byte) if byte == end => {
                self.at += 1;
                let container = self.stack.pop().expect("the value was put into a container above");
                Ok(Next::Closed(container.close()))
            }
            Some(b'/') => Err(self.syntax(SyntaxFault::Comment)),
            Some(_) => Err(self.syntax(SyntaxFault::Separator)),
            None => Err(self.syntax(SyntaxFault::End)),
        }
    }

    fn open_array(&mut self) -> Result<Option<Value<'a>>, Fault> {
        self.enter()?;
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Some(Value::Array(Vec::new())));
        }
        self.stack.push(Open::Array(Vec::new()));
        Ok(None)
    }

    fn open_object(&mut self) -> Result<Option<Value<'a>>, Fault> {
        self.enter()?;
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Some(Value::Object(Vec::new())));
        }
        self.stack.push(Open::Object {
            members: Vec::with_capacity(MEMBERS_START),
            names: Names::default(),
            key: None,
        });
        self.key()?;
        Ok(None)
    }

    /// Steps over the bracket and the space after it, if one more level is allowed.
    fn enter(&mut self) -> Result<(), Fault> {
        if self.stack.len() >= usize::from(self.limits.depth) {
            return Err(Fault { kind: JsonErrorKind::TooDeep { limit: self.limits.depth }, offset: self.at });
        }
        self.at += 1;
        self.skip_space();
        Ok(())
    }

    /// Reads a key and its colon, up to the value, into the innermost object.
    fn key(&mut self) -> Result<(), Fault> {
        let start = self.at;
        match self.peek() {
            Some(b'"') => {}
            Some(b'/') => return Err(self.syntax(SyntaxFault::Comment)),
            Some(_) => return Err(self.syntax(SyntaxFault::Key)),
            None => return Err(self.syntax(SyntaxFault::End)),
        }
        let name = self.string()?;
        if let Some(Open::Object { members, names, key }) = self.stack.last_mut() {
            names.admit(&name, start, members, &mut self.folds_left, self.limits)?;
            *key = Some(name);
        }
        self.skip_space();
        match self.peek() {
            Some(b':') => self.at += 1,
            Some(b'/') => return Err(self.syntax(SyntaxFault::Comment)),
            Some(_) => return Err(self.syntax(SyntaxFault::Colon)),
            None => return Err(self.syntax(SyntaxFault::End)),
        }
        self.skip_space();
        Ok(())
    }

    fn string(&mut self) -> Result<Cow<'a, str>, Fault> {
        let string = text::read(self.text, self.at + 1, self.limits.string_bytes)?;
        self.at = string.end;
        Ok(string.value)
    }

    fn literal(&mut self, word: &str, value: Value<'a>) -> Result<Value<'a>, Fault> {
        // `nullx` fails in the caller: no letter may follow a value.
        if !self.text[self.at..].starts_with(word) {
            return Err(self.syntax(SyntaxFault::Value));
        }
        self.at += word.len();
        Ok(value)
    }

    /// Why no value starts with this byte.
    fn no_value(&self, byte: Option<u8>) -> Fault {
        self.syntax(match byte {
            None => SyntaxFault::End,
            Some(b'/') => SyntaxFault::Comment,
            Some(b'N' | b'I' | b'+' | b'.') => SyntaxFault::Number,
            Some(_) => SyntaxFault::Value,
        })
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    fn syntax(&self, fault: SyntaxFault) -> Fault {
        Fault::syntax(fault, self.at)
    }
}
