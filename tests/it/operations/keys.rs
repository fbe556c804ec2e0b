//! What is sealed, and with which key.

use serde_json::json;

use super::{bytes_below, expect, on_store, text};
use crate::guarantees::keys::with_keys;
use crate::support::gateway::{Gateway, serve};
use crate::support::home::Home;
use crate::support::rig::{Rig, gate_delete};

fn key(byte: char) -> String {
    format!("{}=", byte.to_string().repeat(43))
}

fn again(mut home: Home, key: &str, previous: &[&str]) -> Home {
    home.settings.whole = None;
    with_keys(home, key, previous)
}

impl Rig {
    fn ask(&self, repo: &str) -> String {
        let call = self.bot().post("/tools/delete_repo", &json!({ "repo": repo })).header("prefer", "respond-async");
        call.send().expect(202, "").approval()
    }
}

#[test]
fn a_key_is_rotated_and_the_earlier_one_is_not_needed_after_resealing() {
    let (old, new) = (key('I'), key('E'));
    let rig = Rig::with(|home| with_keys(home.policy(&gate_delete("hold: 30s")), &old, &[]));
    let first = rig.ask("acme/first");
    let Rig { gateway, home, origin } = rig;
    gateway.stop();
    // Both keys: what is new is sealed under the new one.
    let home = again(home, &new, &[&old]);
    let rig = Rig { gateway: Gateway::start(&home), home, origin };
    let second = rig.ask("acme/second");
    let Rig { gateway, home, origin } = rig;
    let said = expect(&on_store(&home, &["migrate", "--reseal"], &[]), 2);
    assert!(said.contains("in use"), "not while a gateway runs: {said}");
    gateway.stop();
    // The new key alone does not do: the first call was sealed under the old one.
    let home = again(home, &new, &[]);
    let refused = serve(&home).output().expect("runs");
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let said = expect(&on_store(&home, &["migrate", "--reseal"], &[]), 1);
    assert!(said.contains("1 stored requests") && said.contains("store.previous_secret_keys"), "{said}");
    let home = again(home, &new, &[&old]);
    let said = expect(&on_store(&home, &["migrate", "--reseal"], &[]), 0);
    assert!(said.contains("2 stored requests"), "{said}");
    let home = again(home, &new, &[]);
    let rig = Rig { gateway: Gateway::start(&home), home, origin };
    for id in [&first, &second] {
        rig.alice().approve(id);
        rig.until_outcome(id, "succeeded");
    }
    assert_eq!(rig.deletions(), 2);
    let answer = rig.bot().call("GET", &format!("/_holdpoint/v1/approvals/{first}/result")).send();
    answer.expect(200, "");
}

#[test]
fn a_lost_key_can_be_given_up_and_what_it_sealed_is_closed_and_never_sent() {
    let rig = Rig::with(|home| with_keys(home.policy(&gate_delete("hold: 30s")), &key('I'), &[]));
    let pending = rig.ask("acme/first");
    let Rig { gateway, home, origin } = rig;
    gateway.stop();
    let home = again(home, &key('E'), &[]);
    let said = expect(&on_store(&home, &["migrate", "--reseal", "--give-up-lost"], &[]), 0);
    assert!(said.contains("1 approvals were closed"), "{said}");
    let rig = Rig { gateway: Gateway::start(&home), home, origin };
    let approval = rig.alice().approval(&pending);
    assert_eq!(approval["status"], "cancelled");
    assert!(approval["reason"].as_str().is_some_and(|reason| reason.contains("key")), "{approval}");
    rig.nothing_was_sent();
    expect(&on_store(&rig.home, &["audit", "verify"], &[]), 0);
}

#[test]
fn a_key_of_zeros_is_refused_for_what_it_is() {
    let home = with_keys(Home::new(([127, 0, 0, 1], 9).into()), &key('A'), &[]);
    let output = serve(&home).output().expect("runs");
    let said = expect(&output, 2);
    assert!(said.contains("all zeros") && !said.contains("base64 of"), "{said}");
    let home = with_keys(Home::new(([127, 0, 0, 1], 9).into()), &key('I'), &[&key('A')]);
    assert!(expect(&serve(&home).output().expect("runs"), 2).contains("all zeros"));
    let home = Home::new(([127, 0, 0, 1], 9).into());
    std::fs::write(home.path("holdpoint.db.key"), [0; 32]).expect("written");
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(home.path("holdpoint.db.key"), private).expect("set");
    let said = expect(&serve(&home).output().expect("runs"), 1);
    assert!(said.contains("holdpoint.db.key") && said.contains("zeros"), "{said}");
}

#[test]
fn a_canary_is_in_no_byte_of_the_database_its_log_a_backup_an_export_or_the_gateways_log() {
    const CANARIES: [&str; 3] = ["canary-in-a-redacted-field", "canary-in-a-header", "canary-in-the-query"];
    let settings = "hold: 30s, release: detached, redact: [ /args/secret, /query/token ]";
    let rig = Rig::with(|home| home.policy(&gate_delete(settings)).key("log: { level: trace }"));
    let target = format!("/tools/delete_repo?token={}", CANARIES[2]);
    let call = rig.bot().post(&target, &json!({ "repo": "acme/website", "secret": CANARIES[0] }));
    let call = call.header("x-api-key", CANARIES[1]).header("prefer", "respond-async");
    let id = call.send().expect(202, "").approval();
    let look = |when: &str| {
        let name = format!("{when}.db");
        let backup = rig.home.path(&name);
        expect(&on_store(&rig.home, &["backup"], &["--to", &text(&backup)]), 0);
        let export = rig.home.path(&format!("{when}.ndjson"));
        expect(&on_store(&rig.home, &["audit", "export"], &["--to", &text(&export)]), 0);
        let mut places = bytes_below(&rig.home.path(""));
        let names: Vec<String> = places.iter().map(|(name, _)| name.clone()).collect();
        for wanted in ["holdpoint.db", "holdpoint.db-wal", &name] {
            assert!(names.iter().any(|name| name.ends_with(wanted)), "{wanted}: {names:?}");
        }
        places.push(("the log".to_owned(), rig.gateway.log().into_bytes()));
        // The search finds what is there.
        assert!(places.iter().any(|(_, bytes)| holds(bytes, "acme/website")));
        for (name, bytes) in &places {
            for canary in CANARIES {
                assert!(!holds(bytes, canary), "{when}: {name} holds {canary}");
            }
        }
    };
    look("pending");
    rig.alice().approve(&id);
    rig.until_outcome(&id, "succeeded");
    look("released");
    let hits = rig.origin.hits();
    assert_eq!(hits[0].json()["secret"], CANARIES[0], "the upstream got it");
}

fn holds(bytes: &[u8], needle: &str) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle.as_bytes())
}
