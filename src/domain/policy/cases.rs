//! Tests of a policy, written beside it: a request, and the verdict and rule it should get.
//!
//! The arguments of a case go through the same strict reader as those of a call, handed in as a [`Reader`], so that a
//! case can also show what is refused before any rule is tried. Nothing here reads files.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::SeqAccessDeserializer;
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::compile::CompiledPolicy;
use super::decide::{Verdict, VerdictKind};
use super::rule::Rule;
use super::view::{Args, CallView, Pairs};
use crate::domain::time::Timestamp;
use crate::domain::tools::Annotations;
use crate::domain::value::Value;

/// The cases of one policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CasesFile {
    /// The cases.
    pub cases: Vec<Case>,
}

/// One case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What it shows.
    pub name: String,
    /// The call.
    pub request: Request,
    /// What should come of it.
    pub expect: Expect,
}

/// The call of a case. What is left out is empty, the method is POST and the path `/`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The tool's name.
    pub tool: String,
    /// The arguments. Left out, with `args_json` left out too: the call has no body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args: Option<serde_json::Value>,
    /// The arguments as the exact JSON text, for digits, duplicate keys and broken bodies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args_json: Option<String>,
    /// The agent's id.
    #[serde(default)]
    pub agent: String,
    /// The upstream's name.
    #[serde(default)]
    pub upstream: String,
    /// The HTTP method.
    #[serde(default = "post")]
    pub method: String,
    /// The path.
    #[serde(default = "root")]
    pub path: String,
    /// The query: each name with its value or its list of values.
    #[serde(default)]
    pub query: BTreeMap<String, Texts>,
    /// The headers: each name with its value or its list of values.
    #[serde(default)]
    pub headers: BTreeMap<String, Texts>,
    /// What the MCP server says of the tool; `{}` for a tool of which it says nothing. Left out: the call is plain HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Annotations>,
    /// The time of the call. Left out: 1970-01-01T00:00:00Z.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub now: Option<Timestamp>,
}

/// One text or a list of texts.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Texts {
    /// One.
    One(String),
    /// Any number.
    Many(Vec<String>),
}

// By hand, because an untagged enum would lose the line of an error.
impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Texts;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a list of texts")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Texts, E> {
                Ok(Texts::One(text.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Texts, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(Texts::Many)
            }
        }
        deserializer.deserialize_any(OneOrMany)
    }
}

impl JsonSchema for Texts {
    fn schema_name() -> Cow<'static, str> {
        "Texts".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] })
    }
}

/// What should come of a case: a verdict, or the code with which the arguments are refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// The verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<VerdictKind>,
    /// The rule by its id or match text; `null` for none. Left out: not looked at.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub rule: Option<Option<String>>,
    /// The code with which the strict reader refuses the arguments, such as `duplicate_key`. Not with `verdict`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

fn post() -> String {
    "POST".to_owned()
}

fn root() -> String {
    "/".to_owned()
}

/// Tells a rule that is `null` from one that was left out.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// The strict reader, as far as cases need it.
pub trait Reader {
    /// Reads arguments.
    ///
    /// # Errors
    /// The stable code of the refusal.
    fn read<'a>(&self, json: &'a str) -> Result<Value<'a>, String>;

    /// Whether an upstream might take `key` for `wanted`, from which it differs.
    fn confusable(&self, key: &str, wanted: &str) -> bool;
}

/// The code that stands for a key which could be taken for one that a rule reads.
pub const CONFUSABLE_KEY: &str = "confusable_key";

/// What came of one case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CaseResult {
    /// The case's name.
    pub name: String,
    /// Why it failed; `None` when it passed.
    pub failure: Option<String>,
}

/// What came of the cases of one policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Each case in order.
    pub results: Vec<CaseResult>,
    /// How many rules the policy has.
    pub rules: usize,
    /// The labels of the rules that no case hits, in order.
    pub unhit: Vec<String>,
}

impl Report {
    /// Whether every case passed.
    pub fn passed(&self) -> bool {
        self.results.iter().all(|result| result.failure.is_none())
    }

