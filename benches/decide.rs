//! The cost of one decision over 10 to 10 000 rules: by name alone, and with a condition on an argument of a 300-byte body,
//! reading it included.

use divan::{Bencher, black_box};
use holdpoint::domain::policy::view::NoValues;
use holdpoint::domain::policy::{Args, CallView, CompiledPolicy, Decision, PolicyFile, compile};
use holdpoint::domain::time::Timestamp;
use holdpoint::protocol::json::{self, Limits};

fn main() {
    divan::main();
}

const SIZES: [usize; 4] = [10, 100, 1_000, 10_000];

/// Rules as people write them: a third exact names, a third by prefix, a third by a word inside.
fn policy(rules: usize, when: &str) -> CompiledPolicy {
    let mut list = Vec::with_capacity(rules);
    for rule in 0..rules {
        let glob = match rule % 3 {
            0 => format!("team{rule}.refund"),
            1 => format!("team{rule}.*"),
            _ => format!("*.delete{rule}_*"),
        };
        list.push(serde_json::json!({ "match": glob, "when": when, "action": "allow" }));
    }
    let model = serde_json::from_value(serde_json::json!({ "version": 1, "default": "block", "rules": list }));
    let file = PolicyFile { name: "bench".to_owned(), model: model.expect("a policy"), source_sha256: [0; 32] };
    compile(vec![file]).expect("a policy")
}

fn call<'a>(tool: &'a str, args: Args<'a>) -> CallView<'a> {
    CallView {
        tool,
        agent: "support-bot",
        upstream: "payments",
        method: "POST",
        path: "/refunds",
        query: &NoValues,
        headers: &NoValues,
        args,
        claims: holdpoint::domain::tools::Claims::NoTool,
        now: Timestamp::from_millis(0),
    }
}

/// The last rules of each kind, and a name that no rule knows.
fn names(rules: usize) -> [String; 4] {
    let last = |kind: usize| (0..rules).rev().find(|rule| rule % 3 == kind).unwrap_or(kind);
    [
        format!("team{}.refund", last(0)),
        format!("team{}.list_invoices", last(1)),
        format!("crm.delete{}_customer", last(2)),
        "unknown.tool_of_nobody".to_owned(),
    ]
}

#[divan::bench(args = SIZES)]
fn by_name(bencher: Bencher<'_, '_>, rules: usize) {
    let policy = policy(rules, "true");
    let names = names(rules);
    let mut turn = 0;
    bencher.bench_local(|| {
        turn = (turn + 1) % names.len();
        match policy.decide(black_box(&call(&names[turn], Args::Unread))) {
            Decision::Verdict(verdict) => verdict.kind,
            Decision::NeedsBody => panic!("no rule reads the body"),
        }
    });
}

const BODY: &str = r#"{"customer":"cus_8Zk2vYqL0aXw","order":{"id":"ord_1029384756","currency":"USD","items":[{"sku":"A-100","n":2},{"sku":"B-200","n":1}]},"amount_usd":99.95,"reason":"The parcel arrived damaged and the customer asks for the money back","notify":true,"tags":["refund","damaged","priority"],"attempt":1,"note":""}"#;

#[divan::bench(args = SIZES)]
fn with_a_condition_and_the_body_read(bencher: Bencher<'_, '_>, rules: usize) {
    let policy = policy(rules, "args.amount_usd <= 100");
    let names = names(rules);
    let limits = Limits::default();
    let mut turn = 0;
    bencher.bench_local(|| {
        turn = (turn + 1) % 3;
        let value = json::read(black_box(BODY.as_bytes()), &limits).expect("a body");
        let call = call(&names[turn], Args::Read(&value));
        match policy.decide(&call) {
            Decision::Verdict(verdict) => verdict.kind,
            Decision::NeedsBody => panic!("the body is read"),
        }
    });
}

#[divan::bench]
fn with_a_condition_that_is_interpreted(bencher: Bencher<'_, '_>) {
    let policy = policy(3, "args.order.items.exists(item, item.n > 1)");
    let limits = Limits::default();
    bencher.bench_local(|| {
        let value = json::read(black_box(BODY.as_bytes()), &limits).expect("a body");
        match policy.decide(&call("team0.refund", Args::Read(&value))) {
            Decision::Verdict(verdict) => verdict.kind,
            Decision::NeedsBody => panic!("the body is read"),
        }
    });
}
