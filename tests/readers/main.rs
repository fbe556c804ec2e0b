//! What is judged is what others read: the properties of the fuzz targets on every corpus, and bodies that the strict reader accepts
//! as Python, Node and Go read them.
#![expect(
    clippy::disallowed_methods,
    reason = "tests read files, clocks and the environment on their own; the product takes them as arguments"
)]

mod agreement;
mod bodies;
#[path = "../spies/go.rs"]
mod go;
mod others;
mod replay;

#[expect(dead_code, reason = "the fuzz targets start from what is laid out for them")]
#[path = "../properties/mod.rs"]
mod properties;
