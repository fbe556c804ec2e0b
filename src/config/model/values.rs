//! The texts of the configuration that are more than text: each reads itself, or says why not.
//!
//! [`Text`] carries one of them through serde, the JSON Schema (as a `format`) and the checks of `shape`, so that the
//! rule for a value stands in one place.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::domain::duration;
use crate::protocol::json::folded;
use crate::protocol::target::PathTemplate;

/// Why a value is not acceptable, and what to write instead. Never quotes a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueError {
    /// What is wrong.
    pub message: String,
    /// What to write.
    pub hint: Option<String>,
}

impl ValueError {
    /// A problem with what to write instead.
    pub fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: Some(hint.into()) }
    }
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "; {hint}"))
    }
}

/// A value written as text.
pub trait TextValue: Sized {
    /// The `format` in the JSON Schema, unique among all values.
    const FORMAT: &'static str;
    /// Whether a plain whole number is accepted too, as its digits.
    const TAKES_NUMBER: bool = false;

    /// Reads the value.
    ///
    /// # Errors
    /// Why the text is not acceptable.
    fn read(text: &str) -> Result<Self, ValueError>;

    /// Writes the value as [`TextValue::read`] reads it; secrets write `[redacted]`.
    fn write(&self) -> String;
}

/// A [`TextValue`] inside the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text<T>(pub T);

impl<T: TextValue> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.write())
    }
}

impl<'de, T: TextValue> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<T>(std::marker::PhantomData<T>);
        impl<T: TextValue> Visitor<'_> for Reader<T> {
            type Value = Text<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "text ({})", T::FORMAT)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<T>, E> {
                T::read(text).map(Text).map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Text<T>, E> {
                if T::TAKES_NUMBER {
                    self.visit_str(&number.to_string())
                } else {
                    Err(E::invalid_type(de::Unexpected::Unsigned(number), &self))
                }
            }
        }
        deserializer.deserialize_any(Reader(std::marker::PhantomData))
    }
}

impl<T: TextValue> JsonSchema for Text<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        Cow::Borrowed(T::FORMAT)
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        if T::TAKES_NUMBER {
            json_schema!({ "type": ["string", "integer"], "format": T::FORMAT, "minimum": 0 })
        } else {
            json_schema!({ "type": "string", "format": T::FORMAT })
        }
    }
}

impl TextValue for Duration {
    const FORMAT: &'static str = "duration-text";

    fn read(text: &str) -> Result<Self, ValueError> {
        let value = duration::parse(text).map_err(|error| ValueError { message: error.to_string(), hint: None })?;
        if value.is_zero() {
            return Err(ValueError::new("a duration of zero is not accepted here", "write one such as `30s`"));
        }
        Ok(value)
    }

    fn write(&self) -> String {
        duration::format(*self)
    }
}

/// A number of bytes: `1MiB`, `64KiB`, `2GiB`, or a plain whole number of bytes. Never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

const BYTE_UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl TextValue for ByteSize {
    const FORMAT: &'static str = "byte-size";
    const TAKES_NUMBER: bool = true;

    fn read(text: &str) -> Result<Self, ValueError> {
        let wrong = || {
            let hint = "write a whole number with `KiB`, `MiB` or `GiB`, as in `64KiB`, or plain bytes";
            ValueError::new(format!("`{text}` is not a size"), hint)
        };
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let factor = match unit {
            "" => 1,
            unit => BYTE_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?.1,
        };
        let bytes = number.parse::<u64>().ok().and_then(|count| count.checked_mul(factor)).ok_or_else(wrong)?;
        // Sizes become `usize` and SQL integers; anything near the end of either is a slip.
        if bytes == 0 || bytes > 1 << 40 {
            return Err(ValueError::new(format!("`{text}` is out of range"), "sizes go from 1 byte to 1024GiB"));
        }
        Ok(Self(bytes))
    }

    fn write(&self) -> String {
        let unit = BYTE_UNITS.iter().find(|(_, factor)| self.0.is_multiple_of(*factor));
        unit.map_or_else(|| self.0.to_string(), |(name, factor)| format!("{}{name}", self.0 / factor))
    }
}

