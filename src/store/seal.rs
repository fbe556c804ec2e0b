//! Sealing what is stored of a detached call: its request and its result, which hold credentials and payloads.
//!
//! AES-256-GCM with a random 96-bit nonce for each message. The context (the approval's id) is authenticated with it, so
//! that a sealed request cannot be moved to another approval. What this does not do: hide lengths, or protect against
//! somebody who can read the key.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use sha2::{Digest, Sha256};

/// How long a key is.
pub const KEY_BYTES: usize = 32;
/// The layout: this byte, the key's id, the nonce, the ciphertext with its tag.
const FORMAT: u8 = 1;
const HEADER_BYTES: usize = 2 + NONCE_LEN;

/// Seals with one key, and opens what was sealed with that or an earlier one.
pub struct Sealer {
    /// The first seals. Never empty.
    keys: Vec<Key>,
}

struct Key {
    /// The first byte of the key's SHA-256: says which key to try, and nothing that helps to find it.
    id: u8,
    aead: RandomizedNonceKey,
}

/// Why something was not sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The key cannot be used.
    #[error("the key cannot be used")]
    Key,
    /// It was not sealed by this program, or by a newer one.
    #[error("not a sealed message")]
    Format,
    /// None of the keys at hand sealed it.
    #[error("sealed with a key that is not at hand: put the earlier key behind the new one")]
    UnknownKey,
    /// It was changed, cut, or belongs to something else.
    #[error("changed since it was sealed, or moved from where it belongs")]
    Tampered,
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file cannot be read or made.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// It holds something else.
    #[error("{path}: holds {found} bytes, a key has {KEY_BYTES}: restore it, or delete it if no detached call is open")]
    Length {
        /// The file.
        path: String,
        /// How many bytes were found; reading stops one past a key.
        found: usize,
    },
    /// It holds nothing but zeros.
    #[error(
        "{path}: a key of zeros, which everybody knows: restore the file, or delete it if no detached call is open"
    )]
    Zeros {
        /// The file.
        path: String,
    },
    /// Others than its owner can read it.
    #[error("{path}: others than its owner can read it (mode {mode:04o}): `chmod 600 {path}`, and make a new key")]
    Readable {
        /// The file.
        path: String,
        /// Its permission bits.
        mode: u32,
    },
    /// The operating system gave no random bytes.
    #[error("the operating system gives no random bytes: {0}")]
    NoRandomness(String),
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

impl Key {
    fn new(key: &[u8; KEY_BYTES]) -> Result<Self, SealError> {
        let aead = RandomizedNonceKey::new(&AES_256_GCM, key).map_err(|_| SealError::Key)?;
        Ok(Self { id: Sha256::digest(key)[0], aead })
    }
}

impl Sealer {
    /// Seals and opens with one key.
    ///
    /// # Errors
    /// [`SealError::Key`]
    pub fn from_key(key: [u8; KEY_BYTES]) -> Result<Self, SealError> {
        Self::from_keys(key, &[])
    }

    /// Seals with `key`; opens what was sealed with it or with one of the `earlier` ones.
    ///
    /// # Errors
    /// [`SealError::Key`]
    pub fn from_keys(key: [u8; KEY_BYTES], earlier: &[[u8; KEY_BYTES]]) -> Result<Self, SealError> {
        let keys = std::iter::once(&key).chain(earlier).map(Key::new).collect::<Result<_, _>>()?;
        Ok(Self { keys })
    }

    /// Encrypts `plain`; only the same `context` opens it again.
    ///
    /// # Errors
    /// [`SealError::Key`] when the cipher refuses, which for messages below 64 GiB it does not.
    pub fn seal(&self, plain: &[u8], context: &[u8]) -> Result<Vec<u8>, SealError> {
        let key = self.keys.first().ok_or(SealError::Key)?;
        let mut body = plain.to_vec();
        let nonce = key.aead.seal_in_place_append_tag(Aad::from(context), &mut body).map_err(|_| SealError::Key)?;
        let mut sealed = Vec::with_capacity(HEADER_BYTES + body.len());
        sealed.extend_from_slice(&[FORMAT, key.id]);
        sealed.extend_from_slice(nonce.as_ref());
        sealed.append(&mut body);
        Ok(sealed)
    }

    /// Decrypts what [`Sealer::seal`] made.
    ///
    /// # Errors
    /// [`SealError::Format`], [`SealError::UnknownKey`], [`SealError::Tampered`]
    pub fn open(&self, sealed: &[u8], context: &[u8]) -> Result<Vec<u8>, SealError> {
        let (header, body) = sealed.split_at_checked(HEADER_BYTES).ok_or(SealError::Format)?;
        let (FORMAT, id) = (header[0], header[1]) else { return Err(SealError::Format) };
        let mut error = SealError::UnknownKey;
        // Two keys may share an id: each with this one is tried.
        for key in self.keys.iter().filter(|key| key.id == id) {
            let nonce = Nonce::try_assume_unique_for_key(&header[2..]).map_err(|_| SealError::Format)?;
            let mut plain = body.to_vec();
            match key.aead.open_in_place(nonce, Aad::from(context), &mut plain).map(|plain| plain.len()) {
                Ok(length) => {
                    plain.truncate(length);
                    return Ok(plain);
                }
                Err(_) => error = SealError::Tampered,
            }
        }
        Err(error)
    }
}

