//! HTTP/2 by hand: frames as bytes over TLS, and what comes back. Header blocks are written as literals, without tables.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::Value;

/// How long a read may take before the test gives up.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// After so long without room to write, the other side has stopped reading: it holds nothing more.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// What a client says first: the preface, and settings that change nothing.
pub(crate) const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// The names of error codes, by their number.
const ERRORS: [&str; 14] = [
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
];

/// A frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame is short").to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A header block.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        // Not indexed, and the name is written out.
        bytes.push(0);
        for text in [name, value] {
            length(&mut bytes, text.len());
            bytes.extend(text.as_bytes());
        }
    }
    bytes
}

/// An integer with a prefix of seven bits.
fn length(bytes: &mut Vec<u8>, mut value: usize) {
    if value < 127 {
        return bytes.push(u8::try_from(value).expect("it is small"));
    }
    bytes.push(127);
    value -= 127;
    while value >= 128 {
        bytes.push(u8::try_from(value % 128 + 128).expect("a byte"));
        value /= 128;
    }
    bytes.push(u8::try_from(value).expect("a byte"));
}

/// The fields that a request of `bot` begins with.
pub(crate) fn fields<'a>(method: &'a str, path: &'a str, bearer: &'a str) -> Vec<(&'a str, &'a str)> {
    let credential = ("authorization", bearer);
    vec![(":method", method), (":scheme", "https"), (":authority", "gateway.test"), (":path", path), credential]
}

/// What came on one stream, or about the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Came {
    /// A whole answer: its status, when it can be read without tables, and its body.
    Answer(u16, Vec<u8>),
    /// The stream was reset for this reason.
    Reset(&'static str),
    /// The connection ends for this reason.
    GoAway(&'static str),
    /// The connection is over.
    Closed,
}

impl Came {
    /// As the index of the corpus writes it.
    pub(crate) fn said(&self) -> String {
        match self {
            Came::Answer(status, body) => {
                let document: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
                match document["code"].as_str() {
                    Some(code) => format!("{status} {code}"),
                    None => status.to_string(),
                }
            }
            Came::Reset(why) => format!("reset {why}"),
            Came::GoAway(why) => format!("goaway {why}"),
            Came::Closed => "closed".to_owned(),
        }
    }
}

/// A client that trusts one authority.
#[derive(Debug, Clone)]
pub(crate) struct TlsClient(Arc<ClientConfig>);

impl TlsClient {
    /// Trusts the certificate in this file.
    pub(crate) fn trusting(authority: &Path) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(authority).expect("a certificate")).expect("it can be trusted");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config = builder.expect("versions").with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Self(Arc::new(config))
    }

    /// Connects, and agrees on HTTP/2.
    pub(crate) fn connect(&self, address: SocketAddr) -> Http2 {
        let tcp = TcpStream::connect(address).unwrap_or_else(|error| panic!("{address} does not answer: {error}"));
        tcp.set_read_timeout(Some(READ_TIMEOUT)).expect("a read time-out can be set");
        tcp.set_write_timeout(Some(WRITE_TIMEOUT)).expect("a write time-out can be set");
        let session = ClientConnection::new(self.0.clone(), address.ip().into()).expect("a session can be begun");
        let mut stream = StreamOwned::new(session, tcp);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).expect("the handshake succeeds");
        }
        assert_eq!(stream.conn.alpn_protocol(), Some(&b"h2"[..]));
        Http2 { stream, buffer: Vec::new(), begun: BTreeMap::new() }
    }
}

/// A connection. Answers are read one after the other.
pub(crate) struct Http2 {
    stream: StreamOwned<ClientConnection, TcpStream>,
    buffer: Vec<u8>,
    /// Answers that have begun, by stream.
    begun: BTreeMap<u32, (u16, Vec<u8>)>,
}

impl Http2 {
    /// Sends; false once the other side takes nothing more.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).and_then(|()| self.stream.flush()).is_ok()
    }

    /// Makes a request of this agent's without a body, and waits for what comes of it.
    pub(crate) fn ask(&mut self, method: &str, path: &str, token: &str) -> Came {
        let bearer = format!("Bearer {token}");
        self.send(HELLO);
        self.send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &block(&fields(method, path, &bearer))));
        self.next()
    }

    /// The next thing that matters. Settings, pings and windows do not.
    pub(crate) fn next(&mut self) -> Came {
        loop {
            let Ok((kind, flags, stream, payload)) = self.frame() else { return Came::Closed };
            match kind {
                // Trailers come behind a status that is known by then.
                HEADERS => drop(self.begun.entry(stream).or_insert_with(|| (status(&payload), Vec::new()))),
                DATA => self.begun.entry(stream).or_default().1.extend(payload),
                RST_STREAM => {
                    self.begun.remove(&stream);
                    return Came::Reset(error(&payload));
                }
                GOAWAY => return Came::GoAway(error(payload.get(4..).unwrap_or_default())),
                _ => continue,
            }
            if flags & END_STREAM != 0 {
                let (status, body) = self.begun.remove(&stream).unwrap_or_default();
                return Came::Answer(status, body);
            }
        }
    }

    fn frame(&mut self) -> io::Result<(u8, u8, u32, Vec<u8>)> {
        let head = self.take(9)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let payload = self.take(usize::try_from(length).expect("a length"))?;
        Ok((head[3], head[4], stream, payload))
    }

    fn take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = [0; 16 << 10];
        while self.buffer.len() < length {
            let count = self.stream.read(&mut bytes)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.buffer.extend_from_slice(&bytes[..count]);
        }
        let rest = self.buffer.split_off(length);
        Ok(std::mem::replace(&mut self.buffer, rest))
    }
}

/// The name of an error code.
fn error(payload: &[u8]) -> &'static str {
    let code = payload.get(..4).map_or(u32::MAX, |bytes| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
    usize::try_from(code).ok().and_then(|code| ERRORS.get(code)).copied().unwrap_or("unknown")
}

/// The status that a header block begins with: from the table that is always there, or as written; 0 when it is neither.
fn status(block: &[u8]) -> u16 {
    const KNOWN: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    match block {
        [indexed @ 0x88..=0x8e, ..] => KNOWN[usize::from(indexed - 0x88)],
        // A name from the table, and three digits as they are.
        [0x08 | 0x18 | 0x48, 3, digits @ ..] if digits.len() >= 3 => {
            std::str::from_utf8(&digits[..3]).ok().and_then(|digits| digits.parse().ok()).unwrap_or(0)
        }
        // The same, the digits in the code of HPACK, where the common ones are short.
        [0x08 | 0x18 | 0x48, length, code @ ..] if *length & 0x80 != 0 => {
            huffman_digits(&code[..usize::from(length & 0x7f).min(code.len())])
        }
        _ => 0,
    }
}

/// Three digits: `0` to `2` are codes of five bits, the others of six.
fn huffman_digits(code: &[u8]) -> u16 {
    let bits = code.iter().flat_map(|byte| (0..8).rev().map(move |bit| u16::from(byte >> bit & 1)));
    let (mut value, mut count, mut pending, mut length) = (0_u16, 0, 0_u16, 0);
    for bit in bits {
        (pending, length) = (pending << 1 | bit, length + 1);
        let digit = match (length, pending) {
            (5, 0..=2) => pending,
            (6, 0b01_1001..=0b01_1111) => pending - 0b01_1001 + 3,
            (6.., _) => return 0,
            _ => continue,
        };
        (value, count, pending, length) = (value * 10 + digit, count + 1, 0, 0);
        if count == 3 {
            return value;
        }
    }
    0
}
