//! Request targets: what is accepted has one meaning, is passed on as it is, and leads to the template that any server would take.
//!
//! The first line of an input is a target, each further line a method and a template.

use holdpoint::protocol::target::{Lookup, PathTemplate, RequestTarget, TARGET_BYTES_MAX, TargetError, TemplateSet};

/// Templates of one input.
const TEMPLATES_MAX: usize = 32;
const METHODS: [&str; 3] = ["GET", "POST", "DELETE"];

/// Checks one target, and which of the templates it leads to.
pub(crate) fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.split('\n');
    let raw = lines.next().unwrap_or_default();
    match RequestTarget::parse(raw) {
        Ok(target) => {
            check_accepted(raw, &target);
            check_templates(&target, lines.take(TEMPLATES_MAX));
        }
        Err(error) => check_refused(raw, error),
    }
}

/// What must hold of every target that was accepted.
pub(crate) fn check_accepted(raw: &str, target: &RequestTarget) {
    assert_eq!((target.as_str(), RequestTarget::parse(target.as_str()).as_ref()), (raw, Ok(target)));
    assert!(raw.len() <= TARGET_BYTES_MAX);
    let (path, query) = raw.split_once('?').map_or((raw, None), |(path, query)| (path, Some(query)));
    assert_eq!((target.path(), target.query()), (path, query));
    check_path(path, target);
    let form: Vec<(String, String)> =
        form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect();
    let ours: Vec<(String, String)> =
        target.query_pairs().iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    assert_eq!(ours, form, "a query is read differently");
    assert_eq!(target.query_pairs().is_empty(), form.is_empty());
    for (name, value) in &form {
        assert!(!name.contains('\0') && !value.contains('\0'));
        let all: Vec<&String> = form.iter().filter(|(other, _)| other == name).map(|(_, value)| value).collect();
        match target.query_pairs().single(name) {
            Ok(value) => assert_eq!(value.map(str::to_owned).as_ref(), all.first().copied().filter(|_| all.len() == 1)),
            Err(_) => assert!(all.len() > 1, "`{name}` came once"),
        }
    }
    if let Ok(uri) = raw.parse::<http::uri::PathAndQuery>() {
        assert_eq!(uri.as_str(), raw, "the library would send another target");
    }
    for (at, _) in raw.match_indices('/').filter(|(at, _)| *at < path.len()) {
        assert_eq!(target.clone().below(at), RequestTarget::parse(&raw[at..]).map_err(|_| target.clone()));
    }
    assert_eq!(Ok(target.clone().at_root()), RequestTarget::parse(&format!("/{}", &raw[path.len()..])));
}

/// One spelling, and one meaning however often it is decoded.
fn check_path(path: &str, target: &RequestTarget) {
    assert!(path.starts_with('/') && !path.contains("//") && !path.contains(['\\', ';', '#']));
    let legal = |byte: u8| byte.is_ascii_graphic();
    assert!(path.bytes().all(legal), "{path:?}");
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let digits = std::str::from_utf8(&after[..2]).expect("two digits follow");
        assert!(digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'A'..=b'F')), "%{digits}");
        let byte = u8::from_str_radix(digits, 16).expect("hexadecimal");
        assert!(
            !byte.is_ascii_alphanumeric() && !b"-._~/\\%;".contains(&byte) && !byte.is_ascii_control(),
            "%{digits}"
        );
        bytes.push(byte);
        rest = &after[2..];
    }
    let decoded = String::from_utf8(bytes).expect("escapes make text");
    assert_eq!(target.decoded_path(), decoded);
    assert!(!decoded.contains('%'), "decoding twice means something else");
    assert!(!decoded.chars().any(char::is_control));
    let segments: Vec<&str> = decoded[1..].split('/').collect();
    assert_eq!(target.segments(), segments);
    assert!(segments.iter().all(|segment| !matches!(*segment, "." | "..")), "{decoded}");
    assert!(segments[..segments.len() - 1].iter().all(|segment| !segment.is_empty()), "{decoded}");
}

fn check_refused(raw: &str, error: TargetError) {
    assert!(["path", "query", "target_too_long"].contains(&error.code()) && !error.to_string().is_empty());
    // A path of letters, digits and slashes has nothing in it to refuse.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_');
    let harmless = raw.starts_with('/') && !raw.contains("//") && raw.bytes().all(plain);
    assert!(!harmless || raw.len() > TARGET_BYTES_MAX, "{error}: {raw}");
}

fn check_templates<'t>(target: &RequestTarget, lines: impl Iterator<Item = &'t str>) {
    let parsed: Vec<(&str, PathTemplate)> = lines
        .filter_map(|line| line.split_once(' '))
        .filter(|(method, _)| METHODS.contains(method))
        .filter_map(|(method, template)| Some((method, PathTemplate::parse(template).ok()?)))
        .collect();
    let Ok(set) = TemplateSet::new(parsed.iter().map(|(method, template)| (*method, template))) else { return };
    for method in METHODS {
        let of_method = || parsed.iter().enumerate().filter(move |(_, (other, _))| *other == method);
        let close = |template: &PathTemplate| template.matches(target) || template.matches_loosely(target);
        match set.find(method, target) {
            Lookup::Exact(at) => {
                assert_eq!(parsed[at].0, method);
                assert!(parsed[at].1.matches(target), "{target:?} leads to {:?}", parsed[at]);
            }
            Lookup::Near(at) => assert!(parsed[at].0 == method && close(&parsed[at].1), "{target:?}: {:?}", parsed[at]),
            Lookup::None => {
                let missed = of_method().find(|(_, (_, template))| close(template));
                assert!(missed.is_none(), "{target:?} does not lead to {missed:?}");
            }
        }
    }
    for (_, template) in &parsed {
        let captured = template.capture(target).unwrap_or_default();
        assert!(captured.iter().all(|(_, text)| !text.is_empty() && !text.contains('/')));
        assert!(!(template.matches(target) && template.matches_loosely(target)));
    }
}
