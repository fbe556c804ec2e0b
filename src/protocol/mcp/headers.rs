//! The protocol's own headers: never believed, only compared with the body.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName};

use super::META_VERSION;
use super::fault::{Fault, FaultKind};
use super::message::{Message, differs_only_in_case};
use super::revision::Revision;
use crate::domain::value::Value;

/// Names the revision.
pub const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// Names the session, up to 2025-11-25.
pub const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");

/// The revision of a request: the body's where it says one, else the header's, else the oldest.
///
/// # Errors
/// When header and body disagree, a header came twice, or the revision is none that the gateway knows.
pub fn check_version(headers: &HeaderMap, meta: Option<&Value<'_>>) -> Result<Revision, Fault> {
    let header = single(headers, &VERSION)?;
    let body = match meta.and_then(|meta| meta.member(META_VERSION)) {
        None => None,
        Some(Value::String(text)) => Some(text.as_ref()),
        Some(_) => return Err(Fault::new(FaultKind::Params, format!("`{META_VERSION}` must be a string"))),
    };
    let mismatch = |detail: &str| Fault::new(FaultKind::Header, detail);
    let text = match (header, body) {
        (None, None) => return Ok(Revision::March2025),
        (Some(header), Some(body)) if header == body => body,
        (_, Some(_)) => return Err(mismatch("`MCP-Protocol-Version` must equal the revision in `params._meta`")),
        (Some(header), None) => header,
    };
    let revision = Revision::parse(text).ok_or_else(|| {
        let known = Revision::ALL.map(Revision::as_str).join(", ");
        let fault = Fault::new(FaultKind::Version, format!("the revision is none of {known}"));
        Fault { requested: Some(text.to_owned()), ..fault }
    })?;
    match (revision.is_stateless(), body) {
        (true, None) => Err(mismatch("`params._meta` must name the revision as the header does")),
        _ => Ok(revision),
    }
}

/// Compares `Mcp-Method` and `Mcp-Name` with the body. They must be there on a stateless revision; wherever they are, they must not
/// say anything else.
///
/// # Errors
/// When one is missing, came twice, cannot be decoded, or differs.
pub fn check_names(headers: &HeaderMap, revision: Revision, method: &str, name: &str) -> Result<(), Fault> {
    if revision.is_stateless()
        && let Some(header) = [METHOD, NAME].into_iter().find(|header| !headers.contains_key(header))
    {
        return Err(Fault::new(FaultKind::Header, format!("`{header}` is missing; it must mirror the body")));
    }
    check_given_names(headers, method, name)
}

/// The same, for requests whose headers some clients leave out.
///
/// # Errors
/// When one came twice, cannot be decoded, or differs.
pub fn check_given_names(headers: &HeaderMap, method: &str, name: &str) -> Result<(), Fault> {
    check_mirror(headers, &METHOD, method)?;
    check_mirror(headers, &NAME, name)
}

/// Compares `Mcp-Method` with whatever message there is: a server that goes by its headers must not find a call where none was judged.
///
/// # Errors
/// When it came twice, cannot be decoded, or differs; on a response, when it is there at all.
pub fn check_method(headers: &HeaderMap, message: &Message<'_>) -> Result<(), Fault> {
    match message {
        Message::Request { id, method, .. } => {
            check_mirror(headers, &METHOD, method).map_err(|fault| fault.about(Some(id)))
        }
        Message::Notification { method, .. } => check_mirror(headers, &METHOD, method),
        Message::Response if headers.contains_key(METHOD) => {
            Err(Fault::new(FaultKind::Header, format!("`{METHOD}` is no header of a response")))
        }
        Message::Response => Ok(()),
    }
}

fn check_mirror(headers: &HeaderMap, header: &HeaderName, body: &str) -> Result<(), Fault> {
    let Some(value) = single(headers, header)? else { return Ok(()) };
    let value =
        decoded(value).ok_or_else(|| Fault::new(FaultKind::Header, format!("`{header}` is not well encoded")))?;
    if value == body {
        return Ok(());
    }
    let how = if differs_only_in_case(&value, body) { "differs in case from" } else { "is not" };
    Err(Fault::new(FaultKind::Header, format!("`{header}` {how} what the body says; it must mirror the body")))
}

fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, Fault> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => match value.to_str() {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(Fault::new(FaultKind::Header, format!("`{name}` must be visible ASCII"))),
        },
        (Some(_), Some(_)) => Err(Fault::new(FaultKind::Header, format!("`{name}` must come once"))),
    }
}

/// The value, out of its base64 form if it is in it.
fn decoded(value: &str) -> Option<String> {
    match value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")) {
        Some(text) => String::from_utf8(STANDARD.decode(text).ok()?).ok(),
        None => Some(value.to_owned()),
    }
}
