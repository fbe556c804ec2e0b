//! Row H28 beyond the page: what an agent or a reviewer wrote stays inert in a terminal, in exports and in what the API hands out.

use serde_json::{Value, json};

use crate::support::gateway::holdpoint;
use crate::support::people::token;
use crate::support::rig::Rig;

/// Colours and cursor movements of terminals, a bell, text that runs backwards, line ends of all kinds, invisible characters, markup,
/// and what spreadsheets take for a formula.
const HOSTILE: &str = "\u{1b}[31m\u{1b}[2J\u{1b}]0;title\u{7}\u{9b}1m\u{202e}gnirts\u{2066}\u{200b}\u{2028}\u{85}\r\n\t\u{7f}<script>alert(1)</script>[x](javascript:1)=cmd|'/c calc'!A1";

/// What nothing that is shown may hold as it is. A line end ends a line, and is counted apart.
fn active(text: &str) -> Vec<char> {
    let bad = |c: &char| {
        (c.is_control() && *c != '\n')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    text.chars().filter(bad).collect()
}

#[test]
fn h28_hostile_text_is_inert_in_terminals_and_exports() {
    let rig = Rig::start();
    let call = rig.bot().post("/tools/delete_repo", &json!({ "repo": HOSTILE }));
    let waiting = call.header("traceparent", "00-=cmd-0-01").start();
    let held = rig.gateway.one_pending();
    rig.alice().try_decide(&held, "rejected", Some(HOSTILE)).expect(200, "");
    drop(waiting.outcome());
    let asked =
        rig.bot().post("/_holdpoint/v1/approvals", &json!({ "action": "deploy", "context": { "note": HOSTILE } }));
    let asked = asked.send().expect(201, "").json()["id"].as_str().expect("an id").to_owned();

    let admin = format!("http://{}", rig.gateway.admin);
    let config = rig.home.path("holdpoint.yaml").display().to_string();
    let export = rig.home.path("trail.ndjson").display().to_string();
    let mut shown = Vec::new();
    for arguments in [
        vec!["approvals", "list", "--url", &admin],
        vec!["approvals", "show", &asked, "--url", &admin],
        vec!["approvals", "show", &held, "--url", &admin],
        vec!["audit", "tail", "-c", &config],
        vec!["audit", "export", "-c", &config, "--to", &export],
    ] {
        let output = holdpoint(&arguments).env("HOLDPOINT_TOKEN", token("alice")).output().expect("it can be run");
        let text = String::from_utf8(output.stdout).expect("text") + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {text}");
        shown.push((arguments.join(" "), text));
    }
    for (what, text) in &shown {
        assert_eq!(active(text), Vec::<char>::new(), "{what}: {text:?}");
    }
    // It is shown, and not merely left out.
    assert!(shown[1].1.contains("gnirts") && shown[2].1.contains("gnirts"), "{shown:?}");
    // Documents carry the text itself, with escapes of JSON for what must not be taken as it is.
    let mut documents = vec![std::fs::read_to_string(&export).expect("the export is there"), rig.gateway.log()];
    for target in ["/v1/audit/export", "/v1/audit", "/v1/approvals", &format!("/v1/approvals/{held}")] {
        documents.push(rig.alice().call("GET", target).send().expect(200, "").text());
    }
    documents
        .push(rig.bot().post("/tools/delete_repo", &json!({ "repo": HOSTILE })).send().expect(403, "rejected").text());
    for text in &documents {
        assert_eq!(active(text), Vec::<char>::new(), "{text:?}");
        for line in text.lines() {
            assert!(serde_json::from_str::<Value>(line).is_ok_and(|line| line.is_object()), "{line:?}");
        }
    }
    let reason = |line: &str| serde_json::from_str::<Value>(line).expect("JSON")["event"]["detail"]["reason"].clone();
    assert!(documents[0].lines().any(|line| reason(line) == HOSTILE), "the reason is exported as it was given");
}
