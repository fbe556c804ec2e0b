//! Commands that end by themselves: clear errors, exit codes, and the files beside the binary that call it.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::gateway::{holdpoint, serve};
use crate::support::home::Home;
use crate::support::origin::Nowhere;
use crate::support::people::token;
use crate::support::rig::Rig;
use crate::support::wait::SOON;

fn root(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), name].iter().collect()
}

fn read(name: &str) -> String {
    std::fs::read_to_string(root(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// None of these gateways comes to send anything.
fn home() -> Home {
    Home::new(Nowhere::reserve().address)
}

/// Starts a gateway that must not come up; its exit code and what it said.
fn fails_to_serve(home: &Home) -> (i32, String) {
    let mut child = serve(home).spawn().expect("the binary can be started");
    let begin = std::time::Instant::now();
    while child.try_wait().expect("a child can be waited for").is_none() {
        if begin.elapsed() > SOON {
            drop(child.kill());
            panic!("the gateway came up");
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let output = child.wait_with_output().expect("a child can be waited for");
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[track_caller]
fn check_fails(home: &Home, code: i32, wanted: &[&str]) {
    let (status, said) = fails_to_serve(home);
    assert_eq!(status, code, "{said}");
    for text in wanted {
        assert!(said.contains(text), "`{text}` is missing: {said}");
    }
}

fn run(arguments: &[&str]) -> Output {
    holdpoint(arguments).stdin(Stdio::null()).output().expect("the binary can be run")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A configuration in which `from` is replaced.
fn replaced(from: &str, to: &str) -> Home {
    let mut home = home();
    let text = home.configuration();
    assert!(text.contains(from), "the rig's configuration has no `{from}`");
    home.settings.whole = Some(text.replace(from, to));
    home
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let home = replaced("proxy: { listen: \"127.0.0.1:0\" }", &format!("proxy: {{ listen: \"{address}\" }}"));
    check_fails(&home, 1, &[&address, "in use"]);
}

#[test]
fn a_store_that_cannot_be_written_is_named() {
    let home = replaced("sqlite://holdpoint.db", "sqlite:///nowhere/at/all/holdpoint.db");
    let (status, said) = fails_to_serve(&home);
    assert!([1, 2].contains(&status), "{status}: {said}");
    assert!(said.contains("/nowhere/at/all"), "{said}");
}

#[test]
fn a_store_that_is_something_else_is_left_alone() {
    let home = home();
    std::fs::write(home.path("holdpoint.db"), "This is a letter to my aunt.\n".repeat(200)).expect("written");
    let (status, said) = fails_to_serve(&home);
    assert_eq!(status, 1, "{said}");
    assert!(said.contains("holdpoint.db"), "{said}");
    let kept = std::fs::read_to_string(home.path("holdpoint.db")).expect("still text");
    assert!(kept.starts_with("This is a letter"));
}

#[test]
fn a_missing_secret_is_named_with_its_place() {
    let home = home().upstream_key("headers: { authorization: \"Bearer ${PAYMENTS_TOKEN}\" }");
    check_fails(&home, 2, &["PAYMENTS_TOKEN", "holdpoint.yaml:"]);
}

#[test]
fn an_unknown_key_is_named_with_its_place_and_a_suggestion() {
    check_fails(&home().key("polcies: [ x ]"), 2, &["holdpoint.yaml:", "polcies", "policies"]);
}

#[test]
fn a_broken_policy_is_named_with_its_place() {
    let home = home().policy("version: 1\nrules:\n  - { match: safe_read, acton: allow }\n");
    check_fails(&home, 2, &["policy.yaml:3", "acton", "action"]);
}

#[test]
fn without_reviewers_nothing_is_served() {
    let mut home = home();
    let text = home.configuration();
    let keep = |line: &&str| !line.contains("groups:") && !line.starts_with("reviewers:");
    home.settings.whole = Some(text.lines().filter(keep).collect::<Vec<_>>().join("\n"));
    check_fails(&home, 2, &["reviewers"]);
}

#[test]
fn h27_an_upstream_that_is_a_listener_of_the_gateway_is_refused() {
    let free = Nowhere::reserve().address;
    let mut home = Home::new(free);
    let text = home.configuration();
    home.settings.whole =
        Some(text.replace("admin: { listen: \"127.0.0.1:0\" }", &format!("admin: {{ listen: \"{free}\" }}")));
    check_fails(&home, 2, &["holdpoint.yaml:", "upstream `tools`", "listeners"]);
}

#[test]
fn check_reports_every_problem_at_once_in_text_and_in_json() {
    let home = home().key("polcies: [ x ]").key("drain_timeout: soon");
    home.write();
    let path = home.path("holdpoint.yaml").display().to_string();
    let plain = run(&["check", "-c", &path]);
    assert_eq!(plain.status.code(), Some(1), "{plain:?}");
    let said = format!("{}{}", text(&plain), String::from_utf8_lossy(&plain.stderr));
    assert!(said.contains("polcies") && said.contains("drain_timeout"), "{said}");
    let json = run(&["check", "-c", &path, "--format", "json"]);
    assert_eq!(json.status.code(), Some(1));
    let report: Value = serde_json::from_str(&text(&json)).unwrap_or_else(|error| panic!("{error}: {}", text(&json)));
    let said = report.to_string();
    assert!(said.contains("polcies") && said.contains("\"line\""), "{said}");
}

#[test]
fn check_of_a_good_configuration_shows_no_secret() {
    let home = home().upstream_key("headers: { authorization: \"Bearer ${PAYMENTS_TOKEN}\" }");
    home.write();
    let mut command = holdpoint(&["check", "-c"]);
    let output =
        command.arg(home.path("holdpoint.yaml")).env("PAYMENTS_TOKEN", "the-upstreams-own").output().expect("run");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let said = format!("{}{}", text(&output), String::from_utf8_lossy(&output.stderr));
    assert!(!said.contains("the-upstreams-own"), "{said}");
}

#[test]
fn check_of_a_file_that_is_not_there_could_not_find_out() {
    assert_eq!(run(&["check", "-c", "/nowhere/holdpoint.yaml"]).status.code(), Some(2));
}

#[test]
fn healthcheck_says_yes_while_it_runs_and_no_when_nothing_answers() {
    let rig = Rig::start();
    let admin = rig.gateway.admin.to_string();
    assert_eq!(run(&["healthcheck", "--admin", &admin]).status.code(), Some(0));
    assert_eq!(run(&["healthcheck", "--admin", &admin, "--live"]).status.code(), Some(0));
    let nowhere = Nowhere::reserve();
    assert_eq!(run(&["healthcheck", "--admin", &nowhere.address.to_string()]).status.code(), Some(1));
}

#[test]
fn a_new_token_and_its_digest_belong_together() {
    let made = text(&run(&["token", "new"]));
    let field = |name: &str| {
        let line = made.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name}: {made}"));
        line.trim().to_owned()
    };
    let (token, digest) = (field("token:"), field("token_sha256:"));
    let mut hash = holdpoint(&["token", "hash"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("run");
    std::io::Write::write_all(&mut hash.stdin.take().expect("piped"), token.as_bytes()).expect("written");
    let hashed = text(&hash.wait_with_output().expect("ended"));
    assert_eq!(hashed.trim(), digest);
    assert_ne!(made, text(&run(&["token", "new"])));
}

#[test]
fn completions_and_the_manual_name_every_command() {
    let manual = text(&run(&["man"]));
    let script = text(&run(&["completion", "bash"]));
    for command in
        ["serve", "check", "policy", "approvals", "audit", "backup", "restore", "migrate", "token", "healthcheck"]
    {
        assert!(manual.contains(command) && script.contains(command), "{command}");
    }
    for shell in ["zsh", "fish"] {
        assert!(text(&run(&["completion", shell])).contains("approvals"), "{shell}");
    }
    let page = text(&run(&["man", "audit", "verify"]));
    assert!(page.contains(".TH") && page.contains("expect"), "{page}");
    assert_eq!(run(&["man", "no-such-command"]).status.code(), Some(2));
}

/// The options that a command knows, from its own help.
pub(crate) fn check_flags(command: &str) {
    let words: Vec<&str> = command.split_whitespace().skip_while(|word| *word != "holdpoint").skip(1).collect();
    let subcommands: Vec<&str> =
        words.iter().copied().take_while(|word| word.chars().all(|c| c.is_ascii_lowercase())).take(2).collect();
    // `token new` is two words of command, `serve` one.
    let known = (1..=subcommands.len()).rev().find_map(|count| {
        let mut arguments = subcommands[..count].to_vec();
        arguments.push("--help");
        let help = run(&arguments);
        help.status.success().then(|| text(&help))
    });
    let help = known.unwrap_or_else(|| panic!("`{command}`: there is no such command"));
    for flag in words.iter().filter(|word| word.starts_with('-') && word.len() > 1) {
        let flag = flag.split('=').next().unwrap_or_default();
        assert!(
            help.contains(&format!("{flag} ")) || help.contains(&format!("{flag},")),
            "`{command}`: no `{flag}` in\n{help}"
        );
    }
}

#[test]
fn the_image_copies_what_exists_and_calls_what_the_binary_knows() {
    let dockerfile = read("Dockerfile").replace("\\\n", " ");
    let ignored = read(".dockerignore");
    let mut copied = 0;
    for line in dockerfile.lines().filter(|line| line.starts_with("COPY ") && !line.contains("--from=")) {
        let words: Vec<&str> = line.split_whitespace().skip(1).collect();
        for source in &words[..words.len() - 1] {
            assert!(root(source).exists(), "{line}: `{source}` does not exist");
            assert!(
                ignored.lines().any(|kept| kept.strip_prefix('!') == Some(source)),
                ".dockerignore leaves `{source}` out"
            );
            copied += 1;
        }
    }
    assert!(copied >= 5);
    builds_from(&dockerfile);
    for line in dockerfile
        .lines()
        .filter(|line| line.trim_start().starts_with("CMD [") || line.trim_start().starts_with("HEALTHCHECK"))
    {
        let list = line.split('[').nth(1).and_then(|rest| rest.split(']').next()).expect("a list of words");
        let words: Vec<String> = serde_json::from_str(&format!("[{list}]")).expect("the list is JSON");
        let words: Vec<&str> = words.iter().map(|word| word.trim_start_matches("/usr/local/bin/holdpoint")).collect();
        check_flags(&format!("holdpoint {}", words.join(" ")));
    }
    assert!(dockerfile.contains("\nUSER nonroot"), "the image must not run as root");
}

/// Lays out what the image's build would see and asks cargo whether it is a package; what sources include must be there too.
fn builds_from(dockerfile: &str) {
    let folder = tempfile::TempDir::new().expect("a temporary folder can be made");
    for line in dockerfile.lines().filter(|line| line.starts_with("COPY ") && !line.contains("--from=")) {
        let words: Vec<&str> = line.split_whitespace().skip(1).collect();
        for source in &words[..words.len() - 1] {
            let copied =
                Command::new("cp").arg("-r").arg(root(source)).arg(folder.path()).status().expect("cp can be run");
            assert!(copied.success(), "{source}");
        }
    }
    let cargo = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--no-deps", "--format-version", "1"])
        .current_dir(folder.path())
        .output()
        .expect("cargo can be run");
    assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
    check_includes(&folder.path().join("src"));
}

/// Checks that every file named by an `include_str!` or `include_bytes!` below `folder` exists, those of tests aside.
fn check_includes(folder: &std::path::Path) {
    for path in std::fs::read_dir(folder).expect("readable").map(|entry| entry.expect("readable").path()) {
        if path.is_dir() {
            check_includes(&path);
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let shipped = text.split("#[cfg(test)]").next().unwrap_or_default();
        for rest in shipped.split("include_").skip(1) {
            let Some(name) = rest.split_once("!(\"").and_then(|(_, rest)| rest.split('"').next()) else { continue };
            let included = path.parent().expect("a file is in a folder").join(name);
            let is_test = path.file_name().is_some_and(|name| name == "tests.rs");
            assert!(
                is_test || included.exists(),
                "{} includes {name}, which the image's build does not have",
                path.display()
            );
        }
    }
}

#[test]
fn the_service_unit_is_valid_and_calls_what_the_binary_knows() {
    let unit = read("contrib/holdpoint.service");
    let mut calls = 0;
    for line in unit.lines().filter(|line| line.starts_with("Exec") && line.contains("holdpoint ")) {
        check_flags(&line.replace("/usr/local/bin/", " "));
        calls += 1;
    }
    assert_eq!(calls, 2);
    for needed in
        ["DynamicUser=yes", "ProtectSystem=strict", "StateDirectory=holdpoint", "ExecReload=/bin/kill -HUP $MAINPID"]
    {
        assert!(unit.lines().any(|line| line == needed), "{needed}");
    }
    // systemd is not everywhere; where it is, it reads the unit with the real binary in place.
    let folder = tempfile::TempDir::new().expect("a temporary folder can be made");
    let path = folder.path().join("holdpoint.service");
    std::fs::write(&path, unit.replace("/usr/local/bin/holdpoint", env!("CARGO_BIN_EXE_holdpoint"))).expect("written");
    match Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path).output() {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let ours: Vec<&str> = said.lines().filter(|line| line.contains("holdpoint.service")).collect();
            assert!(ours.is_empty(), "{said}");
        }
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{error}"),
    }
}

#[test]
fn continuous_integration_runs_the_command_of_the_page() {
    let page = read("README.md");
    assert!(page.contains("./scripts/test.sh") && read(".ci/run").contains("./scripts/test.sh"));
    assert!(read("justfile").contains("\nci:\n    ./.ci/run\n"));
    assert!(
        page.contains("cargo run --locked --release -- demo")
            && read("justfile").contains("cargo run --locked --release -- demo")
    );
    for script in [".ci/run", "scripts/test.sh", "scripts/install-test-tools.sh"] {
        let checked = Command::new("bash").arg("-n").arg(root(script)).output().expect("bash can be run");
        assert!(checked.status.success(), "{script}: {}", String::from_utf8_lossy(&checked.stderr));
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(root(script)).expect("exists").permissions());
        assert_ne!(mode & 0o111, 0, "{script} cannot be executed");
    }
}

#[test]
fn the_log_and_the_trail_hold_no_credential() {
    let rig = Rig::with(|home| home.key("log: { level: trace }"));
    rig.bot().call("GET", "/tools/safe_status").send().expect(200, "");
    let (waiting, id) = rig.park();
    rig.alice().approve(&id);
    waiting.answer().expect(200, "");
    for (name, text) in [("log", rig.gateway.log()), ("trail", format!("{:?}", rig.alice().trail()))] {
        for who in ["bot", "alice"] {
            assert!(!text.contains(&token(who)), "the {name} holds the token of {who}");
        }
    }
}
