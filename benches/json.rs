//! What reading a body costs: typical calls, and the refusals an attacker would pick.

use divan::{Bencher, black_box};
use holdpoint::protocol::json::{Limits, read};

fn main() {
    divan::main();
}

/// A tool call of about 300 bytes.
const CALL: &str = r#"{"jsonrpc":"2.0","id":17,"method":"tools/call","params":{"name":"payments.refund","arguments":{"amount_usd":142.50,"currency":"USD","customer":"cus_8fK2","order":"ord_20261122_0042","reason":"Item arrived damaged","notify":true,"lines":[{"sku":"A-1","quantity":2},{"sku":"B-7","quantity":1}]}}}"#;

fn check(bencher: Bencher<'_, '_>, body: &[u8], accepted: bool) {
    let limits = Limits { body_bytes: 256 << 20, ..Limits::default() };
    assert_eq!(read(body, &limits).is_ok(), accepted);
    bencher.counter(divan::counter::BytesCount::new(body.len())).bench(|| read(black_box(body), &limits).is_ok());
}

#[divan::bench]
fn call_of_300_bytes(bencher: Bencher<'_, '_>) {
    check(bencher, CALL.as_bytes(), true);
}

#[divan::bench]
fn call_of_300_bytes_with_serde_json_for_comparison(bencher: Bencher<'_, '_>) {
    bencher.bench(|| serde_json::from_str::<serde_json::Value>(black_box(CALL)).is_ok());
}

#[divan::bench]
fn string_of_64_kib(bencher: Bencher<'_, '_>) {
    check(bencher, format!("\"{}\"", "a".repeat(65_536)).as_bytes(), true);
}

#[divan::bench]
fn objects_with_japanese_keys(bencher: Bencher<'_, '_>) {
    let row = r#"{"金額":1,"通貨":"円","顧客":"c","理由":"返品"}"#;
    check(bencher, format!("[{}]", vec![row; 200].join(",")).as_bytes(), true);
}

#[divan::bench]
fn hostile_million_keys(bencher: Bencher<'_, '_>) {
    let members: Vec<String> = (0..1_000_000).map(|index| format!("\"k{index}\":0")).collect();
    check(bencher, format!("{{{}}}", members.join(",")).as_bytes(), false);
}

#[divan::bench]
fn hostile_depth_of_100_000(bencher: Bencher<'_, '_>) {
    check(bencher, "[".repeat(100_000).as_bytes(), false);
}

#[divan::bench]
fn hostile_folding(bencher: Bencher<'_, '_>) {
    let members: Vec<String> = (0..1000).map(|index| format!("\"{}{index}\":0", "\u{FDFA}".repeat(300))).collect();
    check(bencher, format!("{{{}}}", members.join(",")).as_bytes(), false);
}
