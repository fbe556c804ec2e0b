//! The fields that the gateway itself reads, found in one pass: a request has few fields, so walking over them once costs less
//! than one look-up for each name that it may have.

use super::hygiene::may_reach_upstream;
use super::{HeadError, HeadLimits};
use http::{HeaderMap, HeaderName, HeaderValue};

/// What a field costs beside its name and value: `: ` and the end of the line.
const FRAMING_BYTES: usize = 4;

/// A field that may stand in a head once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Field<'h> {
    #[default]
    Absent,
    Once(&'h HeaderValue),
    Repeated,
}

impl<'h> Field<'h> {
    fn note(&mut self, value: &'h HeaderValue) {
        *self = match self {
            Self::Absent => Self::Once(value),
            Self::Once(_) | Self::Repeated => Self::Repeated,
        };
    }

    /// The field's value; an error when it came more than once.
    pub(super) const fn at_most_once(self) -> Result<Option<&'h HeaderValue>, ()> {
        match self {
            Self::Absent => Ok(None),
            Self::Once(value) => Ok(Some(value)),
            Self::Repeated => Err(()),
        }
    }
}

/// What stands in a head beside the fields that frame it: each says whether it is worth a look-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Noted {
    /// `Upgrade`: the caller asks to change the protocol.
    pub upgrade: bool,
    /// `Prefer`.
    pub prefer: bool,
    /// `Idempotency-Key`.
    pub idempotency_key: bool,
    /// `Traceparent`.
    pub traceparent: bool,
    /// Something for [`strip_for_upstream`](super::strip_for_upstream) to take out.
    pub not_for_upstream: bool,
}

/// One head's fields.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Fields<'h> {
    pub(super) host: Field<'h>,
    pub(super) content_length: Field<'h>,
    pub(super) transfer_encoding: Field<'h>,
    pub(super) expect: Field<'h>,
    pub(super) noted: Noted,
}

impl<'h> Fields<'h> {
    /// Walks over all fields, within `limits`.
    pub(super) fn read(headers: &'h HeaderMap, limits: &HeadLimits) -> Result<Self, HeadError> {
        if headers.len() > limits.header_count {
            return Err(HeadError::HeaderCount { limit: limits.header_count });
        }
        let (mut fields, mut bytes) = (Self::default(), 0_usize);
        let mut with_underscore: Option<&HeaderName> = None;
        for (name, value) in headers {
            let text = name.as_str();
            bytes += text.len() + value.len() + FRAMING_BYTES;
            // CGI-style servers turn `-` into `_`, so `Transfer_Encoding` becomes the header it is not.
            if with_underscore.is_none() && text.bytes().any(|byte| byte == b'_') {
                with_underscore = Some(name);
            }
            fields.note(text, value);
        }
        if bytes > limits.header_bytes {
            return Err(HeadError::HeaderBytes { limit: limits.header_bytes });
        }
        match with_underscore {
            Some(name) => Err(HeadError::header_name(name)),
            None => Ok(fields),
        }
    }

    fn note(&mut self, name: &str, value: &'h HeaderValue) {
        match name {
            "host" => self.host.note(value),
            "content-length" => self.content_length.note(value),
            "transfer-encoding" => self.transfer_encoding.note(value),
            "expect" => self.expect.note(value),
            "upgrade" => self.noted.upgrade = true,
            "prefer" => self.noted.prefer = true,
            "idempotency-key" => self.noted.idempotency_key = true,
            "traceparent" => self.noted.traceparent = true,
            _ => {}
        }
        self.noted.not_for_upstream |= !may_reach_upstream(name);
    }
}
