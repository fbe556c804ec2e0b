//! For every body that the strict reader accepts: Python's, Node's and Go's readings of it, and of method, tool and arguments in it,
//! are ours.
//!
//! Compared are structure, the order of members (not in Node's objects and Go's maps, which have another one), and strings exactly.
//! Numbers:
//! - Python's integers and `Decimal`s, and Go's `json.Number`s, by their exact value with the digits that we keep, and an integer must
//!   be one to both;
//! - Python's own floats must be the doubles nearest to those, bit for bit;
//! - Node, and Go where nothing else is asked for, have doubles only: each must be the double nearest to our digits, bit for bit, so
//!   that rounding is all that can differ. A condition on 9007199254740993 still sees one more than they do: what an upstream rounds
//!   away is not compared.

use holdpoint::domain::value::{Number, Value};
use holdpoint::protocol::json::{self, Limits};
use holdpoint::protocol::mcp::{self, Message, ToolCall};

use crate::bodies;
use crate::others::Other;
use crate::properties::seeds;
use crate::properties::tree::{Spelling, Tree};

/// Generated bodies of one run; `HOLDPOINT_READERS_BODIES` asks for more.
const BODIES: usize = 4_000;
/// The seed of every ordinary run; `HOLDPOINT_READERS_SEED` names another.
const SEED: u64 = 20_260_728;

fn from_environment(name: &str, usual: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|error| panic!("{name}: {error}")),
        Err(_) => usual,
    }
}

