//! The strict JSON reader: what it accepts, every reader reads alike; what it refuses as malformed, others refuse too.

use std::cmp::Ordering;

use holdpoint::domain::value::{Number, Value};
use holdpoint::protocol::json::{self, JsonError, JsonErrorKind, Limits, SyntaxFault};

use super::lenses::fault_of_keys;
use super::tree::{Tree, difference};

/// The longest message: sixteen steps of a path and a key, each of 64 characters as escapes, and the words around them.
const MESSAGE_BYTES_MAX: usize = 16 * 1024;
/// Numbers of one document that are compared with each other.
const COMPARED_MAX: usize = 24;

/// Checks one body.
pub(crate) fn check(body: &[u8]) {
    let limits = Limits::default();
    match json::read(body, &limits) {
        Ok(value) => accepted(body, &value, &limits),
        Err(error) => refused(body, &error, &limits),
    }
}

fn accepted(body: &[u8], value: &Value<'_>, limits: &Limits) {
    let tree = Tree::read(body).unwrap_or_else(|error| panic!("another reader refuses what was accepted: {error}"));
    assert_eq!(difference(value, &tree), None, "two readers differ");
    let merged: serde_json::Value = serde_json::from_slice(body).expect("the same reader, merging members");
    let (mut nodes, mut depth, mut numbers) = (0, 0, Vec::new());
    tree.walk(0, &mut |value, above| {
        nodes += 1;
        match value {
            Tree::Object(members) => {
                assert_eq!(fault_of_keys(members), None);
                depth = depth.max(above + 1);
                let long = members.iter().find(|(key, _)| key.len() > limits.key_bytes);
                assert_eq!(long, None, "a key is too long");
            }
            Tree::Array(_) => depth = depth.max(above + 1),
            Tree::Number(digits) => numbers.push(digits.as_str()),
            Tree::Text(text) => assert!(text.len() <= limits.string_bytes),
            Tree::Null | Tree::Bool(_) => {}
        }
    });
    assert_eq!(nodes, count(&merged), "members were merged");
    assert!(depth <= usize::from(limits.depth) && nodes <= limits.nodes && body.len() <= limits.body_bytes);
    check_numbers(&numbers, limits);
    check_written(value, &tree, limits);
}

/// How many values a document has once equal keys are one.
fn count(value: &serde_json::Value) -> usize {
    1 + match value {
        serde_json::Value::Array(elements) => elements.iter().map(count).sum(),
        serde_json::Value::Object(members) => members.values().map(count).sum(),
        _ => 0,
    }
}

/// Every number is one that a double can hold, and the exact order of two numbers never contradicts the order of the doubles
/// nearest to them.
fn check_numbers(numbers: &[&str], limits: &Limits) {
    for digits in numbers {
        assert!(digits.len() <= limits.number_chars);
        let double: f64 = digits.parse().expect("every number is one to the standard library");
        let zero = !digits.split(['e', 'E']).next().unwrap_or_default().contains(|c| matches!(c, '1'..='9'));
        assert!(double.is_finite() && (double == 0.0) == zero, "{digits} is no double");
        let plain = !digits.contains(['.', 'e', 'E']);
        assert!(!plain || Number::from_checked(*digits).is_integral(), "{digits} is whole");
    }
    for (index, left) in numbers.iter().take(COMPARED_MAX).enumerate() {
        for right in &numbers[index..numbers.len().min(COMPARED_MAX)] {
            let exact = Number::from_checked(*left).compare(&Number::from_checked(*right));
            assert_eq!(exact, Number::from_checked(*right).compare(&Number::from_checked(*left)).reverse());
            let (left_double, right_double) = (left.parse::<f64>(), right.parse::<f64>());
            let rounded = left_double.ok().partial_cmp(&right_double.ok()).expect("no number is NaN");
            assert!(rounded == Ordering::Equal || rounded == exact, "{left} ? {right}: {exact:?}, {rounded:?}");
            assert!(exact != Ordering::Equal || rounded == Ordering::Equal, "{left} and {right} are equal");
        }
    }
}

/// What is written of a value is the value.
fn check_written(value: &Value<'_>, tree: &Tree, limits: &Limits) {
    let mut text = String::new();
    value.write_json(&mut text);
    let again = json::read(text.as_bytes(), limits).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(&again, value, "what was written reads differently");
    let other = Tree::read(text.as_bytes()).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(&other, tree, "what was written reads differently elsewhere");
}

fn refused(body: &[u8], error: &JsonError, limits: &Limits) {
    let message = error.to_string();
    assert!(error.offset <= body.len(), "{message}");
    let plain = |character: char| character == '…' || (' '..='~').contains(&character);
    assert!(message.len() <= MESSAGE_BYTES_MAX && message.chars().all(plain), "{message:?}");
    let Ok(theirs) = serde_json::from_slice::<serde_json::Value>(body) else { return };
    let Ok(tree) = Tree::read(body) else { panic!("one library reads it in one way only: {theirs}") };
    match &error.kind {
        // Numbers beyond a double are well-formed, and that other readers round them to nothing is why they are refused.
        JsonErrorKind::Syntax(SyntaxFault::NumberRange) => {}
        JsonErrorKind::Syntax(_) => panic!("{message}; another reader accepts {theirs}"),
        JsonErrorKind::DuplicateKey { .. } => assert!(any_object(&tree, has_twins), "{message}; no key comes twice"),
        JsonErrorKind::ConfusableKey { .. } => assert!(!all_keys_plain(&tree), "{message}; every key is plain"),
        JsonErrorKind::TooDeep { limit } => {
            let mut depth = 0;
            tree.walk(1, &mut |_, at| depth = depth.max(at));
            assert!(depth > usize::from(*limit), "{message}; it is {depth} deep");
        }
        JsonErrorKind::TooLarge { limit, .. } => {
            assert!(body.len() > (*limit).min(limits.number_chars), "{message}; it has {} bytes", body.len());
        }
    }
}

fn any_object(tree: &Tree, is: fn(&[(String, Tree)]) -> bool) -> bool {
    let mut found = false;
    tree.walk(0, &mut |value, _| found |= is(value.members()));
    found
}

fn has_twins(members: &[(String, Tree)]) -> bool {
    members.iter().enumerate().any(|(at, (key, _))| members[..at].iter().any(|(other, _)| other == key))
}

/// Whether all keys are lower-case letters, digits and underscores: nothing that anybody could mistake.
fn all_keys_plain(tree: &Tree) -> bool {
    let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
    let mut all = true;
    tree.walk(0, &mut |value, _| all &= value.members().iter().all(|(key, _)| key.bytes().all(plain)));
    all
}
