//! Configuration: YAML files to values that cannot be wrong.

pub mod diagnostic;
pub mod files;
pub mod model;
pub mod secrets;
pub mod shape;
pub mod yaml;