/// What a message is to us.
enum Said<'v> {
    /// Refused, or no message at all: nobody acts on it.
    Nothing,
    /// A message that calls no tool, and its method.
    Other(Option<&'v str>),
    Call(ToolCall<'v>),
}

fn said<'v>(value: &'v Value<'v>) -> Said<'v> {
    match mcp::read(value) {
        Ok(Message::Request { method: mcp::TOOLS_CALL, params, .. }) => {
            ToolCall::read(params).map_or(Said::Nothing, Said::Call)
        }
        Ok(Message::Request { method, .. } | Message::Notification { method, .. }) => Said::Other(Some(method)),
        Ok(Message::Response) => Said::Other(None),
        Err(_) => Said::Nothing,
    }
}

/// The kind and the content of a value as the programs tell it.
fn parts(told: &Tree) -> (&str, &Tree) {
    match told {
        Tree::Array(parts) => match parts.as_slice() {
            [Tree::Text(kind)] => (kind, &Tree::Null),
            [Tree::Text(kind), content] => (kind, content),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

fn pair(told: &Tree) -> (&str, &Tree) {
    match told {
        Tree::Array(parts) => match parts.as_slice() {
            [Tree::Text(key), value] => (key, value),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

/// Whether a number is the same to us and to the program, as the top of this file says.
fn same_number(ours: &Number<'_>, kind: &str, theirs: &str) -> bool {
    let digits = ours.as_str();
    match kind {
        "number" => {
            let whole = |text: &str| !text.contains(['.', 'e', 'E']);
            let exact = Number::from_checked(theirs).compare(ours).is_eq();
            exact && (!whole(digits) || whole(theirs)) && (digits.starts_with('-') || !theirs.starts_with('-'))
        }
        "double" => digits.parse::<f64>().is_ok_and(|nearest| format!("{:016x}", nearest.to_bits()) == theirs),
        _ => false,
    }
}

/// Where our reading and the told one differ; members in any order when they are told so.
fn difference(ours: &Value<'_>, told: &Tree, ordered: bool) -> Option<String> {
    let (kind, content) = parts(told);
    let same = match (ours, kind, content) {
        (Value::Null, "null", _) => true,
        (Value::Bool(ours), "bool", Tree::Bool(theirs)) => ours == theirs,
        (Value::String(ours), "text", Tree::Text(theirs)) => ours == theirs,
        (Value::Number(ours), kind, Tree::Text(theirs)) => same_number(ours, kind, theirs),
        (Value::Array(ours), "array", Tree::Array(theirs)) if ours.len() == theirs.len() => {
            return ours.iter().zip(theirs).find_map(|(ours, theirs)| difference(ours, theirs, ordered));
        }
        (Value::Object(ours), "object", Tree::Array(theirs)) if ours.len() == theirs.len() => {
            return ours.iter().enumerate().find_map(|(place, (key, ours))| {
                let theirs = match ordered {
                    true => Some(pair(&theirs[place])).filter(|(name, _)| name == key),
                    false => theirs.iter().map(pair).find(|(name, _)| name == key),
                };
                let Some((_, theirs)) = theirs else { return Some(format!("no member {key:?} in its place")) };
                difference(ours, theirs, ordered)
            });
        }
        _ => false,
    };
    (!same).then(|| format!("{ours:?} is {told:?}"))
}

/// Where somebody's method, tool and arguments are not ours.
fn call_difference(said: &Said<'_>, theirs: &Tree, with_arguments: bool, ordered: bool) -> Option<String> {
    let Tree::Array(theirs) = theirs else { return Some(format!("{theirs:?}")) };
    let text = |text: &str| Value::String(text.to_owned().into());
    match said {
        Said::Nothing => None,
        Said::Other(None) => difference(&Value::Null, &theirs[0], ordered),
        Said::Other(Some(method)) => difference(&text(method), &theirs[0], ordered),
        Said::Call(call) => difference(&text(mcp::TOOLS_CALL), &theirs[0], ordered)
            .or_else(|| difference(&text(call.name), &theirs[1], ordered))
            .or_else(|| {
                difference(call.arguments.unwrap_or(&Value::Null), &theirs[2], ordered).filter(|_| with_arguments)
            }),
    }
}

/// Where Python reads a body otherwise than we do.
fn python_differs(value: &Value<'_>, told: &Tree) -> Option<String> {
    let part = |name: &str| told.member(name).unwrap_or_else(|| panic!("no `{name}` in {told:?}"));
    let said = said(value);
    let readers = [("first", true), ("last", true), ("loose", false)];
    difference(value, part("document"), true)
        .or_else(|| (part("doubles") != &Tree::Bool(true)).then(|| "its floats are other doubles".to_owned()))
        .or_else(|| {
            readers.iter().find_map(|(name, with_arguments)| call_difference(&said, part(name), *with_arguments, true))
        })
}

/// Where Node reads a body otherwise than we do.
fn node_differs(value: &Value<'_>, told: &Tree) -> Option<String> {
    let part = |name: &str| told.member(name).unwrap_or_else(|| panic!("no `{name}` in {told:?}"));
    difference(value, part("document"), false).or_else(|| call_difference(&said(value), part("call"), true, false))
}

/// Where Go reads a body otherwise than we do.
fn go_differs(value: &Value<'_>, told: &Tree) -> Option<String> {
    let part = |name: &str| told.member(name).unwrap_or_else(|| panic!("no `{name}` in {told:?}"));
    difference(value, part("document"), true)
        .or_else(|| difference(value, part("doubles"), false))
        .or_else(|| call_difference(&said(value), part("call"), true, true))
}

#[test]
fn every_accepted_body_is_read_by_python_node_and_go_as_it_is_judged() {
    let seed = from_environment("HOLDPOINT_READERS_SEED", SEED);
    let count = from_environment("HOLDPOINT_READERS_BODIES", BODIES as u64);
    println!("HOLDPOINT_READERS_SEED={seed} HOLDPOINT_READERS_BODIES={count}");
    let mut choice = Spelling(seed);
    let mut all = seeds::bodies();
    all.extend(seeds::regressions("json"));
    let corpus = all.len();
    all.extend((0..count).map(|_| bodies::body(&mut choice)));
    let made = all.len();
    all.retain(|body| json::read(body, &Limits::default()).is_ok());
    let (mut python, mut node) = (Other::script("python3", "reader.py"), Other::script("node", "reader.mjs"));
    let (python, node, go) = (python.read(&all), node.read(&all), Other::go().read(&all));
    let mut calls = 0;
    let mut wrong = Vec::new();
    for (((body, python), node), go) in all.iter().zip(python).zip(node).zip(go) {
        let value = json::read(body, &Limits::default()).expect("accepted above");
        calls += usize::from(matches!(said(&value), Said::Call(_)));
        let mut note = |who: &str, differs: Option<String>| {
            wrong.extend(differs.map(|how| format!("{who}: {}: {how}", String::from_utf8_lossy(body))));
        };
        note("Python", python.map_or(Some("refused".to_owned()), |told| python_differs(&value, &told)));
        note("Node", node.map_or(Some("refused".to_owned()), |told| node_differs(&value, &told)));
        note("Go", go.map_or(Some("refused".to_owned()), |told| go_differs(&value, &told)));
    }
    println!("{corpus} bodies of the corpora, {} in all, {} accepted, {calls} calls", made, all.len());
    wrong.truncate(20);
    assert!(wrong.is_empty(), "seed {seed}: {wrong:#?}");
    // The comparison is worth something only while plenty of both kinds is made.
    let generated = count as usize;
    assert!(
        all.len() > generated / 3 && made - all.len() > generated / 8 && calls > generated / 8,
        "{} {calls}",
        all.len()
    );
}

#[test]
fn a_reading_that_differs_anywhere_is_seen() {
    let body = br#"{"method":"x","a":[1,2.5,"t",null,true],"b":{"c":9007199254740993}}"#;
    let value = json::read(body, &Limits::default()).expect("JSON");
    let told = |text: &str| Tree::read(text.as_bytes()).expect("JSON");
    let python = r#"["object",[["method",["text","x"]],["a",["array",[["number","1"],["number","2.5"],["text","t"],["null"],["bool",true]]]],["b",["object",[["c",["number","9007199254740993"]]]]]]]"#;
    assert_eq!(difference(&value, &told(python), true), None);
    for (from, to) in [
        (r#"["text","x"]"#, r#"["text","y"]"#),
        (r#"["number","1"]"#, r#"["number","1.0"]"#),
        (r#"["number","1"]"#, r#"["text","1"]"#),
        (r#"["number","2.5"]"#, r#"["number","2.50000000000000000001"]"#),
        ("9007199254740993", "9007199254740992"),
        (r#"["null"],"#, ""),
        (r#"["null"]"#, r#"["bool",false]"#),
        (r#"["bool",true]"#, r#"["bool",false]"#),
        (r#"["c","#, r#"["C","#),
    ] {
        assert!(difference(&value, &told(&python.replace(from, to)), true).is_some(), "{from} for {to}");
    }
    let number = |digits: &'static str| Number::from_checked(digits);
    assert!(
        same_number(&number("9007199254740993"), "double", "4340000000000000"),
        "the nearest double is what Node has"
    );
    assert!(!same_number(&number("9007199254740993"), "double", "4340000000000001"));
    assert!(
        !same_number(&number("0"), "double", "8000000000000000")
            && same_number(&number("-0"), "double", "8000000000000000")
    );
}

#[test]
fn what_go_takes_for_another_call_is_refused() {
    let bodies = [
        r#"{"method":"tools/call","params":{"name":"safe_read","NAME":"delete_repo"}}"#,
        r#"{"method":"tools/call","params":{"name":"safe_read","name":"delete_repo"}}"#,
        r#"{"method":"tools/call","params":{"name":"safe_read"},"paramſ":{"name":"delete_repo"}}"#,
        r#"{"method":"tools/list","METHOD":"tools/call","Params":{"Name":"delete_repo"}}"#,
    ];
    let told = Other::go().read(&bodies.map(|body| body.as_bytes().to_vec()));
    for (body, told) in bodies.iter().zip(told) {
        let call = told.as_ref().and_then(|told| told.member("call")).unwrap_or_else(|| panic!("{body}"));
        let Tree::Array(call) = call else { panic!("{call:?}") };
        assert_eq!(parts(&call[0]).1, &Tree::Text("tools/call".to_owned()), "{body}");
        assert_eq!(parts(&call[1]).1, &Tree::Text("delete_repo".to_owned()), "{body}");
        let value = json::read(body.as_bytes(), &Limits::default());
        assert!(value.is_err() || matches!(said(&value.expect("checked")), Said::Nothing), "{body}");
    }
}
