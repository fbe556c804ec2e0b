//! `holdpoint policy schema`: the JSON Schema of the configuration or of a policy file, for editors and CI.
//!
//! The same schemas drive the checks of loading, and are checked in under `docs/reference/`.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use crate::config::reference;

/// The arguments of `policy schema`.
#[derive(Debug, Clone, Copy, Args)]
pub struct SchemaArgs {
    /// Which file the schema is for.
    #[arg(long = "for", value_enum, default_value_t = SchemaOf::Policy)]
    schema_of: SchemaOf,
}

/// Which file a schema is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SchemaOf {
    /// `holdpoint.yaml`.
    Config,
    /// A policy file.
    Policy,
}

/// Prints the schema.
pub(super) fn run(args: &SchemaArgs) -> ExitCode {
    let schema = match args.schema_of {
        SchemaOf::Config => reference::config_schema(),
        SchemaOf::Policy => reference::policy_schema(),
    };
    super::say(&schema);
    ExitCode::SUCCESS
}
