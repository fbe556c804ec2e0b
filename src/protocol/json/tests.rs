//! What the reader accepts, what it refuses and with which code, and what refusing costs.

use super::{JsonError, Limits, confusable_with, folded, read};
use crate::domain::value::Value;
use std::time::Duration;

/// CPU that any hostile body may cost; a debug build is given ten times as much.
const REFUSAL_COST_MAX: Duration = Duration::from_millis(if cfg!(debug_assertions) { 500 } else { 50 });

fn read_default(body: &[u8]) -> Result<Value<'_>, JsonError> {
    read(body, &Limits::default())
}

/// Each body is refused with `code`.
#[track_caller]
fn check_refused(code: &str, bodies: &[&[u8]]) {
    for body in bodies {
        let shown = String::from_utf8_lossy(body);
        match read_default(body) {
            Ok(value) => panic!("accepted {shown:?} as {value:?}"),
            Err(error) => assert_eq!(error.code(), code, "{shown:?}: {error}"),
        }
    }
}

#[track_caller]
fn check_accepted(bodies: &[&str]) {
    for body in bodies {
        if let Err(error) = read_default(body.as_bytes()) {
            panic!("refused {body:?}: {error}");
        }
    }
}

#[test]
fn a_call_reads_as_written() {
    let body = br#" {"name":"refund","arguments":{"amount":1e2,"big":9007199254740993,"note":"a\u00e9\n\ud83d\ude00","ok":[true,null]}} "#;
    let value = read_default(body).expect("a plain body");
    let arguments = value.member("arguments").expect("arguments");
    let Some(Value::Number(amount)) = arguments.member("amount") else { panic!("no amount in {value:?}") };
    assert_eq!(amount.as_str(), "1e2");
    let Some(Value::Number(big)) = arguments.member("big") else { panic!("no big in {value:?}") };
    assert_eq!(big.as_str(), "9007199254740993");
    assert_eq!(arguments.member("note"), Some(&Value::String("aé\n😀".into())));
    assert_eq!(arguments.member("ok"), Some(&Value::Array(vec![Value::Bool(true), Value::Null])));
}

#[test]
fn plain_documents_of_every_kind_are_accepted() {
    check_accepted(&[
        "null",
        "true",
        " false\n",
        "0",
        "-0",
        "-0.0",
        "1.5E+10",
        "1e-7",
        "123456789012345678901234567890",
        "\"\"",
        "\"\\u0000\"",
        "[]",
        "{}",
        "[[],{}]",
        r#"{"":1}"#,
        r#"{"a b":1,"a_b":2,"ab":3}"#,
        r#"{"é":1,"e":2}"#,
        r#"{"❤️":3}"#,
        r#"{"金額":1,"通貨":"円"}"#,
        r#"{"a":{"a":{"a":1}}}"#,
        r#"[{"a":1},{"A":1}]"#,
        "1.7e308",
        "5e-324",
        "0e0",
        "0.00e400",
        "\t[ 1 ,\r\n 2 ]",
    ]);
}

#[test]
fn equal_keys_are_refused_at_any_depth_and_through_escapes() {
    check_refused(
        "duplicate_key",
        &[
            br#"{"name":1,"name":1}"#,
            br#"{"name":1,"n\u0061me":2}"#,
            br#"{"a":[{"b":{"c":1,"d":2,"c":3}}]}"#,
            br#"{"":1,"":2}"#,
            "{\"é\":1,\"\\u00e9\":2}".as_bytes(),
            br#"{"\ud83d\ude00":1,"a":2,"\uD83D\uDE00":3}"#,
        ],
    );
}

