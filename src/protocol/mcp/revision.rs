//! The revisions of the protocol.

use std::fmt;

/// A revision, oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Revision {
    /// 2025-03-26: the first with this transport.
    March2025,
    /// 2025-06-18.
    June2025,
    /// 2025-11-25: event streams may be resumed from their first byte; tasks.
    November2025,
    /// 2026-07-28: no sessions; each request says all about itself.
    July2026,
}

impl Revision {
    /// Every one of them, oldest first.
    pub const ALL: [Self; 4] = [Self::March2025, Self::June2025, Self::November2025, Self::July2026];

    /// By its date.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|revision| revision.as_str() == text)
    }

    /// Its date.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::March2025 => "2025-03-26",
            Self::June2025 => "2025-06-18",
            Self::November2025 => "2025-11-25",
            Self::July2026 => "2026-07-28",
        }
    }

    /// Whether requests stand alone: no sessions, and closing the stream takes the request back.
    pub const fn is_stateless(self) -> bool {
        matches!(self, Self::July2026)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
