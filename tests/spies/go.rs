//! Programs in Go, which have to be built before they run.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Builds a source file below `tests`, once in a process however many tests ask for it; where the program is. A process builds one file.
pub(crate) fn built(source: &'static str) -> &'static Path {
    static BUILT: OnceLock<(&str, PathBuf)> = OnceLock::new();
    let (built, program) = BUILT.get_or_init(|| (source, build(source)));
    assert_eq!(*built, source, "one file for each process");
    program
}

fn build(source: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let program = folder.join(source.replace(['/', '.'], "-"));
    let output = Command::new("go")
        .arg("build")
        .arg("-o")
        .arg(&program)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(source))
        // The standard library is all that is needed: nothing is looked for elsewhere, and nothing written outside the target folder.
        .envs([("GO111MODULE", "off"), ("GOTOOLCHAIN", "local"), ("GOFLAGS", "")])
        .env("GOCACHE", folder.join("go-cache"))
        .output()
        .unwrap_or_else(|error| panic!("go: {error}; run scripts/install-test-tools.sh"));
    assert!(output.status.success(), "{source}: {}", String::from_utf8_lossy(&output.stderr));
    program
}
