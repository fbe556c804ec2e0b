//! What an approval of a call is bound to: calls that differ only in what changes from one sending to the next are bound
//! alike, and calls that differ in anything else are not.

use holdpoint::domain::value::Value;
use holdpoint::protocol::json::{self, Limits};
use holdpoint::protocol::mcp::{self, Message, ToolCall, binding};

use super::salt;
use super::tree::{Spelling, Tree};

/// Escapes make a document up to six times as long; beyond this it could leave the reader's limits.
const RESPELT_BYTES_MAX: usize = 64 * 1024;
/// Members of the parameters that are about one sending, or bound elsewhere.
const OF_ONE_SENDING: [&str; 2] = ["name", "task"];
/// The same beside a state that the gateway gave out.
const OF_A_ROUND: [&str; 2] = ["inputResponses", "requestState"];
/// The same of `_meta`.
const META_OF_ONE_SENDING: [&str; 4] = ["progressToken", "traceparent", "tracestate", "baggage"];

/// Checks what the parameters of an accepted call are bound to.
pub(crate) fn check(params: &Value<'_>, tree: &Tree) {
    let bound = binding(Some(params));
    let kept = kept(tree);
    assert_eq!(Tree::read(bound.as_bytes()).ok().as_ref(), Some(&kept), "{bound} is not what remains of {tree:?}");
    if bound.len() > RESPELT_BYTES_MAX {
        return;
    }
    let mut choice = Spelling(salt(bound.as_bytes()));
    for other in sent_again(tree, &mut choice) {
        if let Some(other) = bound_of(&other, &mut choice) {
            assert_eq!(other, bound, "the same call, sent again, is another");
        }
    }
    for other in other_calls(tree, &mut choice) {
        if let Some(text) = bound_of(&other, &mut choice) {
            assert_ne!(text, bound, "another call is bound alike: {other:?}");
        }
    }
}

/// What the parameters are without that which is about one sending.
fn kept(params: &Tree) -> Tree {
    let own = |key: &str| key.starts_with("io.modelcontextprotocol/") || key.starts_with("dev.holdpoint/");
    let of_a_round = is_of_a_round(params);
    let mut members = params.members().to_vec();
    members.retain(|(key, _)| !OF_ONE_SENDING.contains(&key.as_str()));
    members.retain(|(key, _)| !of_a_round || !OF_A_ROUND.contains(&key.as_str()));
    for (_, meta) in members.iter_mut().filter(|(key, _)| key == "_meta") {
        let mut inner = meta.members().to_vec();
        inner.retain(|(key, _)| !META_OF_ONE_SENDING.contains(&key.as_str()) && !own(key));
        *meta = Tree::Object(inner);
    }
    members.retain(|(key, value)| key != "_meta" || !value.members().is_empty());
    Tree::Object(members)
}

fn is_of_a_round(params: &Tree) -> bool {
    matches!(params.member("requestState"), Some(Tree::Text(state)) if state.starts_with("hp1."))
}

/// The binding of these parameters in a message with some spelling; `None` where the message or the call is refused.
fn bound_of(params: &Tree, choice: &mut Spelling) -> Option<String> {
    let text = |text: &str| Tree::Text(text.to_owned());
    let members = [("jsonrpc", text("2.0")), ("id", text("again")), ("method", text(mcp::TOOLS_CALL))];
    let mut members: Vec<(String, Tree)> = members.map(|(key, value)| (key.to_owned(), value)).into();
    members.push(("params".to_owned(), params.clone()));
    let mut body = String::new();
    Tree::Object(members).write(choice, &mut body);
    let value = json::read(body.as_bytes(), &Limits::default()).ok()?;
    let message = mcp::read(&value).ok()?;
    let Message::Request { params, .. } = message else { panic!("a call became {message:?}") };
    ToolCall::read(params).ok()?;
    Some(binding(params))
}

