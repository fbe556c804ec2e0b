//! HTTP/1.1 by hand, for both ends of the measurement: cheap, so that neither is the bottleneck.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

/// Room for a request or an answer of a call from the start.
const BUFFER_BYTES: usize = 16 * 1024;
/// A page of the queue has some hundred KiB; anything larger is a mistake in the measurement.
const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Reads messages off a connection, keeping what was read beyond one for the next.
pub(crate) struct Messages {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
}

/// A whole message.
#[allow(dead_code, reason = "not every benchmark reads what it is told")]
pub(crate) struct Message {
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Messages {
    pub(crate) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(BUFFER_BYTES) })
    }

    /// One of many that mostly wait: with room for nothing until something comes.
    #[allow(dead_code, reason = "not every benchmark holds connections")]
    pub(crate) fn small(stream: TcpStream) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// The head of the next message, once its body has been read as well; `None` at the end.
    async fn next(&mut self) -> io::Result<Option<String>> {
        let Some((head, length)) = self.whole().await? else { return Ok(None) };
        let text = String::from_utf8_lossy(&self.buffer[..head]).into_owned();
        self.buffer.drain(..head + length);
        Ok(Some(text))
    }

    /// The next message; `None` at the end.
    #[allow(dead_code, reason = "not every benchmark reads what it is told")]
    pub(crate) async fn message(&mut self) -> io::Result<Option<Message>> {
        let Some((head, length)) = self.whole().await? else { return Ok(None) };
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let message = Message { head: text(&self.buffer[..head]), body: text(&self.buffer[head..head + length]) };
        self.buffer.drain(..head + length);
        Ok(Some(message))
    }

    /// Reads until a message is whole; how long its head and its body are.
    async fn whole(&mut self) -> io::Result<Option<(usize, usize)>> {
        let mut whole = None;
        loop {
            if whole.is_none() {
                whole = head_and_length(&self.buffer)?;
            }
            if let Some((head, length)) = whole
                && self.buffer.len() >= head + length
            {
                return Ok(Some((head, length)));
            }
            if self.buffer.len() > MESSAGE_BYTES_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a message is larger than any that is sent"));
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }
}

/// How long head and body are, once the head is there.
fn head_and_length(bytes: &[u8]) -> io::Result<Option<(usize, usize)>> {
    let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&bytes[..end]).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        if name.eq_ignore_ascii_case("content-length") { value.trim().parse().ok() } else { None }
    });
    let length = length.ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, format!("a message without a content-length: {head}"))
    })?;
    Ok(Some((end + 4, length)))
}

/// Answers every request with `body`, and counts them.
#[allow(dead_code, reason = "not every benchmark has one")]
pub(crate) async fn origin(listener: TcpListener, body: &'static str, count: Arc<AtomicU64>) -> io::Result<()> {
    let answer =
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let answer: Arc<str> = answer.into();
    let tasks = TaskTracker::new();
    loop {
        let mut messages = Messages::new(listener.accept().await?.0)?;
        let (answer, count) = (answer.clone(), count.clone());
        tasks.spawn(async move {
            while let Ok(Some(_)) = messages.next().await {
                count.fetch_add(1, Ordering::Relaxed);
                if messages.stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
        });
    }
}

/// Sends `requests` times `request` to `address` over `connections` connections, each with one request at a time.
///
/// # Errors
/// When a connection fails or an answer is not 200: then nothing was measured.
#[allow(dead_code, reason = "not every benchmark loads")]
pub(crate) async fn load(address: SocketAddr, request: Arc<[u8]>, connections: u64, requests: u64) -> io::Result<()> {
    let left = Arc::new(AtomicU64::new(requests));
    let mut callers = JoinSet::new();
    for _ in 0..connections {
        let (request, left) = (request.clone(), left.clone());
        let mut messages = Messages::new(TcpStream::connect(address).await?)?;
        callers.spawn(async move {
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                messages.stream.write_all(&request).await?;
                let head = messages.next().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
                if !head.starts_with("HTTP/1.1 200 ") {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, format!("not answered with 200: {head}")));
                }
            }
            Ok(())
        });
    }
    while let Some(ended) = callers.join_next().await {
        ended.map_err(io::Error::other)??;
    }
    Ok(())
}