    /// The share of rules that some case hits, in whole percent rounded down; 100 without rules.
    pub fn coverage_percent(&self) -> usize {
        let hit = self.rules - self.unhit.len();
        (hit * 100).checked_div(self.rules).unwrap_or(100)
    }
}

/// Runs cases against a policy.
pub fn run(policy: &CompiledPolicy, file: &CasesFile, reader: &dyn Reader) -> Report {
    let mut hit: HashSet<(String, usize)> = HashSet::new();
    let results = file
        .cases
        .iter()
        .map(|case| {
            let failure = match judge(policy, case, reader, &mut hit) {
                Ok(got) => difference(&case.expect, &got),
                Err(problem) => Some(problem),
            };
            CaseResult { name: case.name.clone(), failure }
        })
        .collect();
    let unhit = |rule: &&Rule| !hit.contains(&(rule.file().to_owned(), rule.position()));
    let unhit = policy.rules().iter().filter(unhit).map(|rule| rule.label().to_owned()).collect();
    Report { results, rules: policy.rules().len(), unhit }
}

/// What a case really got.
enum Got {
    Verdict { kind: VerdictKind, rule: Option<String>, notes: String },
    Refused(String),
}

fn judge(
    policy: &CompiledPolicy,
    case: &Case,
    reader: &dyn Reader,
    hit: &mut HashSet<(String, usize)>,
) -> Result<Got, String> {
    let request = &case.request;
    let text = match (&request.args, &request.args_json) {
        (Some(_), Some(_)) => return Err("`args` and `args_json` exclude each other; keep one".to_owned()),
        (Some(args), None) => Some(args.to_string()),
        (None, json) => json.clone(),
    };
    let args = match text.as_deref().map(|json| reader.read(json)).transpose() {
        Ok(args) => args,
        Err(code) => return Ok(Got::Refused(code)),
    };
    let (query, headers) = (Pairs::query(pairs(&request.query)), Pairs::headers(pairs(&request.headers)));
    let call = CallView {
        tool: &request.tool,
        agent: &request.agent,
        upstream: &request.upstream,
        method: &request.method,
        path: &request.path,
        query: &query,
        headers: &headers,
        args: args.as_ref().map_or(Args::Absent, Args::Read),
        claims: request.annotations.into(),
        now: request.now.unwrap_or(Timestamp::from_millis(0)),
    };
    if let Some(args) = &args
        && policy.confusable_key(&call, args, &|key, wanted| reader.confusable(key, wanted)).is_some()
    {
        return Ok(Got::Refused(CONFUSABLE_KEY.to_owned()));
    }
    let verdict = policy.judge(&call);
    let shadowed = verdict.shadow.iter().filter_map(|shadow| shadow.rule);
    hit.extend(verdict.rule.into_iter().chain(shadowed).map(|rule| (rule.file().to_owned(), rule.position())));
    Ok(Got::Verdict { kind: verdict.kind, rule: verdict.rule_label().map(str::to_owned), notes: notes(&verdict) })
}

fn pairs(texts: &BTreeMap<String, Texts>) -> Vec<(String, String)> {
    let values = |texts: &Texts| match texts {
        Texts::One(text) => vec![text.clone()],
        Texts::Many(texts) => texts.clone(),
    };
    texts.iter().flat_map(|(name, texts)| values(texts).into_iter().map(|value| (name.clone(), value))).collect()
}

fn notes(verdict: &Verdict<'_>) -> String {
    verdict.notes.iter().map(|note| format!("; the condition of `{}`: {}", note.rule.label(), note.error)).collect()
}

