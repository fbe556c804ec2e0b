//! The gated call, written so that the gateway and the upstream could read it differently. None of it may arrive.

use crate::cli::verify::report::{Check, DEFECT, Finding, Report};
use crate::cli::verify::sample::{How, Sample};
use crate::cli::verify::wire::{Request, exchange};
use crate::cli::verify::world::World;
use crate::domain::policy::VerdictKind;

const BODY: Check = Check { id: "hostile.body", claim: "a body with two readings never arrives" };
const ENCODING: Check = Check { id: "hostile.encoding", claim: "another encoding or media type never arrives" };
const PATH: Check = Check { id: "hostile.path", claim: "a path with two readings never arrives" };
const FRAMING: Check = Check { id: "hostile.framing", claim: "ambiguous framing and odd methods never arrive" };

/// A gate may ask for a media type or a coding, and the rest of the policy let the call pass with another.
const NAMED: &str = "see whether a condition on `content-type` or `content-encoding` keeps the rule from this call; if not, this is a defect of Holdpoint: please report it";

/// An attempt: what it is, and its bytes.
type Attempt = (String, Vec<u8>);

pub(super) fn run(world: &World<'_>, sample: &Sample, subject: &str, report: &mut Report) -> anyhow::Result<()> {
    let marked = sample.marked(world.mark());
    let whole = world.request(&marked)?.header("prefer", "wait=0");
    let groups = [
        (BODY, bodies(world, &whole), DEFECT),
        (ENCODING, encodings(world, &whole), NAMED),
        (PATH, paths(world, &whole), DEFECT),
        (FRAMING, framings(world, &whole, &marked), DEFECT),
    ];
    for (check, attempts, advice) in groups {
        let finding = none_arrives(world, &attempts, advice)?;
        report.add(check, Some(subject), finding);
        world.clear()?;
    }
    Ok(())
}

/// Sends each and looks at what arrived. Parking is no failure: a person would see it.
fn none_arrives(world: &World<'_>, attempts: &[Attempt], advice: &str) -> anyhow::Result<Finding> {
    if attempts.is_empty() {
        return Ok(Finding::not_applicable("the call has no body to write differently"));
    }
    for (what, bytes) in attempts {
        let before = world.recorder.count();
        // A connection that is closed without an answer is a refusal too.
        let answer = exchange(world.gateway.proxy, bytes).unwrap_or_default();
        if world.recorder.count() > before {
            let happened = format!("{what}: it arrived at the upstream, and was answered {}", answer.shown());
            return Ok(Finding::fail("nothing arrives at the upstream", happened, advice));
        }
    }
    Ok(Finding::pass(format!("{} attempts", attempts.len())))
}

fn bodies(world: &World<'_>, whole: &Request) -> Vec<Attempt> {
    let Some(text) = whole.body.as_ref().and_then(|body| String::from_utf8(body.clone()).ok()) else {
        return Vec::new();
    };
    let Some(inside) = text.trim_start().strip_prefix('{') else { return Vec::new() };
    let first = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text).unwrap_or_default();
    let key = first.keys().next().cloned().unwrap_or_default();
    let named = if key.is_empty() { "a" } else { key.as_str() };
    let comma = if first.is_empty() { "" } else { "," };
    let (plain, loud) = (serde_json::Value::from(named), serde_json::Value::from(named.to_uppercase()));
    let escaped: String = named.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect();
    let mut written = vec![
        ("a duplicate key", format!("{{{plain}:0,{plain}:1{comma}{inside}")),
        ("a duplicate key through escapes", format!("{{\"{escaped}\":0,{plain}:1{comma}{inside}")),
        ("a batch of one", format!("[{text}]")),
        ("a second document behind it", format!("{text}{{}}")),
        ("a comment", format!("/* x */{text}")),
        ("a comma at the end", format!("{{{}", inside.replacen('}', ",}", 1))),
        ("a byte order mark", format!("\u{feff}{text}")),
        ("a string in place of the object", serde_json::Value::from(text.as_str()).to_string()),
    ];
    if named.to_uppercase() != *named {
        let quiet = if first.is_empty() { format!("{plain}:1}}") } else { inside.to_owned() };
        written.push(("a key in another case beside it", format!("{{{loud}:0,{quiet}")));
    }
    written
        .into_iter()
        .map(|(what, body)| {
            let request = Request { body: Some(body.into_bytes()), ..whole.clone() };
            (what.to_owned(), request.bytes(world.gateway.proxy))
        })
        .collect()
}

