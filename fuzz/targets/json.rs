//! The strict JSON reader. The property is `tests/properties/json.rs`.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[expect(dead_code, reason = "each target uses its own property")]
#[path = "../../tests/properties/mod.rs"]
mod properties;

fuzz_target!(init: properties::seeds::lay_out("json"), |data: &[u8]| properties::json::check(data));