impl TextValue for SocketAddr {
    const FORMAT: &'static str = "listen-address";

    fn read(text: &str) -> Result<Self, ValueError> {
        text.parse().map_err(|_| {
            let hint = "write an IP address and a port, as in `127.0.0.1:8080` or `[::1]:8080`";
            ValueError::new(format!("`{text}` is not an address to listen on"), hint)
        })
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

/// Declares a text newtype whose inside cannot be wrong: `read` is its only constructor.
macro_rules! text_newtype {
    ($(#[$doc:meta])* $name:ident, $format:literal, $rule:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TextValue for $name {
            const FORMAT: &'static str = $format;

            fn read(text: &str) -> Result<Self, ValueError> {
                let rule: fn(&str) -> Result<(), ValueError> = $rule;
                rule(text).map(|()| Self(text.to_owned()))
            }

            fn write(&self) -> String {
                self.0.clone()
            }
        }
    };
}

/// Whether the text is 1 to `length_max` bytes, begins with a letter or digit, and holds only those and `others`.
fn is_name(text: &str, others: &str, length_max: usize) -> bool {
    text.len() <= length_max
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || others.contains(c))
}

text_newtype! {
    /// The id of an agent, a reviewer or a group: 1 to 64 of `A-Z a-z 0-9 . _ @ -`, first a letter or digit.
    Identifier, "identifier", |text| {
        if is_name(text, "._@-", 64) { return Ok(()); }
        let hint = "use 1 to 64 of `A-Z a-z 0-9 . _ @ -`, first a letter or digit";
        Err(ValueError::new(format!("`{text}` is not an id"), hint))
    }
}

text_newtype! {
    /// The name of an upstream: 1 to 64 of `A-Z a-z 0-9 _ -`, first a letter or digit.
    UpstreamName, "upstream-name", |text| {
        if is_name(text, "_-", 64) { return Ok(()); }
        let hint = "use 1 to 64 of `A-Z a-z 0-9 _ -`, first a letter or digit";
        Err(ValueError::new(format!("`{text}` is not a name for an upstream"), hint))
    }
}

text_newtype! {
    /// The name of a tool: 1 to 128 of `A-Z a-z 0-9 _ . - / :`.
    ToolName, "tool-name", |text| {
        let legal = |c: char| c.is_ascii_alphanumeric() || "_.-/:".contains(c);
        if (1..=128).contains(&text.len()) && text.chars().all(legal) { return Ok(()); }
        Err(ValueError::new(format!("`{text}` is not a tool name"), "use 1 to 128 of `A-Z a-z 0-9 _ . - / :`"))
    }
}

text_newtype! {
    /// What stands before the names of an upstream's tools, such as `github_`.
    ToolPrefix, "tool-prefix", |text| {
        let legal = |c: char| c.is_ascii_alphanumeric() || "_.-/:".contains(c);
        if (1..=64).contains(&text.len()) && text.chars().all(legal) { return Ok(()); }
        Err(ValueError::new(format!("`{text}` is not a prefix of tool names"), "use 1 to 64 of `A-Z a-z 0-9 _ . - / :`"))
    }
}

text_newtype! {
    /// The lower-case hexadecimal SHA-256 of a token, as `holdpoint token new` prints it.
    Sha256Hex, "sha256-hex", |text| {
        if text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) { return Ok(()); }
        // The text is not quoted: a token pasted in place of its hash must not end up in a log.
        let message = "this is not the SHA-256 of a token (64 hexadecimal digits, lower case)";
        Err(ValueError::new(message, "`holdpoint token hash` prints it for a token"))
    }
}

