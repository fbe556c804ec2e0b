//! Whether an MCP server has answered the call that it was sent. Its status says only that it took the message: without a response to
//! it nobody knows what became of the call.

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;

use crate::domain::call::Protocol;
use crate::gate::held::HeldRequest;
use crate::gate::release::Sent;
use crate::protocol::mcp::{Id, is_response_to, sse};

/// What is looked through for the response. In more than this it is taken to be there.
const LOOKED_INTO_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Reads an answer along.
#[derive(Debug)]
pub struct Expected {
    id: Id,
    found: bool,
    /// Whether an event with an id will do: a place from which a caller asks for the rest itself.
    takes_place: bool,
    read: Read,
}

#[derive(Debug)]
enum Read {
    Document(Vec<u8>),
    Events(sse::Reader),
    /// Neither a document nor events: no response can be in it.
    Nothing,
}

impl Expected {
    /// What is expected in answer to a request; `None` where the status says everything.
    pub fn of(request: &HeldRequest) -> Option<Self> {
        let is_mcp = request.protocol == Protocol::Mcp;
        let value = request.value().ok().flatten().filter(|_| is_mcp)?;
        let id = Id::of(value.member("id")?)?;
        Some(Self { id, found: false, takes_place: false, read: Read::Nothing })
    }

    /// The head of the answer is here. `to_caller`: it goes to a caller, who may ask for the rest of an event stream.
    #[must_use]
    pub fn in_answer(mut self, head: &HeaderMap, to_caller: bool) -> Self {
        self.takes_place = to_caller;
        let kind = head.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        self.read = match kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
            "application/json" => Read::Document(Vec::new()),
            sse::MEDIA_TYPE => Read::Events(sse::Reader::new(LOOKED_INTO_BYTES_MAX)),
            _ => Read::Nothing,
        };
        self
    }

    /// The next piece of it.
    pub fn look(&mut self, piece: &Bytes) {
        if self.found {
            return;
        }
        match &mut self.read {
            Read::Document(text) if text.len() + piece.len() <= LOOKED_INTO_BYTES_MAX => text.extend_from_slice(piece),
            Read::Document(_) => self.found = true,
            Read::Events(reader) => {
                reader.push(piece);
                while !self.found {
                    match reader.next_event() {
                        Ok(None) => break,
                        Ok(Some(event)) => {
                            self.found = (self.takes_place && event.id.is_some_and(|id| !id.is_empty()))
                                || event.data.is_some_and(|data| is_response_to(&data, &self.id));
                        }
                        Err(_) => self.found = true,
                    }
                }
            }
            Read::Nothing => {}
        }
        if self.found {
            self.read = Read::Nothing;
        }
    }

    fn ended(&self, status: u16) -> Sent {
        let found = match &self.read {
            Read::Document(text) => std::str::from_utf8(text).is_ok_and(|text| is_response_to(text, &self.id)),
            Read::Events(_) | Read::Nothing => self.found,
        };
        match found {
            true => Sent::Answered(status),
            false => Sent::Lost(format!("the upstream answered {status} and no result")),
        }
    }
}

/// What became of a call whose answer has come to its end.
pub fn ended(expected: Option<&Expected>, status: u16) -> Sent {
    expected.map_or(Sent::Answered(status), |expected| expected.ended(status))
}