#[test]
fn keys_that_fold_together_are_refused() {
    check_refused(
        "confusable_key",
        &[
            br#"{"name":1,"Name":2}"#,
            br#"{"METHOD":1,"method":2}"#,
            r#"{"params":1,"paramſ":2}"#.as_bytes(),
            "{\"K\":1,\"k\":2}".as_bytes(),
            r#"{"name":1,"ｎａｍｅ":2}"#.as_bytes(),
            r#"{"ﬁle":1,"file":2}"#.as_bytes(),
            r#"{"straße":1,"STRASSE":2}"#.as_bytes(),
            r#"{"STRAẞE":1,"strasse":2}"#.as_bytes(),
            "{\"\u{e9}\":1,\"e\u{301}\":2}".as_bytes(),
            r#"{"σας":1,"ΣΑΣ":2}"#.as_bytes(),
            "{\"a\u{a0}b\":1,\"a b\":2}".as_bytes(),
            "{\"amount\u{fe0f}\":1,\"amount\":2}".as_bytes(),
            r#"{"id":1,"ıd":2}"#.as_bytes(),
            br#"{"x":[{"Amount":1,"aMount":2}]}"#,
        ],
    );
}

#[test]
fn keys_with_hidden_characters_or_padding_are_refused() {
    check_refused(
        "confusable_key",
        &[
            br#"{"name\u0000":1}"#,
            br#"{"na\u0008me":1}"#,
            b"{\"name\x7f\":1}",
            br#"{"name ":1}"#,
            br#"{" name":1}"#,
            br#"{"name\u200b":1}"#,
            br#"{"na\u00adme":1}"#,
            br#"{"\ufeffname":1}"#,
            br#"{"na\u202eme":1}"#,
            br#"{"name\u3000":1}"#,
            br#"{"name\u00a0":1}"#,
            br#"{"na\u2028me":1}"#,
            br#"{"na\u3164me":1}"#,
            br#"{"na\u0085me":1}"#,
            br#"{"na\udb40\udc61me":1}"#,
        ],
    );
}

const NOT_ONE_DOCUMENT: &[&[u8]] = &[
    b"",
    b" \n",
    b"{",
    b"[",
    b"\"",
    b"\"a",
    b"\"\\",
    b"\"\\u12",
    b"tru",
    b"nullx",
    b"True",
    b"{}{}",
    b"1 2",
    b"[1,]",
    b"{\"a\":1,}",
    b"[,1]",
    b"[1,,2]",
    b"{,}",
    b"[1 2]",
    b"{\"a\" 1}",
    b"{\"a\":}",
    b"{a:1}",
    b"{'a':1}",
    b"{1:2}",
    b"[1}",
    b"{\"a\":1]",
    b"\xEF\xBB\xBF{}",
    b"/*x*/1",
    b"1//x",
    b"[1/*x*/]",
    b"{\"a\"/**/:1}",
    b"{/**/}",
    b"NaN",
    b"Infinity",
    b"-Infinity",
    b"-",
    b"+1",
    b"01",
    b"-01",
    b"00",
    b"1.",
    b".5",
    b"1.e1",
    b"1e",
    b"1e+",
    b"0x10",
    b"1_000",
    b"1.2.3",
    b"--1",
    b"1e400",
    b"-1e400",
    b"1e309",
    b"1e-400",
    b"1e99999999999",
    b"0e99999999999",
    b"\"a\nb\"",
    b"\"a\x00b\"",
    b"\"a\x1fb\"",
    b"\"\\u0041\t\"",
    b"\"\\x41\"",
    b"\"\\U0041\"",
    b"\"\\u00g0\"",
    b"\"\\u+041\"",
    b"\"\\ud800\"",
    b"\"\\udc00\"",
    b"\"\\ud800\\u0041\"",
    b"\"\\ud800x\"",
    b"\"\\udc00\\ud800\"",
    b"\"\xff\"",
    b"\"\xc0\xaf\"",
    b"\"\xed\xa0\x80\"",
    b"\"\xf5\x80\x80\x80\"",
    b"\xff\xfe{\0}\0",
    b"{\0}\0",
    b"\0{\0}",
    b"{\"a\":1}\0",
    b"\x0c1",
    b"\xc2\xa01",
];

