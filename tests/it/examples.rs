//! The examples, run as their pages say: every `sh` block is pasted into one shell, in order, and every `text` block must be
//! found in what the block before it printed.

use std::fmt::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::support::ports::lasting_port;
use crate::support::wait::until_within;

/// How long a whole example may take.
const BOUND: Duration = Duration::from_secs(90);
/// Stands between the outputs of two blocks.
const MARK: &str = "----- end of block";
/// The ports that the pages name; the test puts free ones in their place.
const PORTS: [&str; 4] = ["8080", "8081", "9000", "9001"];

/// A fenced block of a page.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// What stands behind the opening fence.
    pub(crate) language: String,
    /// Its lines.
    pub(crate) text: String,
}

/// The fenced blocks of a Markdown page.
pub(crate) fn blocks(page: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut open = false;
    for line in page.lines() {
        match line.strip_prefix("```") {
            Some(_) if open => open = false,
            Some(language) => {
                blocks.push(Block { language: language.trim().to_owned(), text: String::new() });
                open = true;
            }
            None if open => {
                let block = blocks.last_mut().expect("an open block is in the list");
                block.text.push_str(line);
                block.text.push('\n');
            }
            None => {}
        }
    }
    blocks
}

fn folder() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "examples"].iter().collect()
}

/// Puts free ports in place of those that the page names.
fn with_free_ports(text: &str, free: &[String]) -> String {
    PORTS.iter().zip(free).fold(text.to_owned(), |text, (port, free)| text.replace(port, free))
}

fn run(example: &str) {
    let source = folder().join(example);
    let copy = TempDir::new().expect("a temporary folder can be made");
    let free = PORTS.map(|_| lasting_port().to_string());
    for entry in std::fs::read_dir(&source).expect("the example is readable") {
        let path = entry.expect("readable").path();
        let text = std::fs::read_to_string(&path).expect("the example's files are text");
        let name = path.file_name().expect("a file has a name");
        std::fs::write(copy.path().join(name), with_free_ports(&text, &free)).expect("written");
    }
    let page = std::fs::read_to_string(copy.path().join("README.md")).expect("the example has a page");
    let blocks = blocks(&page);
    let mut script = String::from("set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n");
    for block in blocks.iter().filter(|block| block.language == "sh") {
        write!(script, "{}\necho\necho '{MARK}'\n", block.text).expect("writing to a string");
    }
    let printed = paste(copy.path(), &script);
    let outputs: Vec<&str> = printed.split(MARK).collect();
    let mut commands = 0;
    for block in &blocks {
        match block.language.as_str() {
            "sh" => commands += 1,
            "text" => {
                let output = outputs.get(commands - 1).unwrap_or(&"");
                for line in block.text.lines() {
                    assert!(
                        output.contains(line),
                        "{example}: `{line}` was not printed by block {commands}:\n{printed}"
                    );
                }
            }
            other => panic!("{example}: a block is `sh` or `text`, not `{other}`"),
        }
    }
    assert_eq!(outputs.len(), commands + 1, "{example}: not every block ran:\n{printed}");
}

/// Runs a script in a shell of its own; what it printed.
fn paste(folder: &Path, script: &str) -> String {
    let binary = Path::new(env!("CARGO_BIN_EXE_holdpoint")).parent().expect("a binary is in a folder");
    let path = std::env::var("PATH").unwrap_or_default();
    let output = folder.join("printed");
    let file = || std::fs::File::options().create(true).append(true).open(&output).expect("the output can be written");
    let mut shell = Command::new("bash")
        .arg("-c")
        .arg(script)
        .current_dir(folder)
        .env("PATH", format!("{}:{path}", binary.display()))
        .stdin(Stdio::null())
        .stdout(file())
        .stderr(file())
        // A group of its own: what the shell has started can be ended with it.
        .process_group(0)
        .spawn()
        .expect("bash can be started");
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        until_within(BOUND, "the example ends", || shell.try_wait().expect("a child can be waited for"))
    }));
    drop(Command::new("kill").args(["-KILL", "--", &format!("-{}", shell.id())]).stderr(Stdio::null()).status());
    drop(shell.wait());
    let printed = std::fs::read_to_string(&output).expect("the output is text");
    let log = std::fs::read_to_string(folder.join("gateway.log")).unwrap_or_default();
    match ended {
        Ok(status) => assert!(status.success(), "{status}\n{printed}\n--- gateway.log\n{log}"),
        Err(_) => panic!("the example did not end within {BOUND:?}\n{printed}\n--- gateway.log\n{log}"),
    }
    printed
}

#[test]
fn calls_mapped_to_tool_names_do_what_the_page_says() {
    run("rest-mapped-tools");
}

#[test]
fn names_from_an_openapi_document_do_what_the_page_says() {
    run("rest-openapi");
}

#[test]
fn a_service_that_knows_nothing_of_it_is_guarded_as_the_page_says() {
    run("unmodified-service");
}

#[test]
fn a_program_that_speaks_over_its_input_and_output_is_guarded_as_the_page_says() {
    run("mcp-stdio");
}

#[test]
fn a_remote_mcp_server_is_guarded_as_the_page_says() {
    run("mcp-remote");
}

#[test]
fn several_mcp_servers_are_one_endpoint_as_the_page_says() {
    run("mcp-several");
}

#[test]
fn every_example_is_run_here_and_keeps_its_secrets_out_of_its_files() {
    let source = include_str!("examples.rs");
    for entry in std::fs::read_dir(folder()).expect("the examples are readable") {
        let path = entry.expect("readable").path();
        let has_server = ["backend.py", "service.py", "server.py"].iter().any(|server| path.join(server).exists());
        if !path.join("README.md").exists() || !has_server {
            continue;
        }
        let name = path.file_name().expect("a folder has a name").to_string_lossy().into_owned();
        assert!(source.contains(&format!("run(\"{name}\")")), "examples/{name} has no test");
        let configuration = std::fs::read_to_string(path.join("holdpoint.yaml")).expect("it has a configuration");
        for line in configuration.lines().filter(|line| line.contains("token_sha256")) {
            assert!(line.contains("${"), "examples/{name}: a digest stands in the file: {line}");
        }
    }
}
