//! What an approval of a `tools/call` is bound to, besides agent, upstream and tool.

use std::borrow::Cow;

use crate::domain::value::Value;

/// What the gateway's own `requestState` begins with. It is sealed, and is opened before anything is done with it.
pub const STATE_PREFIX: &str = "hp1.";

/// Members of `params` that are about this one request, or that are bound elsewhere.
const PARAMS_OF_THE_REQUEST: [&str; 2] = ["name", "task"];
/// Members that are about this one request where the gateway's own state ties it to an approved call: else they are part of what
/// the caller wants done, for a reviewer to see.
const PARAMS_OF_A_ROUND: [&str; 2] = ["inputResponses", "requestState"];
/// The same, of `_meta`.
const META_OF_THE_REQUEST: [&str; 4] = ["progressToken", "traceparent", "tracestate", "baggage"];
/// The same, by the start of their names: what the protocol itself and the gateway put there.
const META_PREFIXES: [&str; 2] = ["io.modelcontextprotocol/", "dev.holdpoint/"];

/// The parameters as compact JSON text, without what changes from one sending of the same call to the next: order and digits as
/// written. Two calls with equal text mean the same to every reader; anything else that is sent along is bound.
pub fn binding(params: Option<&Value<'_>>) -> String {
    text(bound(params))
}

/// What binds besides the arguments, as JSON text; `None` when nothing does.
pub fn bound_beside_arguments(params: Option<&Value<'_>>) -> Option<String> {
    let mut members = bound(params)?;
    members.retain(|(key, _)| key != "arguments");
    (!members.is_empty()).then(|| text(Some(members)))
}

type Members<'a> = Vec<(Cow<'a, str>, Value<'a>)>;

fn bound<'a>(params: Option<&Value<'a>>) -> Option<Members<'a>> {
    let Some(Value::Object(members)) = params else { return None };
    let is_state = |(key, value): &(Cow<'_, str>, Value<'_>)| {
        key == "requestState" && matches!(value, Value::String(state) if state.starts_with(STATE_PREFIX))
    };
    let of_a_round = members.iter().any(is_state);
    let is_exempt =
        |key: &str| PARAMS_OF_THE_REQUEST.contains(&key) || (of_a_round && PARAMS_OF_A_ROUND.contains(&key));
    let kept = members.iter().filter(|(key, _)| !is_exempt(key)).filter_map(|(key, value)| match key.as_ref() {
        "_meta" => of_meta(value).map(|meta| (key.clone(), meta)),
        _ => Some((key.clone(), value.clone())),
    });
    Some(kept.collect())
}

fn text(members: Option<Members<'_>>) -> String {
    let mut text = String::new();
    if let Some(members) = members {
        Value::Object(members).write_json(&mut text);
    }
    text
}

/// `None` when nothing is left.
fn of_meta<'a>(meta: &Value<'a>) -> Option<Value<'a>> {
    let Value::Object(members) = meta else { return Some(meta.clone()) };
    let bound = |key: &Cow<'_, str>| {
        !META_OF_THE_REQUEST.contains(&key.as_ref()) && !META_PREFIXES.iter().any(|prefix| key.starts_with(prefix))
    };
    let kept: Vec<_> = members.iter().filter(|(key, _)| bound(key)).cloned().collect();
    (!kept.is_empty()).then_some(Value::Object(kept))
}
