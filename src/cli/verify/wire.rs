//! HTTP/1.1 as bytes: what is sent is exactly what is given, also where that is malformed on purpose.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// The longest silence while an answer is read.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(60);
/// The longest message that is read.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// A request in the making.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Option<Vec<u8>>,
}

impl Request {
    pub(super) fn new(method: &str, target: &str) -> Self {
        Self { method: method.to_owned(), target: target.to_owned(), headers: Vec::new(), body: None }
    }

    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(super) fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub(super) fn json(self, body: impl Into<Vec<u8>>) -> Self {
        let mut request = self.header("content-type", "application/json");
        request.body = Some(body.into());
        request
    }

    /// The bytes on the wire. `Host` and the length of the body are written unless they are given.
    pub(super) fn bytes(&self, address: SocketAddr) -> Vec<u8> {
        let given = |wanted: &str| self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted));
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        if !given("host") {
            head.push_str(&format!("host: {address}\r\n"));
        }
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(body) = &self.body
            && !given("content-length")
        {
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        head.push_str("connection: close\r\n\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend(self.body.iter().flatten());
        bytes
    }

    /// Sends it on a connection of its own and reads the answer.
    pub(super) fn send(&self, address: SocketAddr) -> io::Result<Answer> {
        exchange(address, &self.bytes(address))
    }
}

/// An answer, whole.
#[derive(Debug, Clone, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; `null` when it is none.
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Status and the beginning of the body, for a report.
    pub(super) fn shown(&self) -> String {
        const SHOWN_CHARS: usize = 240;
        let text: String =
            self.text().chars().map(|c| if c.is_control() { ' ' } else { c }).take(SHOWN_CHARS).collect();
        format!("{} {text}", self.status).trim_end().to_owned()
    }
}

/// Sends bytes on a new connection and reads one answer.
pub(super) fn exchange(address: SocketAddr, bytes: &[u8]) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    stream.set_write_timeout(Some(SILENCE_MAX))?;
    stream.set_nodelay(true)?;
    // A gateway that refuses early closes before all is written; what it answered can still be read.
    drop(stream.write_all(bytes));
    let mut reader = Reader::new(stream);
    loop {
        let (start, headers) = reader.head()?;
        let status = start.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status: u16 = status.ok_or_else(|| broken(&start))?;
        if (100..200).contains(&status) {
            continue;
        }
        let mut answer = Answer { status, headers, body: Vec::new() };
        if status != 204 && status != 304 {
            answer.body = match reader.body(&answer.headers)? {
                Some(body) => body,
                None => reader.rest()?,
            };
        }
        return Ok(answer);
    }
}

/// Reads messages from a connection.
pub(super) struct Reader {
    stream: TcpStream,
    buffer: Vec<u8>,
}

type Head = (String, Vec<(String, String)>);

impl Reader {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// The first line and the headers.
    pub(super) fn head(&mut self) -> io::Result<Head> {
        let head = self.past(b"\r\n\r\n")?;
        let text = String::from_utf8_lossy(&head).into_owned();
        let mut lines = text.split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(':').ok_or_else(|| broken(line))?;
            Ok((name.to_ascii_lowercase(), value.trim().to_owned()))
        });
        Ok((start, headers.collect::<io::Result<_>>()?))
    }

    /// The body that the headers announce; `None` when they announce none.
    pub(super) fn body(&mut self, headers: &[(String, String)]) -> io::Result<Option<Vec<u8>>> {
        let of = |wanted: &str| headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
        if of("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            return self.chunks().map(Some);
        }
        match of("content-length") {
            Some(length) => self.exactly(length.parse().map_err(|_| broken("content-length"))?).map(Some),
            None => Ok(None),
        }
    }

    fn rest(&mut self) -> io::Result<Vec<u8>> {
        while self.fill()? {}
        Ok(std::mem::take(&mut self.buffer))
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = String::from_utf8(self.past(b"\r\n")?).map_err(|_| broken("chunk size"))?;
            let size = usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16);
            let size = size.map_err(|_| broken("chunk size"))?;
            if size == 0 {
                while !self.past(b"\r\n")?.is_empty() {}
                return Ok(body);
            }
            body.extend(self.exactly(size)?);
            self.exactly(2)?;
        }
    }

    /// Everything before `end`, which is read too.
    fn past(&mut self, end: &[u8]) -> io::Result<Vec<u8>> {
        loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|window| window == end) {
                let rest = self.buffer.split_off(at + end.len());
                let mut before = std::mem::replace(&mut self.buffer, rest);
                before.truncate(at);
                return Ok(before);
            }
            if !self.fill()? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < length {
            if !self.fill()? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let rest = self.buffer.split_off(length);
        Ok(std::mem::replace(&mut self.buffer, rest))
    }

    /// Reads more; false at the end.
    fn fill(&mut self) -> io::Result<bool> {
        if self.buffer.len() > MESSAGE_BYTES_MAX {
            return Err(broken("too large"));
        }
        let mut bytes = [0; 16 << 10];
        let count = self.stream.read(&mut bytes)?;
        self.buffer.extend_from_slice(&bytes[..count]);
        Ok(count > 0)
    }
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a broken message: {what}"))
}
