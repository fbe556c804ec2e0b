//! The operator's commands on the store and on the trail, with the real binary on real files.

mod approvals;
mod audit;
mod backup;
mod keys;
mod migrate;
mod restore;

use std::path::Path;
use std::process::{Output, Stdio};

use crate::support::gateway::holdpoint;
use crate::support::home::Home;

/// Runs `holdpoint WORDS… -c holdpoint.yaml REST…` in this home.
fn on_store(home: &Home, words: &[&str], rest: &[&str]) -> Output {
    home.write();
    let mut command = holdpoint(words);
    command.arg("-c").arg(home.path("holdpoint.yaml")).args(rest);
    command.envs(home.settings.environment.iter().cloned()).stdin(Stdio::null());
    command.output().expect("the binary can be run")
}

/// What it wrote, both streams.
fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Asserts the exit code and hands out what was said.
#[track_caller]
fn expect(output: &Output, code: i32) -> String {
    let said = said(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// The file, its log and everything else in its folder, as bytes.
fn bytes_below(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(folder).expect("the folder is readable");
    let files = entries.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_file());
    files.map(|path| (text(&path), std::fs::read(&path).expect("the file is readable"))).collect()
}
