//! The front page is true: its configuration and policy load, its commands exist, its links lead somewhere.

use std::path::PathBuf;

use tempfile::TempDir;

use crate::cli::check_flags;
use crate::examples::blocks;
use crate::support::gateway::holdpoint;
use crate::support::home::digest;

fn root(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), name].iter().collect()
}

fn page() -> String {
    std::fs::read_to_string(root("README.md")).expect("the page is readable")
}

#[test]
fn the_policy_and_the_configuration_of_the_page_load_together() {
    let page = page();
    let yaml: Vec<String> =
        blocks(&page).into_iter().filter(|block| block.language == "yaml").map(|block| block.text).collect();
    let (configurations, policies): (Vec<_>, Vec<_>) = yaml.iter().partition(|text| text.contains("upstreams:"));
    assert!(!configurations.is_empty() && !policies.is_empty());
    let names: Vec<&str> = page.split("${").skip(1).filter_map(|rest| rest.split('}').next()).collect();
    for configuration in &configurations {
        for policy in &policies {
            let folder = TempDir::new().expect("a temporary folder can be made");
            std::fs::write(folder.path().join("policy.yaml"), policy).expect("written");
            std::fs::write(folder.path().join("holdpoint.yaml"), configuration).expect("written");
            let mut check = holdpoint(&["check", "-c"]);
            check.arg(folder.path().join("holdpoint.yaml"));
            for name in names
                .iter()
                .filter(|name| name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'))
            {
                check.env(name, digest(name));
            }
            let output = check.output().expect("the binary can be run");
            assert!(output.status.success(), "{}\n{configuration}\n{policy}", String::from_utf8_lossy(&output.stdout));
        }
    }
}

#[test]
fn the_json_of_the_page_is_json() {
    for block in blocks(&page()).iter().filter(|block| block.language == "json") {
        let read: Result<serde_json::Value, _> = serde_json::from_str(&block.text);
        assert!(read.is_ok(), "{read:?}\n{}", block.text);
    }
}

#[test]
fn the_commands_of_the_page_exist_with_their_options() {
    let page = page();
    let mut commands = 0;
    for block in blocks(&page).iter().filter(|block| block.language == "sh") {
        for line in block.text.lines() {
            let line = line.split(" #").next().unwrap_or_default();
            if line.starts_with("holdpoint ") {
                check_flags(line);
                commands += 1;
            } else if let Some((cargo, arguments)) = line.split_once(" -- ") {
                assert!(cargo.starts_with("cargo run"), "{line}");
                check_flags(&format!("holdpoint {arguments}"));
                commands += 1;
            } else if line.starts_with("./") {
                assert!(root(line.trim()).exists(), "{line}");
            }
        }
    }
    assert!(commands >= 3, "the page shows how it is run");
}

#[test]
fn the_links_of_the_pages_lead_somewhere() {
    for name in ["README.md", "CONTRIBUTING.md", "SECURITY.md", "ARCHITECTURE.md"] {
        let text = std::fs::read_to_string(root(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            if file.is_empty() || file.starts_with("http") {
                continue;
            }
            assert!(root(file).exists(), "{name} points to `{file}`, which does not exist");
        }
    }
}
