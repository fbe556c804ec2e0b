//! Values that are never shown or stored: JSON pointers (RFC 6901) over `{"args": …, "query": …, "headers": …}`.
//!
//! Applied when text is made from a call, so that the redacted value never reaches the store, the page, a
//! notification or the trail. Digests are over the raw bytes and are not affected.

use crate::domain::value::{Value, write_json_string};

/// What stands in the place of a redacted value.
pub const PLACEHOLDER: &str = "[redacted]";

/// A set of compiled pointers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Redaction {
    args: Vec<Vec<Box<str>>>,
    query: Vec<Box<str>>,
    headers: Vec<Box<str>>,
}

impl Redaction {
    /// Adds a pointer.
    ///
    /// # Errors
    /// When the text is no pointer into `args`, `query` or `headers`: the text says why.
    pub fn add(&mut self, pointer: &str) -> Result<(), String> {
        let tokens = parse(pointer)?;
        match tokens.split_first() {
            Some((root, path)) if **root == *"args" => self.args.push(path.to_vec()),
            Some((root, [name])) if **root == *"query" => self.query.push(name.clone()),
            Some((root, [name])) if **root == *"headers" => self.headers.push(name.to_ascii_lowercase().into()),
            Some((root, _)) if **root == *"query" || **root == *"headers" => {
                return Err(format!("`{pointer}` must name one member, as in `/{root}/name`"));
            }
            _ => return Err(format!("`{pointer}` must begin with `/args`, `/query/` or `/headers/`")),
        }
        Ok(())
    }

    /// Redacts what `other` redacts as well.
    pub fn extend(&mut self, other: &Redaction) {
        self.args.extend_from_slice(&other.args);
        self.query.extend_from_slice(&other.query);
        self.headers.extend_from_slice(&other.headers);
    }

    /// Whether nothing is redacted.
    pub fn is_empty(&self) -> bool {
        self.args.is_empty() && self.query.is_empty() && self.headers.is_empty()
    }

    /// The arguments as JSON text: order and digits as written, redacted values replaced by `"[redacted]"`.
    pub fn apply(&self, args: &Value<'_>) -> String {
        let mut out = String::new();
        let paths: Vec<&[Box<str>]> = self.args.iter().map(Vec::as_slice).collect();
        write(args, &paths, &mut out);
        out
    }

    /// Whether the query parameter is redacted.
    pub fn hides_query(&self, name: &str) -> bool {
        self.query.iter().any(|hidden| **hidden == *name)
    }

    /// Whether the header is redacted; names are case-insensitive.
    pub fn hides_header(&self, name: &str) -> bool {
        self.headers.iter().any(|hidden| hidden.eq_ignore_ascii_case(name))
    }

    /// Writes the value at `path` below the arguments as JSON text, redacted by what lies on, above and below it.
    pub(super) fn write_at(&self, path: &[Box<str>], value: &Value<'_>, out: &mut String) {
        let below: Vec<&[Box<str>]> = self
            .args
            .iter()
            .filter_map(|hidden| {
                let shared = hidden.len().min(path.len());
                // A pointer on or above the value hides it whole; one below it hides a part.
                (hidden[..shared] == path[..shared]).then(|| &hidden[shared..])
            })
            .collect();
        write(value, &below, out);
    }
}

fn write(value: &Value<'_>, hidden: &[&[Box<str>]], out: &mut String) {
    if hidden.is_empty() {
        return value.write_json(out);
    }
    if hidden.iter().any(|path| path.is_empty()) {
        return write_json_string(PLACEHOLDER, out);
    }
    match value {
        Value::Object(members) => {
            out.push('{');
            for (index, (key, member)) in members.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_json_string(key, out);
                out.push(':');
                write(member, &below(hidden, key), out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(item, &below(hidden, &index.to_string()), out);
            }
            out.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.write_json(out),
    }
}

fn below<'p>(hidden: &[&'p [Box<str>]], key: &str) -> Vec<&'p [Box<str>]> {
    hidden.iter().filter(|path| *path[0] == *key).map(|path| &path[1..]).collect()
}

fn parse(pointer: &str) -> Result<Vec<Box<str>>, String> {
    let Some(rest) = pointer.strip_prefix('/') else {
        return Err(format!("`{pointer}` is no JSON pointer; begin with `/`, as in `/args/card_number`"));
    };
    rest.split('/')
        .map(|token| {
            let bad_escape = token.split('~').skip(1).any(|tail| !tail.starts_with(['0', '1']));
            if bad_escape {
                return Err(format!("`{pointer}` has a `~` that is neither `~0` (for `~`) nor `~1` (for `/`)"));
            }
            Ok(token.replace("~1", "/").replace("~0", "~").into())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::value::Number;

    fn redaction(pointers: &[&str]) -> Redaction {
        let mut redaction = Redaction::default();
        for pointer in pointers {
            redaction.add(pointer).expect("a pointer");
        }
        redaction
    }

    #[test]
    fn redacted_values_vanish_and_the_rest_keeps_its_digits_and_order() {
        let card = Value::Object(vec![
            ("number".into(), Value::String("4111".into())),
            ("limit".into(), Value::Number(Number::from_checked("1.50e3"))),
        ]);
        let args = Value::Object(vec![
            ("z".into(), Value::Array(vec![card.clone(), card.clone()])),
            ("a/b".into(), Value::Object(vec![("secret".into(), Value::Bool(true))])),
            ("card".into(), card),
        ]);
        let hidden = redaction(&["/args/z/1/number", "/args/a~1b", "/args/card/absent"]);
        assert_eq!(
            hidden.apply(&args),
            r#"{"z":[{"number":"4111","limit":1.50e3},{"number":"[redacted]","limit":1.50e3}],"a/b":"[redacted]","card":{"number":"4111","limit":1.50e3}}"#
        );
        assert_eq!(redaction(&["/args"]).apply(&args), r#""[redacted]""#);
    }

    #[test]
    fn query_parameters_and_headers_are_named_one_by_one() {
        let hidden = redaction(&["/query/token", "/headers/X-Key"]);
        assert!(hidden.hides_query("token") && !hidden.hides_query("Token"));
        assert!(hidden.hides_header("x-key") && !hidden.hides_header("x-other"));
    }

    #[test]
    fn what_is_no_pointer_into_the_call_is_refused() {
        for pointer in ["", "args", "/", "/tool", "/query", "/headers/a/b", "/args/a~2"] {
            assert!(Redaction::default().add(pointer).is_err(), "{pointer:?}");
        }
    }
}
