//! Randomness for ids, tokens and links.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// 256 random bits as text.
pub fn random_token() -> String {
    let mut bytes = [0_u8; 32];
    fill_random(&mut bytes);
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