fn difference(expect: &Expect, got: &Got) -> Option<String> {
    match (expect.verdict, &expect.refused, got) {
        (None, None, _) => Some("the case expects nothing; write `verdict` or `refused`".to_owned()),
        (Some(_), Some(_), _) => Some("`verdict` and `refused` exclude each other; keep one".to_owned()),
        (None, Some(_), _) if expect.rule.is_some() => Some("a refused call reaches no rule; remove `rule`".to_owned()),
        (None, Some(wanted), Got::Refused(code)) if wanted == code => None,
        (None, Some(wanted), Got::Refused(code)) => Some(format!("expected refusal `{wanted}`, got `{code}`")),
        (None, Some(wanted), Got::Verdict { kind, rule, notes }) => {
            Some(format!("expected refusal `{wanted}`, got {}{notes}", named(*kind, rule.as_deref())))
        }
        (Some(wanted), None, Got::Refused(code)) => {
            Some(format!("expected {}, but the arguments are refused: `{code}`", wanted.as_str()))
        }
        (Some(wanted), None, Got::Verdict { kind, rule, notes }) => {
            let rule_differs = expect.rule.as_ref().is_some_and(|expected| expected != rule);
            if wanted == *kind && !rule_differs {
                return None;
            }
            let expected = match &expect.rule {
                Some(rule) => named(wanted, rule.as_deref()),
                None => wanted.as_str().to_owned(),
            };
            Some(format!("expected {expected}, got {}{notes}", named(*kind, rule.as_deref())))
        }
    }
}

fn named(kind: VerdictKind, rule: Option<&str>) -> String {
    match rule {
        Some(rule) => format!("{} by `{rule}`", kind.as_str()),
        None => format!("{} by no rule", kind.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::policy::compile::tests::policy;
    use crate::domain::value::Number;

    /// Reads `{}` and `{"n": digits}`, and refuses everything else.
    struct Tiny;

    impl Reader for Tiny {
        fn read<'a>(&self, json: &'a str) -> Result<Value<'a>, String> {
            let inner = json.trim_start_matches('{').trim_end_matches('}');
            let (key, digits) = inner.split_once(':').ok_or("bad_json")?;
            let key = key.trim().trim_matches('"');
            Ok(Value::Object(vec![(key.into(), Value::Number(Number::from_checked(digits.trim())))]))
        }
        fn confusable(&self, key: &str, wanted: &str) -> bool {
            key.eq_ignore_ascii_case(wanted)
        }
    }

    #[test]
    fn cases_pass_fail_with_a_reason_and_count_what_they_hit() {
        let policy = policy(
            "version: 1\ndefault: block\nrules:\n  - {id: small, match: t, when: args.n <= 5 && !has(query.x), action: allow}\n  - {id: big, match: t, action: require_approval}\n  - {id: never, match: u, action: audit}\n",
        );
        let yaml = r#"
cases:
  - {name: passes, request: {tool: t, args: {n: 5}}, expect: {verdict: ALLOWED, rule: small}}
  - {name: exact, request: {tool: t, args_json: '{"n": 5.00000000000000000001}'}, expect: {verdict: WAITING_FOR_APPROVAL, rule: big}}
  - {name: query, request: {tool: t, args: {n: 1}, query: {x: ['1', '2']}}, expect: {verdict: WAITING_FOR_APPROVAL}}
  - {name: default, request: {tool: x}, expect: {verdict: BLOCKED, rule: null}}
  - {name: refused, request: {tool: t, args_json: 'nope'}, expect: {refused: bad_json}}
  - {name: variant, request: {tool: t, args: {N: 1}}, expect: {refused: confusable_key}}
  - {name: wrong verdict, request: {tool: x}, expect: {verdict: ALLOWED}}
  - {name: wrong rule, request: {tool: t, args: {n: 9}}, expect: {verdict: WAITING_FOR_APPROVAL, rule: null}}
  - {name: unexpected refusal, request: {tool: t, args_json: 'nope'}, expect: {verdict: BLOCKED}}
  - {name: nothing, request: {tool: t}, expect: {}}
"#;
        let file: CasesFile = serde_yaml::from_str(yaml).expect("cases");
        let report = run(&policy, &file, &Tiny);
        let failures: Vec<_> = report.results.iter().map(|result| result.failure.as_deref()).collect();
        assert_eq!(
            failures,
            [
                None,
                None,
                None,
                None,
                None,
                None,
                Some("expected ALLOWED, got BLOCKED by no rule"),
                Some("expected WAITING_FOR_APPROVAL by no rule, got WAITING_FOR_APPROVAL by `big`"),
                Some("expected BLOCKED, but the arguments are refused: `bad_json`"),
                Some("the case expects nothing; write `verdict` or `refused`"),
            ]
        );
        assert_eq!((report.unhit.as_slice(), report.coverage_percent()), (["never".to_owned()].as_slice(), 66));
        assert!(!report.passed());
    }
}
