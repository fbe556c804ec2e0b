//! `anyOf` and `oneOf`: which alternative was meant.

use serde_json::Value as Json;
use serde_yaml::Value as Yaml;

use super::{Walk, admits, constants};

impl<'a> Walk<'a> {
    /// Reports the problems of the alternative that fits the kind of the value best, so that `match: {tol: x}` is
    /// told about `tol` and not that a mapping is no text.
    pub(super) fn branches(&mut self, schema: &'a Json, value: &Yaml) {
        let listed = schema.get("anyOf").or(schema.get("oneOf")).and_then(Json::as_array);
        let branches: Vec<&'a Json> = listed.into_iter().flatten().map(|branch| self.resolved(branch)).collect();
        if branches.iter().all(|branch| !constants(branch).is_empty()) {
            // An enumeration whose values carry descriptions.
            let accepted: Vec<&Json> = branches.iter().flat_map(|branch| constants(branch)).collect();
            return self.one_of(&accepted, value);
        }
        let fitting: Vec<&'a Json> = branches.iter().copied().filter(|branch| admits(branch, value)).collect();
        if fitting.is_empty() {
            return self.wrong_type(&branches, value);
        }
        let mut best = None;
        for branch in fitting {
            let before = self.found.len();
            self.value(branch, value);
            let problems = self.found.split_off(before);
            if best.as_ref().is_none_or(|fewest: &Vec<_>| problems.len() < fewest.len()) {
                best = Some(problems);
            }
        }
        self.found.extend(best.unwrap_or_default());
    }
}
