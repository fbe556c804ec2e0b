//! The rules of the product: no I/O, no clock, no randomness, no HTTP.
//!
//! Whatever depends on time takes `now` as an argument; whatever changes the world is returned as a value.

pub mod approval;
pub mod audit;
pub mod call;
pub mod duration;
pub mod id;
pub mod identity;
pub mod names;
pub mod policy;
pub mod text;
pub mod time;
pub mod tools;
pub mod value;