/// The same call as it may come again: another spelling, and other members that are about one sending.
fn sent_again(params: &Tree, choice: &mut Spelling) -> Vec<Tree> {
    let mut all = vec![params.clone()];
    let text = |choice: &mut Spelling| Tree::Text(format!("t{}", choice.next()));
    let object = |key: &str, value: Tree| Tree::Object(vec![(key.to_owned(), value)]);
    let mut with_task = params.clone();
    set(&mut with_task, "task", object("ttl", Tree::Number(choice.next().to_string())), choice);
    all.push(with_task);
    // A round of a call that came without a state, or with another of the gateway's.
    if is_of_a_round(params) || OF_A_ROUND.iter().all(|key| params.member(key).is_none()) {
        let mut again = params.clone();
        set(&mut again, "requestState", Tree::Text(format!("hp1.{}", choice.next())), choice);
        all.push(again.clone());
        set(&mut again, "inputResponses", object("ask", text(choice)), choice);
        all.push(again);
    }
    for key in ["progressToken", "traceparent", "tracestate", "baggage", "dev.holdpoint/x", "io.modelcontextprotocol/x"]
    {
        let mut again = params.clone();
        let mut meta = params.member("_meta").cloned().unwrap_or(Tree::Object(Vec::new()));
        set(&mut meta, key, text(choice), choice);
        set(&mut again, "_meta", meta, choice);
        all.push(again);
    }
    all
}

/// Sets a member, in its place or in any.
fn set(object: &mut Tree, key: &str, value: Tree, choice: &mut Spelling) {
    let Tree::Object(members) = object else { return };
    match members.iter_mut().find(|(other, _)| other == key) {
        Some(member) => member.1 = value,
        None => {
            let place = choice.next() as usize % (members.len() + 1);
            members.insert(place, (key.to_owned(), value));
        }
    }
}

/// Calls that differ in one thing that servers may act on.
fn other_calls(params: &Tree, choice: &mut Spelling) -> Vec<Tree> {
    let kept = kept(params);
    let mut changed = kept.clone();
    let mut values = 0;
    kept.walk(0, &mut |_, _| values += 1);
    change(&mut changed, &mut (choice.next() as usize % values), choice);
    let mut more = kept.clone();
    set(&mut more, "mode", Tree::Text(format!("m{}", choice.next())), choice);
    let mut tenant = kept.clone();
    let mut meta = kept.member("_meta").cloned().unwrap_or(Tree::Object(Vec::new()));
    set(&mut meta, "tenant", Tree::Text(format!("t{}", choice.next())), choice);
    set(&mut tenant, "_meta", meta, choice);
    let (mut answered, mut stated) = (kept.clone(), kept.clone());
    let answer = Tree::Object(vec![("ask".to_owned(), Tree::Text(format!("t{}", choice.next())))]);
    set(&mut answered, "inputResponses", answer, choice);
    set(&mut stated, "requestState", Tree::Text(format!("t{}", choice.next())), choice);
    let mut all = vec![changed, more, tenant, answered, stated];
    for call in &mut all {
        let name = params.member("name").cloned().expect("a call that was read has a name");
        set(call, "name", name, choice);
    }
    all
}

/// Changes the value at this place, counted in the order in which values stand: its kind, its digits, its text, or one more.
fn change(tree: &mut Tree, place: &mut usize, choice: &mut Spelling) -> bool {
    if *place == 0 {
        match tree {
            Tree::Null => *tree = Tree::Bool(false),
            Tree::Bool(value) => *value = !*value,
            Tree::Number(digits) if choice.next().is_multiple_of(2) => *tree = Tree::Text(digits.clone()),
            Tree::Number(digits) if digits.contains(['.', 'e', 'E']) => *digits = "7".to_owned(),
            Tree::Number(digits) => digits.push_str(".0"),
            Tree::Text(text) => text.push(' '),
            Tree::Array(elements) => elements.push(Tree::Null),
            Tree::Object(members) => members.push((format!("zz{}", choice.next()), Tree::Null)),
        }
        return true;
    }
    *place -= 1;
    match tree {
        Tree::Array(elements) => elements.iter_mut().any(|element| change(element, place, choice)),
        Tree::Object(members) => members.iter_mut().any(|(_, value)| change(value, place, choice)),
        Tree::Null | Tree::Bool(_) | Tree::Number(_) | Tree::Text(_) => false,
    }
}
