//! Many calls that the gateway sends by itself, to upstreams that do not end their answers.

use serde_json::json;

use crate::support::gateway::Gateway;
use crate::support::origin::{Manner, Origin};
use crate::support::rig::Rig;
use crate::support::wait::{until, until_true};

/// How many of them are with one upstream at once.
const AT_ONCE: usize = 64;

impl Rig {
    /// The approval of an approved call that the gateway sends by itself.
    fn approved(&self, target: &str, number: usize) -> String {
        let call = self.bot().post(target, &json!({ "number": number })).header("prefer", "respond-async");
        let id = call.send().expect(202, "").approval();
        self.alice().approve(&id);
        id
    }

    /// As many as may be with the upstream at once, and one more.
    fn one_too_many(&self) -> (Vec<String>, String) {
        let first = (0..AT_ONCE).map(|number| self.approved("/tools/delete_repo", number)).collect();
        until_true("they are with the upstream", || self.deletions() == AT_ONCE);
        (first, self.approved("/tools/delete_repo", AT_ONCE))
    }
}

#[test]
fn an_upstream_that_never_ends_its_answers_holds_up_no_calls_to_others() {
    let other = Origin::start();
    let rig = Rig::with(|mut home| {
        let upstream = format!(
            "  other:\n    url: \"http://{}\"\n    tools: [ {{ call: \"POST /delete_repo\", tool: delete_repo }} ]\n",
            other.address
        );
        let routes = "routes:\n  - { path: /other/, upstream: other }\n";
        home.settings.whole = Some(home.configuration().replace("routes:\n", &format!("{upstream}{routes}")));
        home
    });
    rig.origin.behave(Manner::Bytes(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n: hi\n\n".to_vec()));
    let (_, waits) = rig.one_too_many();
    let id = rig.approved("/other/delete_repo", 0);
    rig.until_outcome(&id, "succeeded");
    assert_eq!(other.count("/delete_repo"), 1);
    // With the upstream itself no more than so many are at once.
    assert_eq!(rig.alice().approval(&waits)["outcome"]["state"], "held");
    assert_eq!(rig.deletions(), AT_ONCE);
}

#[test]
fn what_waits_for_its_turn_at_sigterm_is_not_begun_and_goes_out_after_the_next_start() {
    let rig = Rig::start();
    rig.origin.behave(Manner::Wait);
    let (first, waits) = rig.one_too_many();
    let Rig { mut gateway, home, origin } = rig;
    gateway.signal("TERM");
    until("the proxy stops accepting", || std::net::TcpStream::connect(gateway.proxy).is_err().then_some(()));
    origin.go_on();
    assert!(gateway.end().success());
    assert_eq!(origin.count("/delete_repo"), AT_ONCE, "nothing new was begun");
    let rig = Rig { gateway: Gateway::start(&home), home, origin };
    rig.until_outcome(&waits, "succeeded");
    for id in &first {
        rig.until_outcome(id, "succeeded");
    }
    assert_eq!(rig.deletions(), AT_ONCE + 1, "each was sent once");
}
