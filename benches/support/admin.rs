//! A reviewer's connection to the admin listener.

use std::io;
use std::net::SocketAddr;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::http::{Message, Messages};
use super::process::REVIEWER_TOKEN;

/// The most approvals that one page has, and one bulk decision takes.
#[allow(dead_code, reason = "not every benchmark lists")]
pub(crate) const PAGE_MAX: usize = 200;

/// Kept alive between requests; one request at a time.
pub(crate) struct Admin {
    messages: Messages,
    address: SocketAddr,
}

impl Admin {
    pub(crate) async fn connect(address: SocketAddr) -> io::Result<Self> {
        Ok(Self { messages: Messages::new(TcpStream::connect(address).await?)?, address })
    }

    /// Sends a request with the reviewer's token.
    pub(crate) async fn ask(&mut self, method: &str, path: &str, body: &str) -> io::Result<Message> {
        let credential = format!("authorization: Bearer {REVIEWER_TOKEN}\r\ncontent-type: application/json\r\n");
        self.send(method, path, &credential, body).await
    }

    /// As [`Admin::ask`], and anything but success is an error; returns the body.
    pub(crate) async fn expect(&mut self, method: &str, path: &str, body: &str) -> io::Result<String> {
        let answer = self.ask(method, path, body).await?;
        if !answer.head.starts_with("HTTP/1.1 200 ") {
            return Err(unexpected(&format!("{method} {path}"), &answer));
        }
        Ok(answer.body)
    }

    /// Sends a request with header lines of one's own.
    pub(crate) async fn send(&mut self, method: &str, path: &str, headers: &str, body: &str) -> io::Result<Message> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\n{headers}content-length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        self.messages.stream.write_all(request.as_bytes()).await?;
        self.messages.message().await?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// The member `pending` of the queue's figures.
    #[allow(dead_code, reason = "not every benchmark asks")]
    pub(crate) async fn pending(&mut self) -> io::Result<u64> {
        let stats = self.json("/v1/approvals/stats").await?;
        stats["pending"].as_u64().ok_or_else(|| io::Error::other(format!("no figure in {stats}")))
    }

    /// Every approval that `filter` (as in `status=pending`) finds, page by page.
    #[allow(dead_code, reason = "not every benchmark lists")]
    pub(crate) async fn all(&mut self, filter: &str) -> io::Result<Vec<serde_json::Value>> {
        let (mut found, mut cursor) = (Vec::new(), String::new());
        loop {
            let mut page = self.json(&format!("/v1/approvals?{filter}&limit={PAGE_MAX}{cursor}")).await?;
            if let serde_json::Value::Array(approvals) = page["approvals"].take() {
                found.extend(approvals);
            }
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(found),
            }
        }
    }

    async fn json(&mut self, path: &str) -> io::Result<serde_json::Value> {
        serde_json::from_str(&self.expect("GET", path, "").await?).map_err(io::Error::other)
    }
}

/// An answer that ends the measurement.
pub(crate) fn unexpected(what: &str, answer: &Message) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what}: {}\n{}", answer.head, answer.body))
}

/// The value that `share` of the sorted ones do not exceed.
#[allow(dead_code, reason = "not every benchmark measures time")]
pub(crate) fn quantile(sorted: &[std::time::Duration], share: f64) -> std::time::Duration {
    sorted[((sorted.len() - 1) as f64 * share) as usize]
}
