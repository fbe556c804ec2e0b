//! Request heads, up to the empty line. The property is `tests/properties/head.rs`.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[expect(dead_code, reason = "each target uses its own property")]
#[path = "../../tests/properties/mod.rs"]
mod properties;

fuzz_target!(init: properties::seeds::lay_out("head"), |data: &[u8]| properties::head::check(data));
