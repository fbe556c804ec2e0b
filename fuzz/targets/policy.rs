//! Policy files: the YAML guard, their shape, the compiler, and verdicts. The property is `tests/properties/policy.rs`.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[expect(dead_code, reason = "each target uses its own property")]
#[path = "../../tests/properties/mod.rs"]
mod properties;

fuzz_target!(init: properties::seeds::lay_out("policy"), |data: &[u8]| properties::policy::check(data));
