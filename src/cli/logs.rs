//! Sets the log up as the configuration says.

use crate::config::settings::{Config, LogFormat, LogLevel};
use crate::telemetry::logging::{self, Format, LoggingError};

/// Sets up the process's log.
pub(super) fn init(config: &Config) -> Result<(), LoggingError> {
    let format = match config.log_format {
        LogFormat::Json => Format::Json,
        LogFormat::Text => Format::Text,
    };
    let level = match config.log_level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    logging::init(format, level)
}
