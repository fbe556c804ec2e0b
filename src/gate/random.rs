//! Randomness for ids, tokens and links.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Gate;
use crate::domain::id::{ApprovalId, RequestId};
use crate::domain::time::Timestamp;

/// Where ids and tokens come from. The running gateway has the operating system's; a simulation hands in one that repeats.
pub trait Random: Send + Sync + 'static {
    /// Fills `bytes` with what nobody can guess and nobody has had.
    fn fill(&self, bytes: &mut [u8]);
}

/// The operating system's random source.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsRandom;

impl Random for OsRandom {
    fn fill(&self, bytes: &mut [u8]) {
        fill_random(bytes);
    }
}

impl Gate {
    /// 256 random bits as text, for cookies, CSRF tokens and links.
    pub fn random_token(&self) -> String {
        let mut bytes = [0; 32];
        self.inner.random.fill(&mut bytes);
        token(&bytes)
    }

    /// A new id for a request that arrived at `now`.
    pub fn new_request_id(&self, now: Timestamp) -> RequestId {
        let mut random = [0; 16];
        self.inner.random.fill(&mut random);
        RequestId::new(now, random)
    }

    /// A new id for an approval that is made now.
    pub(super) fn new_approval_id(&self) -> ApprovalId {
        let mut random = [0; 16];
        self.inner.random.fill(&mut random);
        ApprovalId::new(self.now(), random)
    }
}

/// 256 random bits as text.
pub fn random_token() -> String {
    let mut bytes = [0_u8; 32];
    fill_random(&mut bytes);
    token(&bytes)
}

pub(super) fn token(bytes: &[u8; 32]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

thread_local! {
    /// Random bytes that nobody has had yet, and how many of them are left.
    static RANDOM: std::cell::RefCell<([u8; RANDOM_BYTES], usize)> = const { std::cell::RefCell::new(([0; RANDOM_BYTES], 0)) };
}

/// How many random bytes are fetched at a time: each request needs some, and a system call for each would cost more than the bytes.
const RANDOM_BYTES: usize = 1024;

/// Fills from the operating system's random source. No byte is handed out twice.
pub fn fill_random(bytes: &mut [u8]) {
    RANDOM.with_borrow_mut(|(pool, left)| {
        if *left < bytes.len() {
            // Without randomness no id or token is safe: there is nothing to fall back to.
            getrandom::fill(pool).expect("the operating system has a random source");
            *left = RANDOM_BYTES;
        }
        let used = &mut pool[*left - bytes.len()..*left];
        bytes.copy_from_slice(used);
        used.fill(0);
        *left -= bytes.len();
    });
}
