//! Configuration: YAML files to values that cannot be wrong.
//!
//! `yaml` guards every file, `shape` checks keys and types all at once, `model` is the file as written, `resolve` gives
//! it meaning, and [`settings::Config`] is what the program uses. [`load::load`] is the way in; everything it refuses
//! is a [`diagnostic::Diagnostic`] with a place. Nothing here watches files or reloads; that is for `runtime`.

pub mod diagnostic;
pub mod files;
pub mod load;
pub mod model;
pub mod openapi;
pub mod policies;
pub mod reference;
mod resolve;
pub mod secrets;
pub mod settings;
pub mod shape;
pub mod yaml;
