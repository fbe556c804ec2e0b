//! Event streams. The property is `tests/properties/sse.rs`.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[expect(dead_code, reason = "each target uses its own property")]
#[path = "../../tests/properties/mod.rs"]
mod properties;

fuzz_target!(init: properties::seeds::lay_out("sse"), |data: &[u8]| properties::sse::check(data));
