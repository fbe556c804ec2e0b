//! The commands. Each parses its arguments, calls the library, prints, and says how it went by its exit code: 0 for yes, 1 for
//! no, 2 when it could not find out.

pub mod approvals;
pub mod audit;
pub mod backup;
pub mod check;
pub mod demo;
pub mod healthcheck;
mod logs;
pub mod migrate;
pub mod policy;
pub mod restore;
pub mod schema;
pub mod serve;
mod stores;
pub mod token;
pub mod verify;

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// A reverse proxy that parks tool calls until a human decides
#[derive(Debug, Parser)]
#[command(name = "holdpoint", version, max_term_width = 100, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway
    Serve(serve::ServeArgs),
    /// Run the gateway with a small tool backend and a few parked calls
    Demo(demo::DemoArgs),
    /// Load a configuration and everything it names, and report every problem
    Check(check::CheckArgs),
    /// Show the guarantees on a configuration of yours, in a scratch store and with scratch upstreams
    Verify(verify::VerifyArgs),
    /// Work on policies: explain, test, lint, schema
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// See and decide what waits for approval, at a running gateway
    #[command(subcommand)]
    Approvals(approvals::ApprovalsCommand),
    /// Read, check and export the audit trail
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Copy the store, while a gateway serves it or not
    Backup(backup::BackupArgs),
    /// Put a backup in the place of the store
    Restore(restore::RestoreArgs),
    /// Bring the store's schema up to date, or seal it anew with another key
    Migrate(migrate::MigrateArgs),
    /// Make and hash credentials
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Ask a running gateway whether it is ready
    Healthcheck(healthcheck::HealthcheckArgs),
    /// Print completions for a shell
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or that of a command
    Man {
        /// A command, such as `backup` or `audit verify`
        command: Vec<String>,
    },
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(args) => serve::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Policy(command) => policy::run(&command),
        Command::Approvals(command) => approvals::run(&command),
        Command::Audit(command) => audit::run(&command),
        Command::Backup(args) => backup::run(&args),
        Command::Restore(args) => restore::run(&args),
        Command::Migrate(args) => migrate::run(&args),
        Command::Token(command) => token::run(&command),
        Command::Healthcheck(args) => healthcheck::run(&args),
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "holdpoint", &mut script);
            say(&String::from_utf8_lossy(&script));
            ExitCode::SUCCESS
        }
        Command::Man { command } => manual(&command),
    }
}

/// The manual page of the command that these words name.
fn manual(words: &[String]) -> ExitCode {
    let mut root = Cli::command();
    // Fills in what a command takes over from those above it, its full name among them.
    root.build();
    let mut command = &root;
    for word in words {
        match command.find_subcommand(word) {
            Some(found) => command = found,
            None => {
                complain(&format!("error: there is no command `{}`", words.join(" ")));
                return ExitCode::from(2);
            }
        }
    }
    let mut page = Vec::new();
    match clap_mangen::Man::new(command.clone()).render(&mut page) {
        Ok(()) => {
            say(&String::from_utf8_lossy(&page));
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// Writes to standard output. A reader that has gone (`| head`) is no failure.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

/// Writes one line to standard error.
fn complain(text: &str) {
    drop(writeln!(std::io::stderr().lock(), "{text}"));
}

/// Runs a command's asynchronous part to its end.
fn runtime(work: impl Future<Output = ExitCode>) -> ExitCode {
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => {
            complain(&format!("the runtime cannot be started: {error}"));
            ExitCode::FAILURE
        }
    }
}
