//! Bounded reading of the files that a configuration names.
//!
//! Nothing here follows what a file says; it only refuses what is no file or is too large to read.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Reads a regular file of at most `bytes_max` bytes.
///
/// # Errors
/// The system's error; `InvalidInput` for what is no regular file (a pipe would block the load for ever);
/// `FileTooLarge` above the limit.
pub fn read_bounded(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut bytes = Vec::new();
    // One byte beyond the limit tells a file that grew from one that fits.
    File::open(path)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        let message = format!("it is larger than {bytes_max} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}
