//! What an allowed call costs: CPU per request of the gateway against the barest proxy of the same parts, in one run.
//!
//! `cargo bench --bench proxy` takes eleven pairs, the order alternating, and prints the ratio; `-- --requests N` changes how
//! many requests each figure rests on. Where there are two cores and `taskset`, both proxies run on one and the load on the
//! other. Only the ratio counts: absolute figures drift with the machine. Without `--bench` (as `cargo test` runs it) it
//! compares the floor with itself over a few requests, which shows that the measurement works.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints its result")]

use std::process::ExitCode;

use support::pairs::{Workload, run};
use support::process::Gateway;

mod support {
    pub(crate) mod floor;
    pub(crate) mod http;
    pub(crate) mod pairs;
    pub(crate) mod process;
}

const BODY: &str = r#"{"amount_usd":142.50,"currency":"USD","customer":"cus_8fK2mN4pQ7","order":"ord_20261122_0042","reason":"The item arrived damaged and the customer has sent pictures of it","notify":true,"idempotency":"b0b4a1f2-6f0e-4f5b-9a53-0d8a7a2f6c11","lines":[{"sku":"A-1","quantity":2},{"sku":"B-77","quantity":1}]}"#;
const ANSWER: &str = r#"{"ok":true,"id":"re_1P2m3N4o5P6q7R8s","status":"succeeded"}"#;

fn main() -> ExitCode {
    run(&Workload { gateway: Gateway::Http, path: "/refunds", headers: "", body: BODY, answer: ANSWER })
}
