//! Paths into the arguments of a call, such as `args.order.items[0].sku`.

use std::fmt;

use super::EvalError;
use crate::domain::value::Value;

/// A path below `args`. The empty path is `args` itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct ArgPath {
    /// The steps, outermost first.
    pub steps: Vec<Step>,
}

/// One step of an [`ArgPath`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    /// The member of an object.
    Member(Box<str>),
    /// The element of an array, counted from 0.
    Index(usize),
    /// Every element of an array or every value of an object, as seen by `exists`, `all`, `map` and `filter`.
    Each,
}

impl ArgPath {
    /// The path one step further down.
    #[must_use]
    pub fn then(&self, step: Step) -> Self {
        let mut steps = self.steps.clone();
        steps.push(step);
        Self { steps }
    }

    /// The value at the path. A path with [`Step::Each`] has no single value and is never resolved.
    pub(super) fn resolve<'a>(&self, args: &'a Value<'a>) -> Result<&'a Value<'a>, EvalError> {
        self.descend(args, &self.steps)
    }

    /// Whether the last member exists; everything above it must.
    pub(super) fn exists(&self, args: &Value<'_>) -> Result<bool, EvalError> {
        let Some((Step::Member(name), above)) = self.steps.split_last() else { return Ok(true) };
        match self.descend(args, above)? {
            parent @ Value::Object(_) => Ok(parent.member(name).is_some()),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                Err(self.missing(above.len()))
            }
        }
    }

    fn descend<'a>(&self, args: &'a Value<'a>, steps: &[Step]) -> Result<&'a Value<'a>, EvalError> {
        let mut at = args;
        for (depth, step) in steps.iter().enumerate() {
            let next = match (step, at) {
                (Step::Member(name), value) => value.member(name),
                (Step::Index(index), Value::Array(items)) => items.get(*index),
                (Step::Index(_) | Step::Each, _) => None,
            };
            at = next.ok_or_else(|| self.missing(depth))?;
        }
        Ok(at)
    }

    fn missing(&self, depth: usize) -> EvalError {
        EvalError::Missing { path: Self { steps: self.steps[..=depth.min(self.steps.len() - 1)].to_vec() }.to_string() }
    }

    /// The first key on the way down that `confusable` takes for the wanted member without being it, for example
    /// `Amount` where a condition reads `amount`. `confusable(key, wanted)` is only asked about keys that differ.
    pub fn first_variant(&self, args: &Value<'_>, confusable: &dyn Fn(&str, &str) -> bool) -> Option<String> {
        Self::variant_below(&self.steps, args, confusable)
    }

    fn variant_below(steps: &[Step], at: &Value<'_>, confusable: &dyn Fn(&str, &str) -> bool) -> Option<String> {
        let (step, rest) = steps.split_first()?;
        match (step, at) {
            (Step::Member(name), Value::Object(members)) => {
                let variant = members.iter().find(|(key, _)| **key != **name && confusable(key, name));
                match variant {
                    Some((key, _)) => Some(key.clone().into_owned()),
                    None => at.member(name).and_then(|next| Self::variant_below(rest, next, confusable)),
                }
            }
            (Step::Index(index), Value::Array(items)) => {
                items.get(*index).and_then(|next| Self::variant_below(rest, next, confusable))
            }
            (Step::Each, Value::Array(items)) => {
                items.iter().find_map(|next| Self::variant_below(rest, next, confusable))
            }
            (Step::Each, Value::Object(members)) => {
                members.iter().find_map(|(_, next)| Self::variant_below(rest, next, confusable))
            }
            _ => None,
        }
    }
}

impl fmt::Display for ArgPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("args")?;
        for step in &self.steps {
            match step {
                Step::Member(name) => write!(f, ".{name}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Each => f.write_str("[*]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str) -> Step {
        Step::Member(name.into())
    }

    #[test]
    fn a_case_variant_is_found_at_every_level_and_through_lists() {
        let fold = |key: &str, wanted: &str| key.eq_ignore_ascii_case(wanted);
        let leaf = |key: &'static str| Value::Object(vec![(key.into(), Value::Null)]);
        let items = |key| Value::Object(vec![("items".into(), Value::Array(vec![leaf("sku"), leaf(key)]))]);
        let path = ArgPath { steps: vec![member("items"), Step::Each, member("sku")] };
        assert_eq!(path.first_variant(&items("sku"), &fold), None);
        assert_eq!(path.first_variant(&items("SKU"), &fold), Some("SKU".to_owned()));
        assert_eq!(
            ArgPath { steps: vec![member("Items")] }.first_variant(&items("sku"), &fold),
            Some("items".to_owned())
        );
    }
}