/// Reads the key in `path`, or makes one there: random, readable by its owner alone, on disk before it is used.
///
/// # Errors
/// [`KeyFileError`]; a file that is there is never overwritten.
pub fn load_or_create_key(path: &Path) -> Result<[u8; KEY_BYTES], KeyFileError> {
    let failed = |source| KeyFileError::Io { path: path.display().to_string(), source };
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => create_key(path, file),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => load_key(path),
        Err(error) => Err(failed(error)),
    }
}

fn create_key(path: &Path, mut file: File) -> Result<[u8; KEY_BYTES], KeyFileError> {
    let failed = |source| KeyFileError::Io { path: path.display().to_string(), source };
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key).map_err(|error| KeyFileError::NoRandomness(error.to_string()))?;
    file.write_all(&key).and_then(|()| file.sync_all()).map_err(failed)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // The name is in the folder: without this a power cut could lose the file and keep what it sealed.
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
    Ok(key)
}

fn load_key(path: &Path) -> Result<[u8; KEY_BYTES], KeyFileError> {
    let failed = |source| KeyFileError::Io { path: path.display().to_string(), source };
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Readable { path: path.display().to_string(), mode });
    }
    let mut bytes = Vec::with_capacity(KEY_BYTES + 1);
    file.take(KEY_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    let found = bytes.len();
    match bytes.try_into() {
        Ok(key) if key == [0; KEY_BYTES] => Err(KeyFileError::Zeros { path: path.display().to_string() }),
        Ok(key) => Ok(key),
        Err(_) => Err(KeyFileError::Length { path: path.display().to_string(), found }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    fn sealer(key: u8) -> Sealer {
        Sealer::from_key([key; 32]).expect("a key of 32 bytes")
    }

    #[test]
    fn what_was_sealed_opens_with_its_key_and_its_context_alone() {
        let sealed = sealer(1).seal(b"Bearer secret", b"apr_1").expect("seals");
        assert_eq!(sealer(1).open(&sealed, b"apr_1"), Ok(b"Bearer secret".to_vec()));
        assert_eq!(sealer(1).open(&sealed, b"apr_2"), Err(SealError::Tampered));
        assert_eq!(sealer(2).open(&sealed, b"apr_1"), Err(SealError::UnknownKey));
        assert!(!sealed.windows(6).any(|window| window == b"secret"));
        assert_ne!(sealed, sealer(1).seal(b"Bearer secret", b"apr_1").expect("seals"), "a nonce of its own each time");
        assert_eq!(sealer(1).open(&sealer(1).seal(b"", b"").expect("seals"), b""), Ok(Vec::new()));
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_noticed() {
        let sealed = sealer(1).seal(b"payload", b"apr_1").expect("seals");
        for place in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[place] ^= 1;
            assert!(sealer(1).open(&changed, b"apr_1").is_err(), "byte {place}");
            assert!(sealer(1).open(&sealed[..place], b"apr_1").is_err(), "cut at {place}");
        }
    }

    #[test]
    fn an_earlier_key_still_opens_and_the_new_one_seals() {
        let old = sealer(1).seal(b"x", b"c").expect("seals");
        let both = Sealer::from_keys([2; 32], &[[1; 32]]).expect("keys of 32 bytes");
        assert_eq!(both.open(&old, b"c"), Ok(b"x".to_vec()));
        let new = both.seal(b"y", b"c").expect("seals");
        assert_eq!(sealer(2).open(&new, b"c"), Ok(b"y".to_vec()));
        assert_eq!(sealer(1).open(&new, b"c"), Err(SealError::UnknownKey));
    }

    #[test]
    fn a_key_file_is_made_once_and_kept_private() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        let key = load_or_create_key(&path).expect("makes one");
        assert_ne!(key, [0; 32]);
        assert_eq!(load_or_create_key(&path).expect("reads it"), key);
        let mode = std::fs::metadata(&path).expect("is there").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        std::fs::set_permissions(&path, Permissions::from_mode(0o640)).expect("sets");
        assert!(matches!(load_or_create_key(&path), Err(KeyFileError::Readable { mode: 0o640, .. })));
    }

    #[test]
    fn a_key_file_of_another_length_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        for length in [0, 31, 33] {
            let path = folder.path().join(format!("key{length}"));
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).expect("makes");
            file.write_all(&vec![7; length]).expect("writes");
            assert!(matches!(load_or_create_key(&path), Err(KeyFileError::Length { found, .. }) if found == length));
            assert_eq!(std::fs::metadata(&path).expect("is there").len(), length as u64);
        }
        assert!(matches!(load_or_create_key(&folder.path().join("no/key")), Err(KeyFileError::Io { .. })));
        let zeros = folder.path().join("zeros");
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&zeros).expect("makes");
        file.write_all(&[0; 32]).expect("writes");
        assert!(matches!(load_or_create_key(&zeros), Err(KeyFileError::Zeros { .. })));
    }
}