impl Sha256Hex {
    /// The 32 bytes.
    #[must_use]
    pub fn bytes(&self) -> [u8; 32] {
        let nibble = |byte: u8| if byte.is_ascii_digit() { byte - b'0' } else { byte - b'a' + 10 };
        let mut bytes = [0; 32];
        for (out, pair) in bytes.iter_mut().zip(self.0.as_bytes().chunks_exact(2)) {
            *out = nibble(pair[0]) << 4 | nibble(pair[1]);
        }
        bytes
    }
}

text_newtype! {
    /// The path of a route: a prefix when it ends in `/`, else one exact path.
    RoutePath, "route-path", |text| {
        path_rule(text, "a route's path")?;
        let reserved = text.get(..11).is_some_and(|start| start.eq_ignore_ascii_case("/_holdpoint"))
            && matches!(text.as_bytes().get(11), None | Some(b'/'));
        if reserved {
            return Err(ValueError::new(format!("`{text}` is reserved for the gateway's own API"), "choose another path"));
        }
        Ok(())
    }
}

impl RoutePath {
    /// Whether the route takes every path below it, and not only its own.
    #[must_use]
    pub fn is_prefix(&self) -> bool {
        self.0.ends_with('/')
    }
}

/// Configured paths must be canonical: requests whose path is not are refused, so such a path would never match.
fn path_rule(text: &str, what: &str) -> Result<(), ValueError> {
    let wrong = |why: &str| {
        let hint = "write it as it stands in a request, such as `/payments/` or `/github/mcp`";
        Err(ValueError::new(format!("`{text}` is not {what}: {why}"), hint))
    };
    if !text.starts_with('/') {
        return wrong("it does not begin with `/`");
    }
    if text.contains("//") || text.split('/').any(|segment| segment == "." || segment == "..") {
        return wrong("it holds an empty, `.` or `..` segment");
    }
    let illegal = |c: char| !c.is_ascii_graphic() || "%?#;\\{}*\"<>^`|".contains(c);
    match text.chars().find(|c| illegal(*c)) {
        Some(c) => wrong(&format!("`{}` is not accepted in it", c.escape_default())),
        None if text.len() > 1024 => wrong("it is longer than 1024 bytes"),
        None => Ok(()),
    }
}

/// Methods that a plain HTTP call can have.
pub const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// The method and path template of a call, as in `DELETE /customers/{id}`; the path is the one the upstream sees
/// below its URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallPattern {
    method: &'static str,
    text: String,
    template: PathTemplate,
}

impl CallPattern {
    /// The method, upper case.
    #[must_use]
    pub fn method(&self) -> &'static str {
        self.method
    }

    /// The path as written; `{name}` stands for one segment.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.text
    }

    /// The path as a template.
    #[must_use]
    pub fn template(&self) -> &PathTemplate {
        &self.template
    }

    /// What two patterns share that a server may not tell apart: equal but for case, a trailing slash and the names
    /// of parameters.
    #[must_use]
    pub fn shape(&self) -> String {
        let blank =
            |segment: &str| if segment.starts_with('{') { "{}".to_owned() } else { folded(segment).into_owned() };
        let path: Vec<String> = self.text.trim_end_matches('/').split('/').map(blank).collect();
        format!("{} {}", self.method, path.join("/"))
    }
}

impl TextValue for CallPattern {
    const FORMAT: &'static str = "call-pattern";

    fn read(text: &str) -> Result<Self, ValueError> {
        let hint = "write a method and a path, as in `POST /refunds` or `DELETE /customers/{id}`";
        let wrong = |why: String| ValueError::new(format!("`{text}` is not a call: {why}"), hint);
        let (method, template) =
            text.split_once(' ').ok_or_else(|| wrong("it needs a method and a path".to_owned()))?;
        let known = METHODS.iter().find(|known| **known == method);
        let method = known.ok_or_else(|| wrong(format!("the method is not one of {}", METHODS.join(", "))))?;
        let parsed = PathTemplate::parse(template).map_err(|error| wrong(error.to_string()))?;
        Ok(Self { method, text: template.to_owned(), template: parsed })
    }

    fn write(&self) -> String {
        format!("{} {}", self.method, self.text)
    }
}
