//! `holdpoint healthcheck`: one request to the admin listener, for containers that have no other HTTP client.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::{complain, say};

/// How long connecting, asking and answering may each take.
const TIMEOUT: Duration = Duration::from_secs(3);
/// As much of the answer as is looked at.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// Arguments of `holdpoint healthcheck`.
#[derive(Debug, Args)]
pub struct HealthcheckArgs {
    /// The admin listener, as host:port
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8081", env = "HOLDPOINT_ADMIN")]
    admin: String,
    /// Ask whether it is alive (`/healthz`) instead of whether it is ready (`/readyz`)
    #[arg(long)]
    live: bool,
}

/// Exit code 0 when the gateway answers 200, 1 otherwise.
pub fn run(args: &HealthcheckArgs) -> ExitCode {
    let path = if args.live { "/healthz" } else { "/readyz" };
    match status(&args.admin, path) {
        Ok(200) => {
            say("ok\n");
            ExitCode::SUCCESS
        }
        Ok(status) => {
            complain(&format!("{path} answered {status}"));
            ExitCode::FAILURE
        }
        Err(error) => {
            complain(&format!("`{}` does not answer: {error}", args.admin));
            ExitCode::FAILURE
        }
    }
}

fn status(admin: &str, path: &str) -> std::io::Result<u16> {
    let nothing = || std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address");
    let address = admin.to_socket_addrs()?.next().ok_or_else(nothing)?;
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    let line = String::from_utf8_lossy(&answer);
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.ok_or_else(|| std::io::Error::new(std::io::ErrorKind::InvalidData, "the answer is no HTTP response"))
}
