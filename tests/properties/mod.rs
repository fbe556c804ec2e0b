//! What must hold of every input, whatever it is: one `check` a property, which panics where it does not hold.
//!
//! The fuzz targets of `fuzz/` run these on inputs that they make up, and `tests/readers` on the corpora and on every
//! input that ever broke one (`regressions/<property>/`). Each compares the product with something that was written
//! apart from it: another library, or the plainest reading of the same rule. Nothing here ships.

pub(crate) mod head;
pub(crate) mod json;
pub(crate) mod lenses;
pub(crate) mod mcp;
mod mcp_binding;
pub(crate) mod policy;
pub(crate) mod seeds;
pub(crate) mod sse;
pub(crate) mod target;
pub(crate) mod tree;

/// A property: its name and its check.
pub(crate) type Property = (&'static str, fn(&[u8]));

/// Every property, by the name of its fuzz target.
pub(crate) const ALL: [Property; 6] = [
    ("head", head::check),
    ("json", json::check),
    ("mcp", mcp::check),
    ("policy", policy::check),
    ("sse", sse::check),
    ("target", target::check),
];

/// A number made of the bytes: choices that depend on the input and on nothing else.
pub(crate) fn salt(data: &[u8]) -> u64 {
    data.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
