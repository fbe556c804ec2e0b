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
    // A changed file is a reload for a gateway that runs here.
    let written = std::fs::read_to_string(home.path("holdpoint.yaml"));
    if !written.is_ok_and(|text| text == home.configuration()) {
        home.write();
    }
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

#[test]
fn the_commands_of_the_page_exist_with_their_options() {
    let page = [env!("CARGO_MANIFEST_DIR"), "docs/reference/commands.md"].join("/");
    let page = std::fs::read_to_string(page).expect("the page is readable");
    let shown = crate::examples::blocks(&page);
    let lines = shown.iter().filter(|block| block.language == "sh").flat_map(|block| block.text.lines());
    let commands: Vec<&str> = lines.filter(|line| line.starts_with("holdpoint ")).collect();
    assert!(commands.len() >= 12, "{commands:?}");
    for command in commands {
        crate::cli::check_flags(command);
    }
    // And every option that the page names in its text.
    let help = |words: &[&str]| said(&holdpoint(words).arg("--help").output().expect("the binary can be run"));
    for section in page.split("\n## ").skip(1) {
        let name = section.trim_start_matches("`holdpoint ").split('`').next().expect("a name");
        let all = help(&[name]);
        let below = ["tail", "verify", "export", "list", "show", "watch", "approve", "reject", ""];
        let below: String = below.iter().map(|sub| help(&[name, sub])).collect();
        let options = section.split('`').filter(|word| word.starts_with("--"));
        for option in options.filter_map(|option| option.split(' ').next()) {
            assert!(all.contains(option) || below.contains(option), "`{name}` has no `{option}`");
        }
    }
}
