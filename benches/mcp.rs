//! What an allowed `tools/call` costs: CPU per call of the gateway against the barest proxy of the same parts, which does not look
//! into it, in one run.
//!
//! `cargo bench --bench mcp` measures as `cargo bench --bench proxy` does.

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

const BODY: &str = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"search_orders","arguments":{"customer":"cus_8fK2mN4pQ7","from":"2026-11-01","to":"2026-11-22","status":["paid","shipped"],"limit":25,"text":"The item arrived damaged"},"_meta":{"progressToken":"p-7"}}}"#;
const ANSWER: &str = r#"{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"{\"orders\":[{\"id\":\"ord_20261122_0042\",\"total\":142.50,\"status\":\"paid\"}]}"}],"isError":false}}"#;
const HEADERS: &str = "accept: application/json, text/event-stream\r\nmcp-protocol-version: 2025-11-25\r\nmcp-session-id: 6f1c2e1a-5f0e-4f5b-9a53-0d8a7a2f6c11\r\n";

fn main() -> ExitCode {
    run(&Workload { gateway: Gateway::Mcp, path: "/mcp", headers: HEADERS, body: BODY, answer: ANSWER })
}
