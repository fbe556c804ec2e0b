//! Conditions against calls: the typed form, the interpreter, and that both agree.

use proptest::prelude::*;

use super::*;
use crate::domain::policy::view::{Args, NoValues, Pairs};
use crate::domain::time::Timestamp;
use crate::domain::value::{Number, Value};

impl Condition {
    /// The same condition run by the interpreter alone.
    fn interpreted(source: &str) -> Self {
        let (expression, info) = Parser::default().parse_with_source_info(source).expect("a test condition");
        let mut walk = Walk::new(&info);
        walk.visit(&expression);
        let needs = walk.needs.clone();
        let predicate = Predicate::Interpreted(interpret::Interpreted { expression, needs });
        Self { source: source.into(), predicate, reads: walk.reads }
    }

    fn is_typed(&self) -> bool {
        fn typed(predicate: &Predicate) -> bool {
            match predicate {
                Predicate::Interpreted(_) => false,
                Predicate::And(left, right) | Predicate::Or(left, right) => typed(left) && typed(right),
                Predicate::Not(inner) => typed(inner),
                Predicate::If(branches) => branches.iter().all(typed),
                _ => true,
            }
        }
        typed(&self.predicate)
    }
}

/// A test value from JSON text, digits kept. Understands what these tests write, not all of JSON.
fn json(text: &str) -> Value<'static> {
    fn of(value: &serde_json::value::RawValue) -> Value<'static> {
        let text = value.get();
        match text.as_bytes()[0] {
            b'n' => Value::Null,
            b't' | b'f' => Value::Bool(text == "true"),
            b'"' => Value::String(serde_json::from_str::<String>(text).expect("a string").into()),
            b'[' => {
                let items: Vec<Box<serde_json::value::RawValue>> = serde_json::from_str(text).expect("an array");
                Value::Array(items.iter().map(|item| of(item)).collect())
            }
            b'{' => {
                let members: std::collections::BTreeMap<String, Box<serde_json::value::RawValue>> =
                    serde_json::from_str(text).expect("an object");
                Value::Object(members.iter().map(|(key, value)| (key.clone().into(), of(value))).collect())
            }
            _ => Value::Number(Number::from_checked(text.to_owned())),
        }
    }
    of(&serde_json::from_str::<Box<serde_json::value::RawValue>>(text).expect("test JSON"))
}

fn with_call<T>(args: Args<'_>, run: impl FnOnce(&CallView<'_>) -> T) -> T {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let query = Pairs::query(vec![pair("force", "true"), pair("twice", "1"), pair("twice", "2")]);
    let headers = Pairs::headers(vec![pair("X-Team", "blue")]);
    run(&CallView {
        tool: "payments.refund",
        agent: "support-7",
        upstream: "payments",
        method: "POST",
        path: "/refunds",
        query: &query,
        headers: &headers,
        args,
        claims: crate::domain::tools::Claims::NoTool,
        // 2026-11-22T15:30:00Z, a Sunday.
        now: Timestamp::from_millis(1_795_361_400_000),
    })
}

fn eval(source: &str, args: &str) -> Result<bool, String> {
    let condition = Condition::compile(source).unwrap_or_else(|problems| panic!("{source}: {problems:?}"));
    let args = json(args);
    with_call(Args::Read(&args), |call| condition.eval(call).map_err(|error| error.to_string()))
}

