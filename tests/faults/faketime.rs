//! The gateway under libfaketime: its wall clock is what a file says, the time that passes is left alone.

use std::path::PathBuf;

use crate::support::home::Home;

/// libfaketime for programs with threads.
fn library() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").expect("libraries are there").flatten().map(|entry| entry.path());
    let mut found = folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1")).filter(|path| path.is_file());
    found.next().expect("libfaketime is there; run scripts/install-test-tools.sh")
}

/// A home whose gateway reads its clock from a file; it begins with the machine's.
pub(crate) fn faked(home: Home) -> Home {
    let clock = home.path("clock");
    let home = home
        .environment("LD_PRELOAD", library().to_str().expect("UTF-8"))
        .environment("FAKETIME_TIMESTAMP_FILE", clock.to_str().expect("UTF-8"))
        .environment("FAKETIME_NO_CACHE", "1")
        .environment("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    set(&home, "+0");
    home
}

/// Sets it, as far from the machine's as `step` says: `+2h`.
pub(crate) fn set(home: &Home, step: &str) {
    let next = home.path("clock.next");
    std::fs::write(&next, format!("{step}\n")).expect("the clock can be set");
    // In one step: half a line would be another time.
    std::fs::rename(next, home.path("clock")).expect("the clock can be set");
}
