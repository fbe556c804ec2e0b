//! HTTP/1.1 over a plain socket: sends exactly the bytes it is given and reads whole answers.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// How long a read may take before the test gives up: longer than any hold in the tests.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest answer that the tests read.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// An answer, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// The headers in order, names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// The body, without chunk framing.
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The first header of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON; `null` when it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The problem code, or nothing when the answer is no problem document.
    pub(crate) fn code(&self) -> String {
        match self.header("content-type") {
            Some("application/problem+json") => self.json()["code"].as_str().unwrap_or_default().to_owned(),
            _ => String::new(),
        }
    }

    /// The id of the approval that the answer names.
    ///
    /// # Panics
    /// When it names none.
    pub(crate) fn approval(&self) -> String {
        self.header("holdpoint-approval").unwrap_or_else(|| panic!("no approval is named: {self:?}")).to_owned()
    }

    /// Asserts status and problem code; hands itself on.
    #[track_caller]
    pub(crate) fn expect(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status, self.code().as_str()), (status, code), "{}", self.text());
        self
    }
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Wire {
    /// Connects.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).unwrap_or_else(|error| panic!("{address} does not answer: {error}"))
    }

    /// Connects, if anybody is there.
    pub(crate) fn try_connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(READ_TIMEOUT)).expect("a read time-out can be set");
        stream.set_nodelay(true).expect("a socket can be told not to wait");
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// Sends as much as the other side takes: one that refuses early closes before all is written.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        drop(self.stream.write_all(bytes));
    }

    /// A handle that closes the connection from outside.
    pub(crate) fn closer(&self) -> TcpStream {
        self.stream.try_clone().expect("a socket can be cloned")
    }

    /// Reads one answer to a request that was no HEAD.
    pub(crate) fn answer(&mut self) -> io::Result<Answer> {
        self.answer_to(false)
    }

    /// Reads one answer; one to a HEAD request has no body whatever its headers say.
    pub(crate) fn answer_to(&mut self, to_head: bool) -> io::Result<Answer> {
        loop {
            let head = self.read_past(b"\r\n\r\n")?;
            let (status, headers) = parse_head(&head)?;
            if (100..200).contains(&status) && status != 101 {
                continue;
            }
            let mut answer = Answer { status, headers, body: Vec::new() };
            if to_head || status == 204 || status == 304 {
                return Ok(answer);
            }
            answer.body = self.body_of(&answer)?;
            return Ok(answer);
        }
    }

    /// Reads the head of an answer; its body is still to come.
    pub(crate) fn head(&mut self) -> io::Result<Answer> {
        let (status, headers) = parse_head(&self.read_past(b"\r\n\r\n")?)?;
        Ok(Answer { status, headers, body: Vec::new() })
    }

    /// Reads one chunk of a chunked body; `None` after the last.
    pub(crate) fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let line = String::from_utf8(self.read_past(b"\r\n")?).map_err(|_| broken("chunk size"))?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(|_| broken("chunk size"))?;
        if size == 0 {
            while !self.read_past(b"\r\n")?.is_empty() {}
            return Ok(None);
        }
        let chunk = self.exactly(size)?;
        self.exactly(2)?;
        Ok(Some(chunk))
    }

    /// The body that an answer's head announces.
    pub(crate) fn body_of(&mut self, head: &Answer) -> io::Result<Vec<u8>> {
        if head.header("transfer-encoding").is_some_and(|coding| coding == "chunked") {
            return self.chunks();
        }
        match head.header("content-length") {
            Some(length) => self.exactly(length.parse().map_err(|_| broken("content-length"))?),
            None => self.rest(),
        }
    }

    /// Whether the other side has closed, and nothing unread is left. Waits for it.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.buffer.is_empty() && !matches!(self.fill(), Ok(true))
    }

    /// Everything up to the end of the stream.
    pub(crate) fn rest(&mut self) -> io::Result<Vec<u8>> {
        while self.fill()? {}
        Ok(std::mem::take(&mut self.buffer))
    }

    /// Reads up to and with `end`; what stands before it is returned.
    fn read_past(&mut self, end: &[u8]) -> io::Result<Vec<u8>> {
        loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|window| window == end) {
                let rest = self.buffer.split_off(at + end.len());
                let mut head = std::mem::replace(&mut self.buffer, rest);
                head.truncate(at);
                return Ok(head);
            }
            if !self.fill()? {
                let kind = io::ErrorKind::UnexpectedEof;
                return Err(io::Error::new(kind, format!("closed after {} bytes", self.buffer.len())));
            }
        }
    }

    fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < length {
            if !self.fill()? {
                return Err(broken("the body ended early"));
            }
        }
        let rest = self.buffer.split_off(length);
        Ok(std::mem::replace(&mut self.buffer, rest))
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk()? {
            body.extend(chunk);
        }
        Ok(body)
    }

    /// Reads more; false at the end.
    fn fill(&mut self) -> io::Result<bool> {
        if self.buffer.len() > ANSWER_BYTES_MAX {
            return Err(broken("the answer is too large for a test"));
        }
        let mut bytes = [0; 16 << 10];
        let count = self.stream.read(&mut bytes)?;
        self.buffer.extend_from_slice(&bytes[..count]);
        Ok(count > 0)
    }
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a broken answer: {what}"))
}

fn parse_head(head: &[u8]) -> io::Result<(u16, Vec<(String, String)>)> {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.split("\r\n");
    let line = lines.next().unwrap_or_default();
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(|| broken(line))?;
    let headers = lines
        .map(|line| {
            let (name, value) = line.split_once(':').ok_or_else(|| broken(line))?;
            Ok((name.to_ascii_lowercase(), value.trim().to_owned()))
        })
        .collect::<io::Result<_>>()?;
    Ok((status, headers))
}

/// The bytes of a request with a `Content-Length` when it has a body.
pub(crate) fn request(method: &str, target: &str, headers: &[(String, String)], body: Option<&[u8]>) -> Vec<u8> {
    let mut bytes = format!("{method} {target} HTTP/1.1\r\n").into_bytes();
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        bytes.extend_from_slice(b"host: localhost\r\n");
    }
    for (name, value) in headers {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    if let Some(body) = body {
        bytes.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body.unwrap_or_default());
    bytes
}