#[test]
fn common_conditions_are_typed_and_true_or_false() {
    let args = r#"{"amount": 100, "name": "Ana é", "tags": ["a", "b"], "deep": {"x": [1, {"y": true}]}, "big": 9007199254740993, "none": null}"#;
    for (source, expected) in [
        ("args.amount <= 100", true),
        ("args.amount > 100.0", false),
        ("args.amount == 1e2", true),
        ("args.amount != 100", false),
        ("args.big == 9007199254740992", false),
        ("args.big > 9007199254740992", true),
        ("args.big == 9007199254740993", true),
        ("args.none == null", true),
        ("args.amount == \"100\"", false),
        ("tool == 'payments.refund' && agent.startsWith('support-')", true),
        ("upstream in ['billing', 'payments']", true),
        ("method == 'GET' || path.endsWith('s')", true),
        ("'a' in args.tags", true),
        ("'amount' in args && !('nope' in args)", true),
        ("args.name.contains('é') && size(args.name) == 5 && args.name.size() < 6", true),
        ("args.name.matches('^A.a')", true),
        ("args.deep.x[1].y", true),
        ("args[\"deep\"][\"x\"][0] == 1", true),
        ("has(args.deep.x) && !has(args.deep.z)", true),
        ("has(args.amount) ? args.amount == 100 : false", true),
        ("query.force == 'true' && has(query.twice) && !has(query.x)", true),
        ("headers['x-team'] == 'blue' && 'x-team' in headers", true),
        ("args.amount in [1, 2, 100]", true),
        ("-5 < args.amount", true),
        ("false || true", true),
    ] {
        assert_eq!(eval(source, args), Ok(expected), "{source}");
        assert!(Condition::compile(source).expect(source).is_typed(), "{source} has a typed form");
    }
}

#[test]
fn everything_else_is_interpreted_and_still_exact() {
    let args = r#"{"items": [{"sku": "a", "n": 2}, {"sku": "b", "n": 9007199254740993}], "price": 12.50, "files": ["src/a.rs", "prod/key.pem"]}"#;
    for (source, expected) in [
        ("args.items.exists(i, i.n == 9007199254740993)", true),
        ("args.items.exists(i, i.n == 9007199254740992)", false),
        ("args.items.all(i, i.sku in ['a', 'b'])", true),
        ("args.price * 2.0 > 24.9", true),
        ("args.files.exists(f, f.matches('^prod/'))", true),
        ("now.getHours() == 15 && now.getDayOfWeek() == 0", true),
        ("now < timestamp('2026-12-01T00:00:00Z')", true),
        ("now.getHours('Europe/Berlin') == 16", true),
        ("int(query.force == 'true' ? '1' : '0') == 1", true),
        ("args.items.map(i, i.sku) == ['a', 'b']", true),
        ("args.items.filter(i, i.n > 1).size() == 2", true),
    ] {
        assert_eq!(eval(source, args), Ok(expected), "{source}");
    }
}

#[test]
fn what_cannot_be_evaluated_says_why() {
    let args = r#"{"amount": "100", "huge": 1234567890123456789012345, "list": [1], "n": 77, "word": "x"}"#;
    for (source, reason) in [
        ("args.missing == 1", "`args.missing` is missing"),
        ("args.a.b.c == 1", "`args.a` is missing"),
        ("has(args.a.b)", "`args.a` is missing"),
        ("args.list[3] == 1", "`args.list[3]` is missing"),
        ("args.amount > 50", "text and a number have no order"),
        ("args.amount", "`args.amount` is text, not true or false"),
        ("query.twice == '1'", "`query.twice` is given more than once"),
        ("query.nope == '1'", "`query.nope` is missing"),
        ("args.list.startsWith('x')", "`args.list` is a list, not text"),
        ("args.huge + 1 > 0", "a number among the arguments cannot be computed with exactly"),
        ("args.amount + 1 > 50", "an operator or function is applied to a kind of value that it does not take"),
        ("args.n * 9223372036854775807 > 0", "a result is too large to be computed with exactly"),
        ("args.n / (args.n - args.n) == 1", "something is divided by zero"),
        ("int(args.word) == 1", "a function could not work with the value that it was given"),
        ("args.missing == 1 || false", "`args.missing` is missing"),
        ("!(args.missing == 1)", "`args.missing` is missing"),
    ] {
        assert_eq!(eval(source, args), Err(reason.to_owned()), "{source}");
    }
    assert_eq!(eval("args.missing == 1 || true", args), Ok(true), "|| absorbs");
    assert_eq!(eval("args.missing == 1 && false", args), Ok(false), "&& absorbs");
}

