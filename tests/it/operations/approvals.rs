//! The queue from a terminal: the real binary against a running gateway.

use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use super::{expect, text};
use crate::support::gateway::{Gateway, Lines, holdpoint};
use crate::support::home::Home;
use crate::support::origin::Nowhere;
use crate::support::people::token;
use crate::support::ports::lasting_port;
use crate::support::rig::{Rig, gate_delete, repository};
use crate::support::wait::{until, until_true};

const HIDDEN: &str = "\u{1b}[31mred\u{202e}dne\u{9b}2J";

/// `holdpoint approvals WORDS…` as this reviewer.
fn approvals(rig: &Rig, who: &str, words: &[&str]) -> Command {
    let mut command = holdpoint(&["approvals"]);
    command
        .args(words)
        .env("HOLDPOINT_URL", format!("http://{}", rig.gateway.admin))
        .env("HOLDPOINT_TOKEN", token(who));
    command.stdin(Stdio::null());
    command
}

fn run(rig: &Rig, who: &str, words: &[&str]) -> Output {
    approvals(rig, who, words).output().expect("the binary can be run")
}

fn json_of(output: &Output) -> Value {
    assert!(output.status.success(), "{}", super::said(output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn a_reviewer_lists_shows_and_approves_from_a_terminal() {
    let rig = Rig::start();
    let (waiting, id) = rig.park();
    let listed = expect(&run(&rig, "alice", &["list"]), 0);
    let row = listed.lines().nth(1).expect("a row under the head");
    assert!(
        row.contains(&id) && row.contains("pending") && row.contains("delete_repo") && row.contains("bot"),
        "{listed}"
    );
    let shown = expect(&run(&rig, "alice", &["show", &id]), 0);
    for part in [
        "acme/website",
        "POST /delete_repo on tools",
        "gate-delete",
        "Deleting needs",
        "SHA-256",
        "waits",
        "1 of anybody",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let approval = json_of(&run(&rig, "alice", &["show", &id, "-o", "json"]));
    assert_eq!(approval["input"]["args"], repository());
    // Not what was shown: not decided.
    let other = "0".repeat(64);
    let said = expect(&run(&rig, "alice", &["approve", &id, "--payload-sha256", &other]), 1);
    assert!(said.contains("payload_mismatch"), "{said}");
    rig.nothing_was_sent();
    let seen = approval["payload_sha256"].as_str().expect("a hash");
    let said = expect(&run(&rig, "alice", &["approve", &id, "--reason", "checked", "--payload-sha256", seen]), 0);
    assert!(said.contains(&format!("{id} is approved")), "{said}");
    waiting.answer().expect(200, "");
    assert_eq!(rig.deletions(), 1);
    let approval = rig.alice().approval(&id);
    assert_eq!((approval["decided_by"]["id"].as_str(), approval["reason"].as_str()), (Some("alice"), Some("checked")));
    // The second decision loses and says so.
    let said = expect(&run(&rig, "bob", &["reject", &id]), 1);
    assert!(said.contains("already_decided"), "{said}");
    assert!(expect(&run(&rig, "alice", &["list"]), 0).contains("no approvals"));
    assert!(expect(&run(&rig, "alice", &["list", "--status", "any"]), 0).contains(&id));
}

#[test]
fn a_rejection_gives_its_reason_to_the_caller() {
    let rig = Rig::start();
    let (waiting, id) = rig.park();
    let after = json_of(&run(&rig, "alice", &["reject", &id, "-r", "not on a Friday", "-o", "json"]));
    assert_eq!(after["status"], "rejected");
    assert!(waiting.answer().expect(403, "rejected").text().contains("not on a Friday"));
    rig.nothing_was_sent();
}

#[test]
fn one_of_two_votes_says_what_is_still_needed() {
    let settings = "hold: 30s, approvers: { all_of: [ { group: ops }, { group: security } ] }";
    let rig = Rig::with(|home| home.policy(&gate_delete(settings)));
    let (waiting, id) = rig.park();
    let said = expect(&run(&rig, "alice", &["approve", &id]), 0);
    assert!(said.contains("pending") && said.contains("1 of security"), "{said}");
    expect(&run(&rig, "carol", &["approve", &id]), 0);
    waiting.answer().expect(200, "");
}

#[test]
fn the_exit_code_says_no_or_could_not() {
    let rig = Rig::start();
    let (waiting, id) = rig.park();
    let missing = format!("apr_{}", "0".repeat(36));
    assert!(expect(&run(&rig, "alice", &["show", &missing]), 1).contains("not_found"));
    expect(&run(&rig, "nobody-known", &["list"]), 2);
    let agent = expect(&run(&rig, "bot", &["approve", &id]), 1);
    assert!(agent.contains("forbidden"), "{agent}");
    expect(&run(&rig, "alice", &["show", "no-id"]), 2);
    expect(&run(&rig, "alice", &["list", "--status", "nonsense"]), 2);
    let without = approvals(&rig, "alice", &["list"]).env_remove("HOLDPOINT_TOKEN").output().expect("runs");
    let said = expect(&without, 2);
    assert!(said.contains("HOLDPOINT_TOKEN") && said.contains("--token-file"), "{said}");
    let nowhere = Nowhere::reserve();
    let url = format!("http://{}", nowhere.address);
    let said = expect(&run(&rig, "alice", &["list", "--url", &url]), 2);
    assert!(said.contains(&nowhere.address.to_string()), "{said}");
    // The agents' listener decides nothing.
    let url = format!("http://{}", rig.gateway.proxy);
    let said = run(&rig, "alice", &["approve", &id, "--url", &url]);
    assert!(!said.status.success(), "{said:?}");
    let url = "http://alice:secret@127.0.0.1";
    assert!(expect(&run(&rig, "alice", &["list", "--url", url]), 2).contains("does not belong"));
    rig.nothing_was_sent();
    assert_eq!(rig.alice().approval(&id)["status"], "pending");
    waiting.hang_up();
}

#[test]
fn the_token_comes_from_the_environment_or_a_file_and_is_in_no_argument_and_no_word() {
    let rig = Rig::start();
    let file = rig.home.path("token");
    std::fs::write(&file, format!("{}\n", token("alice"))).expect("written");
    let mut command = approvals(&rig, "alice", &["list", "--token-file", &text(&file)]);
    let output = command.env_remove("HOLDPOINT_TOKEN").output().expect("runs");
    assert!(!expect(&output, 0).contains(&token("alice")));
    // The file wins: a wrong one is not passed over.
    std::fs::write(&file, token("nobody-known")).expect("written");
    let said = expect(&run(&rig, "alice", &["list", "--token-file", &text(&file)]), 2);
    assert!(!said.contains(&token("nobody-known")) && !said.contains(&token("alice")), "{said}");
    std::fs::write(&file, "two words").expect("written");
    assert!(expect(&run(&rig, "alice", &["list", "--token-file", &text(&file)]), 2).contains("no token"));
    expect(&run(&rig, "alice", &["list", "--token-file", "/nowhere/token"]), 2);
    for command in ["list", "show", "watch", "approve", "reject"] {
        let help = super::said(&holdpoint(&["approvals", command, "--help"]).output().expect("runs"));
        assert!(help.contains("--token-file") && !help.contains("--token "), "{help}");
    }
}

#[test]
fn what_an_agent_wrote_reaches_the_terminal_as_visible_text_only() {
    let rig = Rig::start();
    let body = json!({ "repo": HIDDEN, "n": 12_345_678_901_234_567_890_u64 });
    let waiting = rig.bot().post("/tools/delete_repo", &body).header("traceparent", "x").start();
    let id = rig.gateway.one_pending();
    for words in [&["list"][..], &["list", "-o", "json"], &["show", &id], &["show", &id, "-o", "json"]] {
        let output = run(&rig, "alice", words);
        let said = expect(&output, 0);
        assert!(!said.contains(['\u{1b}', '\u{202e}', '\u{9b}']), "{words:?}: {said:?}");
        if words.contains(&"json") || words.contains(&"show") {
            assert!(said.contains("12345678901234567890"), "exact digits: {said}");
        }
    }
    let shown = json_of(&run(&rig, "alice", &["show", &id, "-o", "json"]));
    assert_eq!(shown["input"]["args"]["repo"], HIDDEN, "the same value");
    waiting.hang_up();
}

#[test]
fn a_long_list_is_fetched_page_by_page_and_says_where_it_goes_on() {
    let limits = "limits: { pending_per_agent_max: 1000 }";
    let rig = Rig::with(|home| home.key(limits));
    for number in 0..230 {
        let body = json!({ "action": format!("deploy-{number}") });
        rig.bot().post("/_holdpoint/v1/approvals", &body).send().expect(201, "");
    }
    let all = json_of(&run(&rig, "alice", &["list", "-o", "json", "--limit", "1000", "--sort", "oldest"]));
    let names: Vec<&str> =
        all["approvals"].as_array().expect("a list").iter().map(|one| one["name"].as_str().expect("a name")).collect();
    assert_eq!(names.len(), 230);
    assert_eq!((names[0], names[229]), ("deploy-0", "deploy-229"));
    let first = json_of(&run(&rig, "alice", &["list", "-o", "json", "--limit", "210"]));
    let cursor = first["next_cursor"].as_str().expect("there are more");
    let rest = json_of(&run(&rig, "alice", &["list", "-o", "json", "--cursor", cursor]));
    assert_eq!(
        (first["approvals"].as_array().map(Vec::len), rest["approvals"].as_array().map(Vec::len)),
        (Some(210), Some(20))
    );
    let table = run(&rig, "alice", &["list", "--limit", "5"]);
    assert_eq!(String::from_utf8_lossy(&table.stdout).lines().count(), 6);
    assert!(String::from_utf8_lossy(&table.stderr).contains("--cursor"), "{table:?}");
    let one = json_of(&run(&rig, "alice", &["list", "-o", "json", "--tool", "deploy-17"]));
    assert_eq!(one["approvals"][0]["name"], "deploy-17");
    assert_eq!(one["approvals"].as_array().map(Vec::len), Some(1));
}

/// With listeners that are the same after a restart.
fn fixed_ports(mut home: Home) -> Home {
    let listen = || format!("127.0.0.1:{}", lasting_port());
    let text = home.configuration();
    let text = text.replacen("127.0.0.1:0", &listen(), 1).replacen("127.0.0.1:0", &listen(), 1);
    home.settings.whole = Some(text);
    home
}

#[test]
fn watch_that_fell_too_far_behind_says_so_and_shows_the_queue_anew() {
    let rig = Rig::with(|home| fixed_ports(home.key("limits: { pending_per_agent_max: 2000 }")));
    let mut child =
        approvals(&rig, "alice", &["watch"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("runs");
    let lines = Lines::of(child.stdout.take().expect("piped"));
    let errors = Lines::of(child.stderr.take().expect("piped"));
    let ask = |rig: &Rig, name: &str| {
        let made = rig.bot().post("/_holdpoint/v1/approvals", &json!({ "action": name })).send().expect(201, "").json();
        made["id"].as_str().expect("an id").to_owned()
    };
    until_true("the queue is shown", || lines.text().contains("no approvals"));
    let seen = ask(&rig, "seen");
    until_true("it follows", || lines.text().contains(&seen));
    let signal = |name: &str| {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).status();
        assert!(sent.expect("kill can be run").success());
    };
    // It sleeps while its stream ends and more happens than the gateway tells one by one.
    signal("STOP");
    let Rig { gateway, home, origin } = rig;
    gateway.crash();
    let rig = Rig { gateway: Gateway::start(&home), home, origin };
    let missed: Vec<String> = (0..1_001).map(|number| ask(&rig, &format!("missed-{number}"))).collect();
    signal("CONT");
    until_true("it says so", || errors.text().contains("too much has happened"));
    until_true("the queue is shown anew", || lines.text().contains(&missed[1_000]));
    let later = ask(&rig, "later");
    until_true("it follows on", || lines.all().last().is_some_and(|line| line.contains(&later)));
    child.kill().expect("a running child can be killed");
    child.wait().expect("a killed child can be waited for");
}

#[test]
fn watch_shows_the_queue_and_then_what_happens_across_a_restart() {
    let rig = Rig::with(fixed_ports);
    let (waiting, first) = rig.park();
    let mut child =
        approvals(&rig, "alice", &["watch"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("runs");
    let lines = Lines::of(child.stdout.take().expect("piped"));
    let errors = Lines::of(child.stderr.take().expect("piped"));
    until_true("the queue is shown", || lines.text().contains(&first));
    rig.alice().reject(&first, "no");
    waiting.answer().expect(403, "rejected");
    let told =
        |id: &str, kind: &str| lines.all().iter().filter(|line| line.contains(id) && line.contains(kind)).count();
    until_true("the decision is shown", || told(&first, "approval_rejected") == 1);
    let Rig { gateway, home, origin } = rig;
    gateway.crash();
    until_true("it says that the gateway is away", || errors.text().contains("asking again"));
    let rig = Rig { gateway: Gateway::start(&home), home, origin };
    // The first call would be refused again without a question.
    let waiting = rig.bot().post("/tools/delete_repo", &json!({ "repo": "acme/other" })).start();
    let second = rig.gateway.one_pending();
    until("what happens after the restart is shown", || (told(&second, "approval_created") == 1).then_some(()));
    assert_eq!(told(&first, "approval_rejected"), 1, "nothing twice");
    child.kill().expect("a running child can be killed");
    child.wait().expect("a killed child can be waited for");
    waiting.hang_up();
}
