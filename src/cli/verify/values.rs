//! Arguments to try against a condition: made from the paths that it reads and the values that it names.
//!
//! This is no solver. It finds the usual (a limit, a name in a list), and what it does not find is said.

use serde_json::{Map, Number, Value};

/// The most paths that are varied.
const PATHS_MAX: usize = 3;
/// The most values that each takes.
const VALUES_MAX: usize = 10;
/// The most arguments in all.
const CANDIDATES_MAX: usize = 400;

/// Arguments to try: combinations, then such as mean nothing to any rule, then none.
pub(super) fn candidates(own: Option<&str>, others: &[&str]) -> Vec<Option<String>> {
    let (mut paths, mut values) = (Vec::new(), Vec::new());
    for condition in own.iter().chain(others) {
        for path in paths_of(condition) {
            if paths.len() < PATHS_MAX && !paths.contains(&path) {
                paths.push(path);
            }
        }
    }
    for condition in own.iter().chain(others) {
        for value in values_of(condition) {
            if values.len() < VALUES_MAX && !values.contains(&value) {
                values.push(value);
            }
        }
    }
    let mut made = vec![Map::new()];
    for path in &paths {
        let mut longer = made.clone();
        for object in &made {
            for value in &values {
                let mut object = object.clone();
                if put(&mut object, path, value.clone()) && longer.len() < CANDIDATES_MAX {
                    longer.push(object);
                }
            }
        }
        made = longer;
    }
    let made = made.into_iter().skip(1).map(|object| Some(Value::Object(object).to_string()));
    made.chain([Some(r#"{"note":"holdpoint verify"}"#.to_owned()), Some("{}".to_owned()), None]).collect()
}

/// Sets a value at a path, making objects on the way; false where something else stands in it.
pub(super) fn put(object: &mut Map<String, Value>, path: &[String], value: Value) -> bool {
    match path {
        [] => false,
        [last] => {
            object.insert(last.clone(), value);
            true
        }
        [first, rest @ ..] => match object.entry(first.clone()).or_insert_with(|| Value::Object(Map::new())) {
            Value::Object(inner) => put(inner, rest, value),
            _ => false,
        },
    }
}

/// The paths into `args` that a condition spells out.
fn paths_of(condition: &str) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    for (at, _) in condition.match_indices("args.") {
        let before = condition[..at].chars().next_back();
        if before.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.') {
            continue;
        }
        let rest = &condition[at + "args.".len()..];
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.')).unwrap_or(rest.len());
        let mut path: Vec<String> = rest[..end].split('.').map(str::to_owned).collect();
        if rest[end..].starts_with('(') {
            // The last word is a method on the value.
            path.pop();
        }
        if path.iter().all(|segment| !segment.is_empty()) && !path.is_empty() {
            paths.push(path);
        }
    }
    paths
}

/// The literals of a condition, and for numbers those beside them.
fn values_of(condition: &str) -> Vec<Value> {
    let mut values = Vec::new();
    let mut rest = condition;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit() || c == '"' || c == '\'') {
        let word = rest[..at].chars().next_back().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        rest = &rest[at..];
        let quote = rest.chars().next().filter(|c| !c.is_ascii_digit());
        let length = match quote {
            Some(quote) => rest[1..].find(quote).map_or(rest.len(), |end| end + 2),
            None => rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(rest.len()),
        };
        let literal = &rest[..length];
        match quote {
            Some(quote) => values.push(Value::from(literal.trim_matches(quote))),
            None if word => {}
            None => {
                if let Ok(number) = literal.parse::<f64>() {
                    let near = [number + 1.0, number, number - 1.0, -number - 1.0];
                    values.extend(near.into_iter().filter_map(number_of));
                }
            }
        }
        rest = &rest[length..];
    }
    values.extend([Value::Bool(true), Value::Bool(false), Value::from("x")]);
    values
}

/// Whole numbers without a fraction, as people write them.
fn number_of(number: f64) -> Option<Value> {
    const EXACT_MAX: f64 = 9e15;
    if number.fract() == 0.0 && number.abs() < EXACT_MAX {
        return Some(Value::from(number as i64));
    }
    Number::from_f64(number).map(Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_values_of_a_condition_are_found_and_combined() {
        let condition = r#"args.amount_usd > 100 && args.to.country in ["CH", 'DE'] && !args.note.contains("x1")"#;
        let paths: Vec<String> = paths_of(condition).iter().map(|path| path.join(".")).collect();
        assert_eq!(paths, ["amount_usd", "to.country", "note"]);
        let values = values_of(condition);
        for value in [Value::from(101), Value::from(100), Value::from("CH"), Value::from("DE"), Value::from("x1")] {
            assert!(values.contains(&value), "{value} in {values:?}");
        }
        let candidates = candidates(Some(condition), &[]);
        assert!(candidates.contains(&Some(r#"{"amount_usd":101,"to":{"country":"CH"}}"#.to_owned())));
        assert_eq!(candidates.last(), Some(&None));
        assert!(candidates.len() <= CANDIDATES_MAX + 3);
    }
}