#[test]
fn a_call_without_a_body_has_no_arguments_and_an_unread_body_is_no_answer() {
    let condition = Condition::compile("has(args.x)").expect("a condition");
    assert_eq!(with_call(Args::Absent, |call| condition.eval(call)), Ok(false));
    assert_eq!(with_call(Args::Unread, |call| condition.eval(call)), Err(EvalError::Unread));
    let interpreted = Condition::compile("args.x + 1 == 2").expect("a condition");
    assert!(with_call(Args::Absent, |call| interpreted.eval(call)).is_err());
    assert_eq!(with_call(Args::Unread, |call| interpreted.eval(call)), Err(EvalError::Unread));
}

#[test]
fn mistakes_are_found_at_load_with_their_column() {
    for (source, column, message, hint) in [
        ("arsg.x == 1", Some(1), "unknown variable `arsg`", Some("did you mean `args`?")),
        ("tool == 5", None, "`tool` is text and `5` is a number: they are never equal", None),
        ("agent in ['a', 3]", None, "`agent` is text and `3` is a number: they are never equal", None),
        ("tool.startWith('x')", None, "unknown function `startWith`", Some("did you mean `startsWith`?")),
        ("tool.startsWith()", None, "`startsWith` has the wrong number of arguments", None),
        ("tool.x == 'y'", None, "`tool` is text and has no members", None),
        ("size(args.x)", None, "a number is not true or false", None),
        ("tool", None, "`tool` is text, not true or false", None),
        ("args.x.matches('(')", None, "the pattern cannot be read", None),
        ("args.x.matches('a{1000}{1000}')", None, "the pattern needs more than", None),
        ("args.x.matches(args.y)", None, "the pattern of `matches` must be written as text", None),
        ("args[agent] == 1", None, "a computed key cannot be checked at load", None),
        ("size(query) > 1", None, "`query` can only be read member by member", None),
        ("args.a.exists(x, args.b.exists(y, x == y))", None, "lists nested in each other", None),
        ("args.x == 0.1234567890123456789", None, "the number has more digits", None),
        ("args.x == {'a': 1}", None, "a condition may not build an object", None),
        ("args.x ==", None, "the condition cannot be read", None),
        ("", None, "the condition cannot be read", None),
    ] {
        let problems = Condition::compile(source).expect_err(source);
        let found = problems.iter().find(|problem| problem.message.starts_with(message));
        let found = found.unwrap_or_else(|| panic!("{source}: {problems:?}"));
        assert!(column.is_none() || found.column == column, "{source}: {found:?}");
        assert!(hint.is_none() || found.hint.as_deref() == hint, "{source}: {found:?}");
    }
    assert!(Condition::compile(&format!("tool == '{}'", "x".repeat(SOURCE_BYTES_MAX))).is_err());
    assert_eq!(Condition::compile("tool == 'a' || agnet == 'b'").expect_err("a typo")[0].column, Some(16));
}

#[test]
fn what_a_condition_reads_is_known() {
    let reads = |source: &str| -> Vec<String> {
        Condition::compile(source).expect(source).reads().iter().map(ToString::to_string).collect()
    };
    assert_eq!(reads("args.a.b == 1 && has(args.c)"), ["args.a.b", "args.c"]);
    assert_eq!(reads("args.l.exists(x, has(x.price) && x.price > 1)"), ["args.l", "args.l[*].price"]);
    assert_eq!(reads("'k' in args.m"), ["args.m", "args.m.k"]);
    assert!(reads("tool == 'x' && query.a == 'b'").is_empty());
}

