//! What an approval of a `tools/call` is bound to, besides agent, upstream and tool.

use std::borrow::Cow;

use crate::domain::value::Value;

/// Members of `params` that are about this one request, or that are bound elsewhere.
const PARAMS_OF_THE_REQUEST: [&str; 4] = ["name", "task", "inputResponses", "requestState"];
/// The same, of `_meta`.
const META_OF_THE_REQUEST: [&str; 4] = ["progressToken", "traceparent", "tracestate", "baggage"];
/// The same, by the start of their names: what the protocol itself and the gateway put there.
const META_PREFIXES: [&str; 2] = ["io.modelcontextprotocol/", "dev.holdpoint/"];

/// The parameters as compact JSON text, without what changes from one sending of the same call to the next: order and digits as
/// written. Two calls with equal text mean the same to every reader; anything else that is sent along is bound.
pub fn binding(params: Option<&Value<'_>>) -> String {
    let mut text = String::new();
    if let Some(Value::Object(members)) = params {
        let kept = members.iter().filter(|(key, _)| !PARAMS_OF_THE_REQUEST.contains(&key.as_ref())).filter_map(
            |(key, value)| match key.as_ref() {
                "_meta" => of_meta(value).map(|meta| (key.clone(), meta)),
                _ => Some((key.clone(), value.clone())),
            },
        );
        Value::Object(kept.collect()).write_json(&mut text);
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
