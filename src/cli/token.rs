//! `holdpoint token new` and `holdpoint token hash`: tokens and what the configuration stores of them.
//!
//! A token is shown once and kept nowhere; the configuration holds its SHA-256. A plain digest is enough because a
//! token carries 256 random bits: it cannot be guessed, so it needs no slow hash. For the same reason `hash` refuses
//! short texts, which are passwords rather than tokens.

use std::io::{self, Read};
use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::{Subcommand, ValueEnum};
use sha2::{Digest, Sha256};

/// What every token begins with, so that secret scanners and people recognise one.
const PREFIX: &str = "hp_";
/// The random bytes of a token.
const TOKEN_BYTES: usize = 32;
/// The longest token accepted, as at sign-in.
const TOKEN_LENGTH_MAX: usize = 1024;
/// The shortest token hashed: 32 characters carry at least 128 random bits in hexadecimal.
const TOKEN_LENGTH_MIN: usize = 32;

/// What `token` does.
#[derive(Debug, Clone, Subcommand)]
pub(super) enum TokenCommand {
    /// Make a random token; prints it with its SHA-256 and the line for the configuration.
    New {
        /// Whose token it is to be.
        #[arg(long = "for", value_enum, default_value_t = Holder::Agent)]
        holder: Holder,
        /// The id for the line to paste.
        #[arg(long, value_name = "ID")]
        id: Option<String>,
    },
    /// Read a token from standard input and print its SHA-256.
    Hash,
}

/// Who holds a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Holder {
    /// An agent.
    Agent,
    /// A reviewer.
    Reviewer,
}

/// Runs `token`. Exit status 2 when the input is no token, or input or randomness cannot be had.
pub(super) fn run(command: &TokenCommand) -> ExitCode {
    let answer = match command {
        TokenCommand::New { holder, id } => {
            let mut random = [0; TOKEN_BYTES];
            match getrandom::fill(&mut random) {
                Ok(()) => Ok(new(*holder, id.as_deref(), random)),
                Err(error) => Err(format!("the system gives no randomness: {error}")),
            }
        }
        TokenCommand::Hash => hash(&mut io::stdin().lock()),
    };
    match answer {
        Ok(text) => {
            super::say(&text);
            ExitCode::SUCCESS
        }
        Err(problem) => {
            super::complain(&format!("error: {problem}"));
            ExitCode::from(2)
        }
    }
}

fn new(holder: Holder, id: Option<&str>, random: [u8; TOKEN_BYTES]) -> String {
    let token = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
    let digest = sha256_hex(token.as_bytes());
    let (section, id, groups) = match holder {
        Holder::Agent => ("agents", id.unwrap_or("my-agent"), ""),
        Holder::Reviewer => ("reviewers", id.unwrap_or("my-name"), "groups: [], "),
    };
    format!(
        "token:        {token}
token_sha256: {digest}

Give the token to its holder; it is not stored. Paste under `{section}:` in holdpoint.yaml:
  - {{ id: {id}, {groups}token_sha256: \"{digest}\" }}
"
    )
}

/// The digest of the token that `input` holds, with a line break; or why there is none.
fn hash(input: &mut dyn Read) -> Result<String, String> {
    let mut text = String::new();
    // Two more for a line break, and one to notice that there is more.
    let read = input.take(TOKEN_LENGTH_MAX as u64 + 3).read_to_string(&mut text);
    read.map_err(|error| format!("standard input cannot be read: {error}"))?;
    let token = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    let problem = if token.len() > TOKEN_LENGTH_MAX {
        format!("the token is longer than {TOKEN_LENGTH_MAX} characters")
    } else if token.len() < TOKEN_LENGTH_MIN {
        format!("the token is shorter than {TOKEN_LENGTH_MIN} characters and could be guessed")
    } else if token.bytes().any(|byte| !byte.is_ascii_graphic()) {
        "the token holds characters that cannot stand in an `Authorization` header".to_owned()
    } else {
        return Ok(format!("{}\n", sha256_hex(token.as_bytes())));
    };
    Err(format!("{problem}\nhelp: give exactly the token on standard input; `holdpoint token new` makes one"))
}

fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::values::{Sha256Hex, TextValue};

    #[test]
    fn a_new_token_comes_with_the_line_to_paste() {
        let report = new(Holder::Agent, Some("bot"), [7; 32]);
        let token = report.lines().next().and_then(|line| line.strip_prefix("token:        ")).expect("a token");
        assert_eq!(token, "hp_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc");
        let digest = sha256_hex(token.as_bytes());
        assert!(report.contains(&format!("- {{ id: bot, token_sha256: \"{digest}\" }}")), "{report}");
        assert!(Sha256Hex::read(&digest).is_ok());
        for line_break in ["", "\n", "\r\n"] {
            assert_eq!(hash(&mut format!("{token}{line_break}").as_bytes()), Ok(format!("{digest}\n")));
        }
        let report = new(Holder::Reviewer, None, [7; 32]);
        assert!(report.contains("`reviewers:`") && report.contains("groups: []"), "{report}");
    }

    #[test]
    fn what_is_no_token_is_not_hashed() {
        for (input, why) in [
            ("", "shorter than 32"),
            ("password\n", "shorter than 32"),
            (&"x".repeat(1025), "longer than 1024"),
            (&format!("{} {}", "x".repeat(20), "y".repeat(20)), "cannot stand in"),
            (&format!("{}\n\n", "x".repeat(40)), "cannot stand in"),
        ] {
            let problem = hash(&mut input.as_bytes()).expect_err("it is refused");
            assert!(problem.contains(why), "{input:?}: {problem}");
        }
    }
}