#[test]
fn whatever_is_not_one_json_document_is_refused() {
    check_refused("bad_json", NOT_ONE_DOCUMENT);
}

#[test]
fn faults_name_their_place() {
    let check = |body: &str, offset: usize, path: &str| {
        let error = read_default(body.as_bytes()).expect_err(body);
        assert_eq!((error.offset, error.path.as_str()), (offset, path), "{body}: {error}");
    };
    check(r#"{"a":{"b":[0,1,x]}}"#, 15, "/a/b/2");
    check(r#"{"a":{"b":1,"b":2}}"#, 12, "/a");
    check(r#"{"a/b~c":[01]}"#, 10, "/a~1b~0c/0");
    check(r#"{"a":1,}"#, 7, "");
    check("[1] x", 4, "");
    let error = read_default(br#"{"a":{"b":1,"b":2}}"#).expect_err("a duplicate");
    assert_eq!(error.to_string(), "byte 12 at /a: the key \"b\" appears twice in one object; send it once");
}

#[test]
fn faults_quote_little_and_nothing_invisible() {
    let body = format!("{{\"{0}\":{{\"x\\u001b\\u202e\":1}}}}", "k".repeat(500));
    let error = read_default(body.as_bytes()).expect_err("a hidden character").to_string();
    assert!(error.len() < 400, "{error}");
    assert!(error.bytes().all(|byte| (0x20..0x7f).contains(&byte) || byte >= 0x80), "{error:?}");
    assert!(!error.contains('\u{202e}'), "{error:?}");
}

/// `body` is accepted with one unit more than the limit, and refused with `code` at it.
#[track_caller]
fn check_boundary(body: &str, code: &str, at: &Limits, beyond: &Limits) {
    read(body.as_bytes(), beyond).expect("within the limit");
    assert_eq!(read(body.as_bytes(), at).expect_err("beyond the limit").code(), code);
}

#[test]
fn every_limit_refuses_one_beyond_it_and_nothing_before() {
    let base = Limits::default();
    let limits = |change: fn(&mut Limits, usize), amount| {
        let mut limits = base.clone();
        change(&mut limits, amount);
        limits
    };
    let check = |body: &str, code: &str, needed: usize, change: fn(&mut Limits, usize)| {
        check_boundary(body, code, &limits(change, needed - 1), &limits(change, needed));
    };
    check("[[{}]]", "too_deep", 3, |limits, n| limits.depth = u8::try_from(n).expect("small"));
    check("[1,{\"a\":2}]", "too_large", 4, |limits, n| limits.nodes = n);
    check(r#"{"abc":1}"#, "too_large", 3, |limits, n| limits.key_bytes = n);
    check(r#"["abcd"]"#, "too_large", 4, |limits, n| limits.string_bytes = n);
    check(r#"["a\nbc"]"#, "too_large", 5, |limits, n| limits.string_bytes = n);
    check("-12.5e10", "too_large", 8, |limits, n| limits.number_chars = n);
    check("1e12", "bad_json", 12, |limits, n| limits.exponent = u32::try_from(n).expect("small"));
    check("[1, 2]", "too_large", 6, |limits, n| limits.body_bytes = n);
    check(r#"{"金額":1}"#, "too_large", 2, |limits, n| limits.folded_chars = n);
    let long = format!("1{}", "0".repeat(309));
    let wide = Limits { number_chars: 1000, ..base.clone() };
    assert_eq!(read(long.as_bytes(), &wide).expect_err("no double holds it").code(), "bad_json");
}

#[test]
fn large_objects_find_twins_among_many_keys() {
    let object = |last: &str| {
        let members: Vec<String> = (0..2000).map(|index| format!("\"key{index}\":{index}")).collect();
        format!("{{{},\"{last}\":0}}", members.join(","))
    };
    assert!(read_default(object("other").as_bytes()).is_ok());
    for (last, code) in [
        ("key3", "duplicate_key"),
        ("key1999", "duplicate_key"),
        ("KEY1500", "confusable_key"),
        ("ｋｅｙ7", "confusable_key"),
    ] {
        assert_eq!(read_default(object(last).as_bytes()).expect_err(last).code(), code, "{last}");
    }
}

/// CPU time of this thread so far; wall time where the system does not tell.
#[expect(clippy::disallowed_methods, reason = "the cost of refusing is what this measures")]
fn thread_time(since: std::time::Instant) -> Duration {
    std::fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|fields| fields.split(' ').next()?.parse().ok())
        .map_or_else(|| since.elapsed(), Duration::from_nanos)
}

/// Refuses within the time allowed; the best of a few runs, because the machine is shared.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "the cost of refusing is what this measures")]
fn check_cheap(what: &str, body: &[u8], limits: &Limits, code: &str) {
    let start = std::time::Instant::now();
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let before = thread_time(start);
        let error = read(body, limits).expect_err(what);
        best = best.min(thread_time(start).saturating_sub(before));
        assert_eq!(error.code(), code, "{what}: {error}");
    }
    assert!(best <= REFUSAL_COST_MAX, "{what} took {best:?}");
}

#[test]
fn hostile_sizes_are_refused_cheaply() {
    let large = Limits { body_bytes: 256 << 20, ..Limits::default() };
    check_cheap("arrays 100 000 deep", "[".repeat(100_000).as_bytes(), &large, "too_deep");
    check_cheap("objects 100 000 deep", "{\"a\":".repeat(100_000).as_bytes(), &large, "too_deep");
    let members: Vec<String> = (0..1_000_000).map(|index| format!("\"k{index}\":0")).collect();
    check_cheap("a million keys", format!("{{{}}}", members.join(",")).as_bytes(), &large, "too_large");
    let text = format!("\"{}\"", "a".repeat(100_000_000));
    check_cheap("a 100 MB string", text.as_bytes(), &Limits::default(), "too_large");
    let digits = "1".repeat(10_000_000);
    check_cheap("a number of 10 million digits", digits.as_bytes(), &large, "too_large");
    let zeros = format!("1e{}", "0".repeat(10_000_000));
    check_cheap("an exponent of 10 million digits", zeros.as_bytes(), &large, "too_large");
    let elements = format!("[{}]", "0,".repeat(1_000_000));
    check_cheap("a million elements", elements.as_bytes(), &large, "too_large");
    // Each of these characters folds to eighteen.
    let folds: Vec<String> = (0..1000).map(|index| format!("\"{}{index}\":0", "\u{FDFA}".repeat(300))).collect();
    check_cheap(
        "keys that grow when folded",
        format!("{{{}}}", folds.join(",")).as_bytes(),
        &Limits::default(),
        "too_large",
    );
}

#[test]
fn folding_agrees_with_every_case_pair_of_unicode_and_is_stable() {
    // Planes 0 and 1: no character beyond them has case.
    for character in char::MIN..='\u{1FFFF}' {
        let text = character.to_string();
        let fold = folded(&text).into_owned();
        let variants = [text.to_lowercase(), text.to_uppercase(), fold.clone()];
        for variant in variants.into_iter().filter(|variant| *variant != text) {
            assert_eq!(folded(&variant), fold, "{character:?} and {variant:?}");
        }
    }
}

#[test]
fn variants_of_reserved_names_are_recognised() {
    for variant in ["Name", "NAME", "ｎame", "name\u{fe0f}"] {
        assert!(confusable_with(variant, "name"), "{variant}");
    }
    assert!(confusable_with("param\u{17f}", "params") && confusable_with("to\u{212a}en", "token"));
    for other in ["name", "names", "nam", "n\u{430}me", ""] {
        assert!(!confusable_with(other, "name"), "{other}");
    }
}