#[test]
fn hostile_sources_and_arguments_stay_bounded() {
    let parse = || {
        for source in ["(".repeat(1_000), "!".repeat(1_000), "[".repeat(1_000), "-".repeat(1_000), "a.".repeat(500)] {
            assert!(Condition::compile(&source).is_err(), "{}…", &source[..4]);
        }
        let nested = format!("{}true{}", "(".repeat(400), ")".repeat(400));
        let _ = Condition::compile(&nested);
    };
    std::thread::Builder::new()
        .stack_size(PARSER_STACK_BYTES)
        .spawn(parse)
        .expect("a thread")
        .join()
        .expect("no overflow");
    let many = format!(r#"{{"l": [{}1]}}"#, "1,".repeat(INTERPRETED_VALUES_MAX));
    assert!(eval("args.l.exists(x, x == 2)", &many).is_err());
    assert_eq!(eval("2 in args.l", &many), Ok(false), "the typed form has no such limit");
}

fn condition() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        (-3_i64..200).prop_map(|n| n.to_string()),
        (0_u32..400).prop_map(|n| format!("{}.{}", n / 4, (n % 4) * 25)),
        Just("1e2".to_owned())
    ];
    let path = prop_oneof![
        Just("args.a"),
        Just("args.b"),
        Just("args.c.d"),
        Just("args.l[0]"),
        Just("args['a']"),
        Just("args.gone"),
    ];
    let string = prop_oneof![Just("'x'"), Just("'xy'"), Just("'support-7'"), Just("''")];
    let op = prop_oneof![Just("=="), Just("!="), Just("<"), Just("<="), Just(">"), Just(">=")];
    let leaf = prop_oneof![
        4 => (path.clone(), op.clone(), number).prop_map(|(path, op, number)| format!("{path} {op} {number}")),
        3 => (path.clone(), op.clone(), string.clone()).prop_map(|(path, op, text)| format!("{path} {op} {text}")),
        2 => (path.clone(), op.clone(), path.clone()).prop_map(|(left, op, right)| format!("{left} {op} {right}")),
        1 => (op, string.clone()).prop_map(|(op, text)| format!("agent {op} {text}")),
        1 => path.clone().prop_map(|path| format!("{path} in [1, 'x', true, null, 2.5]")),
        1 => (string.clone(), path.clone()).prop_map(|(text, path)| format!("{text} in {path}")),
        1 => (path.clone(), string).prop_map(|(path, text)| format!("{path}.startsWith({text})")),
        1 => path.clone().prop_map(|path| format!("size({path}) >= 1")),
        1 => path.prop_map(str::to_owned),
        1 => prop_oneof![Just("has(args.a)"), Just("has(args.c.d)"), Just("query.force == 'true'"), Just("true")]
            .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("({left}) && ({right})")),
            (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("({left}) || ({right})")),
            inner.clone().prop_map(|inner| format!("!({inner})")),
            (inner.clone(), inner.clone(), inner).prop_map(|(a, b, c)| format!("({a}) ? ({b}) : ({c})")),
        ]
    })
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        (-3_i64..200).prop_map(|n| n.to_string()),
        (0_u32..400).prop_map(|n| format!("{}.{}", n / 4, (n % 4) * 25)),
        prop_oneof![
            Just("null"),
            Just("true"),
            Just("false"),
            Just("\"x\""),
            Just("\"xy\""),
            Just("[1,\"x\"]"),
            Just("{\"d\":7,\"x\":1}"),
            Just("1e2"),
            Just("[]")
        ]
        .prop_map(str::to_owned),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_typed_form_and_the_interpreter_agree(source in condition(), a in value(), b in value(), c in value(), l in value()) {
        let Ok(typed) = Condition::compile(&source) else { return Ok(()) };
        prop_assert!(typed.is_typed(), "{source}");
        let interpreted = Condition::interpreted(&source);
        let args = json(&format!(r#"{{"a":{a},"b":{b},"c":{c},"l":{l}}}"#));
        let (by_type, by_interpreter) = with_call(Args::Read(&args), |call| (typed.eval(call), interpreted.eval(call)));
        prop_assert_eq!(by_type.clone().ok(), by_interpreter.clone().ok(), "{}: {:?} / {:?}", source, by_type, by_interpreter);
    }
}

#[test]
fn a_view_without_values_has_no_query_and_no_headers() {
    let call = CallView {
        tool: "",
        agent: "",
        upstream: "",
        method: "",
        path: "",
        query: &NoValues,
        headers: &NoValues,
        args: Args::Absent,
        claims: crate::domain::tools::Claims::NoTool,
        now: Timestamp::from_millis(0),
    };
    let condition = Condition::compile("has(query.a) || has(headers.b) || tool != ''").expect("a condition");
    assert_eq!(condition.eval(&call), Ok(false));
}