fn encodings(world: &World<'_>, whole: &Request) -> Vec<Attempt> {
    let Some(body) = &whole.body else { return Vec::new() };
    let typed = |value: Option<&str>| {
        let headers = whole.headers.iter().filter(|(name, _)| name != "content-type").cloned();
        let request = Request { headers: headers.collect(), ..whole.clone() };
        value.map_or(request.clone(), |value| request.header("content-type", value))
    };
    let wide: Vec<u8> = String::from_utf8_lossy(body).encode_utf16().flat_map(u16::to_be_bytes).collect();
    let mut broken = body.clone();
    broken.push(0xff);
    let attempts = [
        ("no Content-Type", typed(None)),
        ("text/plain", typed(Some("text/plain"))),
        ("a form", typed(Some("application/x-www-form-urlencoded"))),
        ("another charset", typed(Some("application/json; charset=utf-16"))),
        ("UTF-16", Request { body: Some(wide), ..whole.clone() }),
        ("a byte that is no UTF-8", Request { body: Some(broken), ..whole.clone() }),
        ("Content-Encoding: gzip", whole.clone().header("content-encoding", "gzip")),
        ("two codings", whole.clone().header("content-encoding", "gzip, deflate")),
    ];
    attempts.into_iter().map(|(what, request)| (what.to_owned(), request.bytes(world.gateway.proxy))).collect()
}

fn paths(world: &World<'_>, whole: &Request) -> Vec<Attempt> {
    let target = whole.target.as_str();
    let (path, query) =
        target.split_once('?').map_or((target, String::new()), |(path, query)| (path, format!("?{query}")));
    let last = path.rfind('/').unwrap_or(0);
    let (folder, leaf) = path.split_at(last);
    let leaf = leaf.trim_start_matches('/');
    let written = [
        ("two slashes", format!("/{path}{query}")),
        ("a dot segment", format!("/.{path}{query}")),
        ("a parent segment", format!("{folder}/x/../{leaf}{query}")),
        ("an encoded parent segment", format!("{folder}/x/%2e%2e/{leaf}{query}")),
        ("an encoded slash", format!("{folder}%2f{leaf}{query}")),
        ("an encoded backslash", format!("{folder}%5c{leaf}{query}")),
        ("a double encoding", format!("{folder}/%252e%252e/{leaf}{query}")),
        ("a path parameter", format!("{path};x=1{query}")),
        ("an encoded NUL", format!("{path}%00{query}")),
        ("a fragment", format!("{target}#x")),
        ("a broken escape", format!("{path}%zz{query}")),
        ("another host", format!("http://elsewhere.invalid{target}")),
    ];
    written
        .into_iter()
        .map(|(what, target)| (what.to_owned(), Request { target, ..whole.clone() }.bytes(world.gateway.proxy)))
        .collect()
}

fn framings(world: &World<'_>, whole: &Request, sample: &Sample) -> Vec<Attempt> {
    let proxy = world.gateway.proxy;
    // Ended as its coding says, so that nobody waits for the rest.
    let coded = |coding: &str| {
        let body = whole.body.as_deref().unwrap_or_default();
        let mut chunked = if body.is_empty() { Vec::new() } else { format!("{:x}\r\n", body.len()).into_bytes() };
        chunked.extend(body);
        chunked.extend_from_slice(if body.is_empty() { b"0\r\n\r\n" } else { b"\r\n0\r\n\r\n" });
        let request = Request { body: Some(chunked), ..whole.clone() };
        request.header("transfer-encoding", coding).bytes(proxy)
    };
    let lower = Request { method: whole.method.to_lowercase(), ..whole.clone() };
    let mut attempts = vec![
        ("a method in lower case".to_owned(), lower.bytes(proxy)),
        ("a coding and a length".to_owned(), coded("chunked")),
        ("a doubled coding".to_owned(), coded("gzip, chunked")),
        (
            "two lengths".to_owned(),
            whole.clone().header("content-length", "1").header("content-length", "2").bytes(proxy),
        ),
        ("two hosts".to_owned(), whole.clone().header("host", "a").header("host", "b").bytes(proxy)),
    ];
    if let How::Http { target, headers, .. } = &sample.how {
        let how = How::Http { method: "GET".to_owned(), target: target.clone(), headers: headers.clone() };
        let get = Sample { how, args: None, ..sample.clone() };
        let allowed = get.judge(world.config, world.policy);
        // A GET that may pass by another rule may pass.
        if allowed.is_some_and(|judged| matches!(judged.kind, VerdictKind::Blocked | VerdictKind::WaitingForApproval)) {
            let get = Request { method: "GET".to_owned(), ..whole.clone() };
            attempts.push(("GET in place of the method".to_owned(), get.bytes(proxy)));
        }
    }
    attempts
}
