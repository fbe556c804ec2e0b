//! The points at which an upstream may die.

/// The deaths of any upstream, from the first that may come after the first byte was sent.
pub(crate) const DEATHS: [Death; 13] = [
    Death::Unread,
    Death::ResetUnread,
    Death::AfterHead,
    Death::AfterRequest,
    Death::ResetAfterRequest,
    Death::InStatusLine,
    Death::InHead,
    Death::Nonsense,
    Death::InBody,
    Death::ResetInBody,
    Death::InChunks,
    Death::SilentHead,
    Death::SilentBody,
];

/// When and how the upstream dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Death {
    /// It does not.
    None,
    /// Closes in place of the TLS handshake.
    InHandshake,
    /// Resets in place of the TLS handshake.
    ResetInHandshake,
    /// Says nothing in place of the TLS handshake.
    SilentHandshake,
    /// Closes its half before it reads.
    Unread,
    /// Resets before it reads.
    ResetUnread,
    /// Closes with the head read and the body not.
    AfterHead,
    /// Closes with the whole request read.
    AfterRequest,
    /// Resets with the whole request read.
    ResetAfterRequest,
    /// Closes in the middle of its status line.
    InStatusLine,
    /// Closes in the middle of its head.
    InHead,
    /// Answers what is no HTTP.
    Nonsense,
    /// Closes in the middle of a body with a length.
    InBody,
    /// Resets in the middle of a body with a length.
    ResetInBody,
    /// Closes in the middle of a chunked body.
    InChunks,
    /// Says nothing in place of an answer.
    SilentHead,
    /// Says nothing more in the middle of its body.
    SilentBody,
    /// Answers, then closes a connection that could have been kept.
    AfterAnswer,
    /// Answers, then resets a connection that could have been kept.
    ResetAfterAnswer,
}

impl Death {
    /// Whether it comes before the first byte of the request could be sent.
    pub(crate) fn is_before_sending(self) -> bool {
        matches!(self, Death::InHandshake | Death::ResetInHandshake | Death::SilentHandshake)
    }

    /// Whether a head with a status has been sent.
    pub(crate) fn is_in_body(self) -> bool {
        matches!(self, Death::InBody | Death::ResetInBody | Death::InChunks | Death::SilentBody)
    }

    /// What it says before it dies.
    pub(crate) fn last_words(self) -> &'static [u8] {
        match self {
            Death::InStatusLine => b"HTTP/1.1 2",
            Death::InHead => b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-le",
            Death::Nonsense => b"\x00\x01 what is this?\r\n\r\n",
            Death::InBody | Death::ResetInBody | Death::SilentBody => {
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{\"half\":"
            }
            Death::InChunks => {
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n8\r\n{\"half\":\r\n"
            }
            Death::None | Death::AfterAnswer | Death::ResetAfterAnswer => {
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
            }
            _ => b"",
        }
    }

    /// Whether it resets the connection in place of closing it.
    pub(crate) fn resets(self) -> bool {
        let resetting = [
            Death::ResetInHandshake,
            Death::ResetUnread,
            Death::ResetAfterRequest,
            Death::ResetInBody,
            Death::ResetAfterAnswer,
        ];
        resetting.contains(&self)
    }
}
