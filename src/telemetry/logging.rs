//! Logs: structured lines on standard error, as JSON or as text.
//!
//! Fields such as `trace_id` and `request_id` live on spans, so that every line below a request carries them without
//! naming them. Standard output is left to commands that print something.

use tracing::level_filters::LevelFilter;
use tracing::{Dispatch, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// One JSON object a line, for collectors; what a service wants.
    #[default]
    Json,
    /// For people at a terminal; escapes control characters in what the network sent.
    Text,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The level is none and no list of directives.
    #[error(
        "`{text}` is not a log level: write `error`, `warn`, `info`, `debug` or `trace`, or directives such as `info,holdpoint=debug`"
    )]
    Level {
        /// As written.
        text: String,
        /// What the parser said.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// Logging is set up once a process.
    #[error("logging is already set up in this process")]
    AlreadySet,
}

/// Sets up logging for the whole process, once. `level` is a level or a list of directives (`info,holdpoint=debug`).
///
/// # Errors
/// [`LoggingError::Level`] for a text that is neither; [`LoggingError::AlreadySet`] the second time.
pub fn init(format: Format, level: &str) -> Result<(), LoggingError> {
    let dispatch = dispatch(format, level, std::io::stderr)?;
    tracing::dispatcher::set_global_default(dispatch).map_err(|_| LoggingError::AlreadySet)
}

/// Whether [`init`] would accept `level`: for checking a configuration without setting anything up.
///
/// # Errors
/// [`LoggingError::Level`].
pub fn check_level(level: &str) -> Result<(), LoggingError> {
    filter(level).map(|_| ())
}

fn filter(level: &str) -> Result<EnvFilter, LoggingError> {
    // A bare word that is no level would be read as a module's name and turn everything off.
    let is_bare_word = !level.is_empty() && level.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let builder = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).with_regex(false);
    let text = if is_bare_word && level.parse::<LevelFilter>().is_err() {
        format!("holdpoint={level}")
    } else {
        level.to_owned()
    };
    builder.parse(text).map_err(|source| LoggingError::Level { text: level.to_owned(), source })
}

fn dispatch<W>(format: Format, level: &str, writer: W) -> Result<Dispatch, LoggingError>
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(level)?)
        .with_writer(writer)
        // It would be told on standard error, and panic where that is what cannot be written: a full disk under the log must
        // not fail the calls that are logged.
        .log_internal_errors(false)
        .with_ansi(false);
    let subscriber: Box<dyn Subscriber + Send + Sync> = match format {
        Format::Json => {
            Box::new(builder.json().flatten_event(true).with_current_span(true).with_span_list(false).finish())
        }
        Format::Text => Box::new(builder.finish()),
    };
    Ok(Dispatch::new(subscriber))
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no test panics while it writes").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: Format, level: &str, log: impl FnOnce()) -> String {
        let memory = Memory::default();
        let writer = memory.clone();
        let dispatch = dispatch(format, level, move || writer.clone()).expect("a good level");
        tracing::dispatcher::with_default(&dispatch, log);
        String::from_utf8(memory.0.lock().expect("written").clone()).expect("text")
    }

    #[test]
    fn json_lines_carry_the_fields_of_the_request_they_belong_to() {
        let line = logged(Format::Json, "info", || {
            let span = tracing::info_span!("request", request_id = "req_1", trace_id = "4bf9");
            span.in_scope(|| tracing::info!(rule = "no-deletes", "blocked"));
        });
        let value: serde_json::Value = serde_json::from_str(&line).expect("one JSON object");
        assert_eq!(value["message"], "blocked");
        assert_eq!(value["rule"], "no-deletes");
        assert_eq!(value["span"]["request_id"], "req_1");
        assert_eq!(value["span"]["trace_id"], "4bf9");
    }

    #[test]
    fn text_lines_show_control_characters_as_escapes() {
        let line = logged(Format::Text, "info", || tracing::info!(tool = "a\u{1b}[31mb\nc", "seen"));
        assert!(!line.contains('\u{1b}'), "{line:?}");
        assert_eq!(line.lines().count(), 1, "{line:?}");
    }

    #[test]
    fn the_level_decides_what_is_written() {
        for (level, expected) in [("error", false), ("info", true), ("warn,holdpoint=info", true), ("off", false)] {
            let line = logged(Format::Json, level, || tracing::info!("here"));
            assert_eq!(line.contains("here"), expected, "{level}");
        }
    }

    #[test]
    fn a_text_that_is_no_level_is_refused_and_named() {
        for bad in ["loud", "holdpoint=loud", "infoo"] {
            let error = check_level(bad).expect_err(bad).to_string();
            assert!(error.contains(&format!("`{bad}`")) && error.contains("`debug`"), "{error}");
        }
    }
}
