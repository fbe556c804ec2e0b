//! Maps by names that the configuration gives. Looked up with whatever a request says, they are filled by nobody but the
//! operator: so their hash needs no secret, and can be cheaper than one that must withstand chosen keys.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map whose keys come from the configuration alone. Never insert what a request brings.
pub type NameMap<V> = HashMap<Box<str>, V, BuildHasherDefault<NameHasher>>;

/// Eight bytes at a time, each folded in by a multiplication.
#[derive(Debug, Clone, Copy, Default)]
pub struct NameHasher(u64);

/// 2^64 divided by the golden ratio, made odd.
const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;

impl NameHasher {
    fn fold(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word ^ FACTOR) * u128::from(FACTOR);
        self.0 = (product as u64) ^ (product >> 64) as u64;
    }
}

impl Hasher for NameHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.fold(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            self.fold(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, byte: u8) {
        self.fold(u64::from(byte));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::hash::BuildHasher;

    #[test]
    fn names_that_look_alike_spread_over_the_whole_range() {
        let hash = |text: &str| BuildHasherDefault::<NameHasher>::default().hash_one(text);
        let hashes: Vec<u64> = (0..10_000).map(|number| hash(&format!("payments.tool_{number}"))).collect();
        let distinct = |part: fn(u64) -> u64| hashes.iter().map(|hash| part(*hash)).collect::<HashSet<_>>().len();
        assert_eq!(distinct(|hash| hash), 10_000);
        assert_eq!(distinct(|hash| hash >> 57), 128, "the bits that a map tells entries apart by");
        // 10 000 balls into 65 536 boxes hit about 9 274 of them.
        assert!(distinct(|hash| hash & 0xFFFF) > 9_000, "the bits that a map finds its places by");
    }
}
