//! MCP messages with their headers, and what approvals of calls are bound to. The property is `tests/properties/mcp.rs`.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[expect(dead_code, reason = "each target uses its own property")]
#[path = "../../tests/properties/mod.rs"]
mod properties;

fuzz_target!(init: properties::seeds::lay_out("mcp"), |data: &[u8]| properties::mcp::check(data));
