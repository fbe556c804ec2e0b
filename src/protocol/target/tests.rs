//! Which spellings of a target are accepted, and what they mean.

use super::{Lookup, PathTemplate, RequestTarget, TemplateError, TemplateSet};
use proptest::prelude::any;
use proptest::{prop_assert, prop_assert_eq, proptest};

fn target(raw: &str) -> RequestTarget {
    RequestTarget::parse(raw).unwrap_or_else(|error| panic!("{raw:?}: {error}"))
}

fn template(text: &str) -> PathTemplate {
    PathTemplate::parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

#[test]
fn the_one_spelling_of_a_path_is_kept_as_it_is() {
    let check = |raw: &str, segments: &[&str]| {
        let target = target(raw);
        assert_eq!(target.as_str(), raw);
        assert_eq!(target.segments(), segments, "{raw}");
    };
    check("/", &[""]);
    check("/refunds", &["refunds"]);
    check("/a/", &["a", ""]);
    check("/a/b.c/..d/...", &["a", "b.c", "..d", "..."]);
    check("/caf%C3%A9/a%20b", &["café", "a b"]);
    check("/u/al%40x/al@x", &["u", "al@x", "al@x"]);
    check("/~a-b_c!$&'()*+,=:@", &["~a-b_c!$&'()*+,=:@"]);
    check("/a%3Fb%23", &["a?b#"]);
    assert_eq!(target("/caf%C3%A9/a%20b?x=/../%2e").decoded_path(), "/café/a b");
}

#[test]
fn what_is_left_below_a_slash_is_what_parsing_it_gives() {
    for raw in ["/", "/a", "/a/", "/a/b%20c/d/?x=/1&y", "/caf%C3%A9/x%3Fy?", "/a/b?q=/"] {
        let whole = target(raw);
        for start in 0..=raw.len() {
            let expected =
                whole.path().get(start..).filter(|rest| rest.starts_with('/')).map(|_| target(&raw[start..]));
            assert_eq!(whole.clone().below(start).ok(), expected, "{raw} from {start}");
        }
        let query = whole.query().map_or_else(String::new, |query| format!("?{query}"));
        assert_eq!(whole.at_root(), target(&format!("/{query}")), "{raw}");
    }
}

const AMBIGUOUS_PATHS: &[&str] = &[
    "",
    "refunds",
    "*",
    "http://x/",
    "?a=1",
    "//",
    "//x",
    "/a//b",
    "/a/b//",
    "/.",
    "/..",
    "/./x",
    "/a/.",
    "/a/../x",
    "/a/..",
    "/a;b",
    "/a;jsessionid=1/b",
    "/a\\b",
    "/\\..\\x",
    "/%2e",
    "/%2E%2E/x",
    "/a/%2e%2e/x",
    "/.%2E/x",
    "/a%2fb",
    "/a%2Fb",
    "/a%5cb",
    "/a%5Cb",
    "/a%252fb",
    "/%25",
    "/a%00",
    "/a%3b",
    "/a%3Bb",
    "/a%0A",
    "/a%0D%0Ab",
    "/a%1F",
    "/a%7F",
    "/a%C2%85",
    "/%61",
    "/%7Eu",
    "/a%2Db",
    "/caf%c3%a9",
    "/a%3f",
    "/%zz",
    "/%",
    "/a%2",
    "/a%+1",
    "/%C0%AF",
    "/%E0%80%AF",
    "/%ED%A0%80",
    "/%FF",
    "/%C3/%A9",
    "/café",
    "/a b",
    "/a\tb",
    "/a\r\nb",
    "/a\0",
    "/a\x7f",
    "/a\"b",
    "/a<b>",
    "/a[1]",
    "/a{b}",
    "/a|b",
    "/a^b",
    "/a`b",
    "/a#b",
    "/a?b#c",
    "/#",
];

#[test]
fn paths_that_servers_could_read_differently_are_refused() {
    for raw in AMBIGUOUS_PATHS {
        let error = RequestTarget::parse(raw).expect_err(raw);
        assert_eq!(error.code(), "path", "{raw:?}: {error}");
    }
}

#[test]
fn a_target_as_long_as_the_limit_is_the_longest() {
    let fits = format!("/{}", "a".repeat(super::TARGET_BYTES_MAX - 1));
    assert!(RequestTarget::parse(&fits).is_ok());
    assert_eq!(RequestTarget::parse(&(fits + "a")).expect_err("too long").code(), "target_too_long");
}

#[test]
fn a_query_is_kept_and_its_pairs_decoded() {
    let target = target("/a?x=1&y=a+b%20c%2F&z&=v&&caf%c3%a9=%C3%A9&w=a=b?/[1]");
    assert_eq!(target.query(), Some("x=1&y=a+b%20c%2F&z&=v&&caf%c3%a9=%C3%A9&w=a=b?/[1]"));
    let pairs: Vec<_> = target.query_pairs().iter().collect();
    assert_eq!(pairs, [("x", "1"), ("y", "a b c/"), ("z", ""), ("", "v"), ("café", "é"), ("w", "a=b?/[1]")]);
    assert_eq!(self::target("/a").query(), None);
    assert_eq!(self::target("/a?").query(), Some(""));
    assert!(self::target("/a?").query_pairs().is_empty());
}

#[test]
fn a_parameter_sent_twice_or_in_another_case_is_visible() {
    let target = target("/a?id=1&n%61me=a&name=b&Amount=2");
    let pairs = target.query_pairs();
    assert_eq!(pairs.single("id"), Ok(Some("1")));
    assert_eq!(pairs.single("none"), Ok(None));
    assert_eq!(pairs.single("name").expect_err("twice").name, "name");
    assert_eq!(pairs.variant_of("amount"), Some("Amount"));
    assert_eq!(pairs.variant_of("id"), None);
}

#[test]
fn queries_that_servers_could_read_differently_are_refused() {
    for raw in [
        "/?a=%",
        "/?a=%z1",
        "/?%2",
        "/?a=%00",
        "/?a=%FF",
        "/?%C0%AF=1",
        "/?a=1;b=2",
        "/?a=é",
        "/?a b",
        "/?a=\0",
        "/?a\n",
        "/?\"",
        "/?a=<b>",
    ] {
        let error = RequestTarget::parse(raw).expect_err(raw);
        assert_eq!(error.code(), "query", "{raw:?}: {error}");
    }
}

#[test]
fn a_template_matches_whole_segments() {
    let check = |text: &str, raw: &str, exact: bool, loose: bool| {
        let (template, target) = (template(text), target(raw));
        assert_eq!((template.matches(&target), template.matches_loosely(&target)), (exact, loose), "{text} {raw}");
    };
    check("/customers/{id}", "/customers/7", true, false);
    check("/customers/{id}", "/customers/a%20b", true, false);
    check("/customers/{id}", "/customers/", false, false);
    check("/customers/{id}", "/customers/7/x", false, false);
    check("/customers/{id}", "/Customers/7", false, true);
    check("/customers/{id}", "/customers/7/", false, true);
    check("/customers/{id}", "/customer%C5%BF/7", false, true);
    check("/refunds", "/refunds", true, false);
    check("/refunds", "/REFUNDS/", false, true);
    check("/refunds/", "/refunds", false, true);
    check("/refunds", "/refund", false, false);
    check("/", "/", true, false);
    check("/@me", "/%40me", true, false);
    let captured = template("/a/{b}/{c}");
    assert_eq!(captured.capture(&target("/a/1/caf%C3%A9")), Some(vec![("b", "1"), ("c", "café")]));
}

#[test]
fn templates_that_cannot_work_do_not_load() {
    for text in [
        "", "a", "/a//b", "/../a", "/{", "/{}", "/{a}b", "/x{a}", "/{a-b}", "/{a}/{a}", "/a?b", "/%61", "/a b",
        "/{{a}}", "/a}",
    ] {
        assert!(PathTemplate::parse(text).is_err(), "{text:?}");
    }
    assert!(PathTemplate::parse(&"/a".repeat(64)).is_ok());
    assert_eq!(PathTemplate::parse(&"/a".repeat(65)), Err(TemplateError::Shape));
}

#[test]
fn a_set_finds_the_most_literal_template_and_reports_near_misses() {
    let texts = ["/users/{id}", "/users/me", "/users/{id}/posts", "/users/{id}", "/{kind}/all", "/"];
    let templates: Vec<PathTemplate> = texts.map(template).to_vec();
    let methods = ["GET", "GET", "GET", "DELETE", "GET", "GET"];
    let set = TemplateSet::new(methods.into_iter().zip(&templates)).expect("no two alike");
    let check = |method: &str, raw: &str, expected: Lookup| {
        assert_eq!(set.find(method, &target(raw)), expected, "{method} {raw}");
    };
    check("GET", "/users/7", Lookup::Exact(0));
    check("GET", "/users/me", Lookup::Exact(1));
    check("DELETE", "/users/me", Lookup::Exact(3));
    check("GET", "/users/7/posts", Lookup::Exact(2));
    check("GET", "/users/all", Lookup::Exact(0));
    check("GET", "/items/all", Lookup::Exact(4));
    check("GET", "/", Lookup::Exact(5));
    check("GET", "/Users/7", Lookup::Near(0));
    check("GET", "/users/7/", Lookup::Near(0));
    check("GET", "/users/Me", Lookup::Near(1));
    check("GET", "/items/ALL", Lookup::Near(4));
    check("POST", "/Users/7", Lookup::None);
    check("GET", "/users", Lookup::None);
    check("GET", "/users/", Lookup::None);
    check("get", "/users/7", Lookup::None);
}

#[test]
fn templates_that_a_server_may_confuse_are_not_loaded_together() {
    let check = |a: &str, b: &str, confused: bool| {
        let (a, b) = (template(a), template(b));
        assert_eq!(TemplateSet::new([("GET", &a), ("GET", &b)]).is_err(), confused, "{a:?} {b:?}");
        assert!(TemplateSet::new([("GET", &a), ("PUT", &b)]).is_ok());
    };
    check("/a/{b}", "/a/{c}", true);
    check("/a", "/A", true);
    check("/a", "/a/", true);
    check("/a/{b}", "/a/b", false);
}

#[test]
fn whatever_is_accepted_can_be_forwarded_as_it_is() {
    for byte in 0..=u8::MAX {
        let character = char::from(byte);
        for raw in
            [format!("/{character}"), format!("/a?{character}"), format!("/%{byte:02X}"), format!("/?%{byte:02x}")]
        {
            if let Ok(target) = RequestTarget::parse(&raw) {
                let forwarded = http::uri::PathAndQuery::try_from(target.as_str()).expect(&raw);
                assert_eq!(forwarded.as_str(), raw);
            }
        }
    }
}

proptest! {
    /// Whatever is accepted has one reading: a server that resolves dots, merges slashes, cuts parameters, decodes once
    /// or twice finds the same segments.
    #[test]
    fn an_accepted_path_means_the_same_to_every_server(raw in "/([a-z./;%\\\\@]|%[0-9a-fA-F]{2}){0,12}") {
        if let Ok(target) = RequestTarget::parse(&raw) {
            let once = target.decoded_path();
            let twice = percent_encoding::percent_decode_str(&once).decode_utf8_lossy();
            prop_assert_eq!(&once, &twice);
            let resolved: Vec<&str> = once[1..].split('/').collect();
            prop_assert_eq!(target.segments(), &resolved);
            prop_assert!(!once.contains("//") && !once.contains([';', '\\']) && !once.chars().any(char::is_control));
            prop_assert!(resolved.iter().all(|segment| !matches!(*segment, "." | "..")));
        }
    }

    #[test]
    fn any_text_is_accepted_or_refused_without_panic(raw in any::<String>(), query in any::<String>()) {
        for raw in [format!("/{raw}"), format!("/{raw}?{query}"), format!("/?{query}"), raw] {
            if let Ok(target) = RequestTarget::parse(&raw) {
                prop_assert_eq!(target.as_str(), &raw);
                prop_assert!(http::uri::PathAndQuery::try_from(target.as_str()).is_ok(), "{raw:?} cannot be forwarded");
            }
            let _ = PathTemplate::parse(&raw);
        }
    }
}
