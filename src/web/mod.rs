//! What the API and the page share: who is at the other end of a browser, which hosts are ours, how answers are
//! protected, how queries and forms are read, and how text from agents is shown.
//!
//! It deliberately makes no answers and no problems of its own: its errors are small enums that the API turns into
//! problem documents and the page into pages. It never decides anything about an approval.
//!
//! Invariants: a cookie's value is never stored, only its digest; what is refused is refused before anything is read from
//! the store on the caller's behalf; every list, text and wait has a named limit.

pub mod body;
pub mod headers;
pub mod host;
pub mod listing;
pub mod origin;
pub mod query;
pub mod session;
pub mod text;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;

use crate::auth::Authenticator;
use crate::gate::Gate;

/// How many event streams may be open at once.
pub const EVENT_STREAMS_MAX: usize = 256;
/// How many attempts to sign in are looked at together. With [`SIGN_IN_DELAY`] this bounds guessing.
pub const SIGN_IN_ATTEMPTS_MAX: usize = 4;
/// How long a failed attempt to sign in takes.
pub const SIGN_IN_DELAY: Duration = Duration::from_millis(500);
/// The longest reason, note or similar text that a reviewer may write, in characters.
pub const REASON_CHARS_MAX: usize = 2_000;
/// How many approvals one bulk decision may name.
pub const BULK_MAX: usize = 200;

/// What the configuration says about the admin side.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Host names under which the admin listener may be reached, lower case, without port.
    pub allowed_hosts: Vec<String>,
    /// `scheme://host[:port]` of `admin.public_url`, lower case.
    pub public_origin: Option<String>,
    /// Whether browsers reach the page over TLS only.
    pub cookies: Cookies,
    /// How long a session lasts.
    pub session_ttl: Duration,
    /// The longest body of a created approval, in bytes; everything else has a fixed, smaller limit.
    pub body_bytes_max: usize,
    /// The longest wait that a caller may ask for.
    pub wait_max: Duration,
    /// Who may read `/metrics`.
    pub metrics: MetricsAccess,
}

/// Whether the session cookie is bound to TLS. The default is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cookies {
    /// `__Host-holdpoint`, `Secure`.
    #[default]
    Secure,
    /// `holdpoint_session`, for a page that is served in clear text on loopback.
    Plain,
}

/// Who may read `/metrics`. The default asks for a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MetricsAccess {
    /// A metrics token or an admin.
    #[default]
    Token,
    /// Everybody who reaches the admin listener: no metrics token is configured.
    Open,
}

/// What every handler of the API and the page needs. One for the whole process.
pub struct Shared {
    /// The use cases.
    pub gate: Arc<Gate>,
    /// The credentials of the moment; a reload swaps them.
    pub authenticator: Arc<ArcSwap<Authenticator>>,
    /// The settings of the moment; a reload swaps them.
    pub settings: Arc<ArcSwap<Settings>>,
    /// Bounds the event streams.
    pub event_streams: Arc<Semaphore>,
    /// Bounds guessing at the sign-in form.
    pub sign_in_attempts: Semaphore,
}

impl Shared {
    /// Puts the parts together.
    pub fn new(
        gate: Arc<Gate>,
        authenticator: Arc<ArcSwap<Authenticator>>,
        settings: Arc<ArcSwap<Settings>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            gate,
            authenticator,
            settings,
            event_streams: Arc::new(Semaphore::new(EVENT_STREAMS_MAX)),
            sign_in_attempts: Semaphore::new(SIGN_IN_ATTEMPTS_MAX),
        })
    }
}
