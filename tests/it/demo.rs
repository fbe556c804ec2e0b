//! `holdpoint demo`, as a newcomer meets it: what it prints works as printed.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::support::gateway::{Lines, holdpoint};
use crate::support::people::Call;
use crate::support::wait::until;

struct Demo {
    child: Child,
    printed: Lines,
    _data: tempfile::TempDir,
}

impl Drop for Demo {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Demo {
    fn start() -> Self {
        let data = tempfile::tempdir().expect("a folder");
        let mut child =
            holdpoint(&["demo", "--proxy-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data"])
                .arg(data.path())
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::inherit())
                .spawn()
                .expect("the binary can be started");
        let printed = Lines::of(child.stdout.take().expect("its output is piped"));
        Self { child, printed, _data: data }
    }

    /// What follows `mark` in a line of what was printed, up to a space or a quote.
    fn after(&self, mark: &str) -> String {
        until(&format!("`{mark}` is printed"), || {
            let lines = self.printed.all();
            let rest =
                lines.iter().find_map(|line| line.split_once(mark).map(|(_, rest)| rest.trim_start().to_owned()));
            rest.map(|rest| rest.split([' ', '\'', '/']).next().unwrap_or_default().to_owned())
        })
    }
}

#[test]
fn the_demonstration_parks_three_calls_and_prints_what_works() {
    let mut demo = Demo::start();
    let token = demo.after("Authorization: Bearer ");
    let proxy: SocketAddr = demo.after("Agents call:      http://").parse().expect("an address");
    let admin: SocketAddr = demo.after("API and metrics:  http://").parse().expect("an address");
    let once = demo.after("/dashboard/once/");

    let refund = |amount: i64| {
        let body = json!({ "customer": "c_23", "amount_usd": amount });
        Call::new(proxy, "POST", "/shop/refunds").bearer(&token).json(&body)
    };
    refund(40).send().expect(201, "");
    let asked = refund(140).header("prefer", "wait=0").send();
    asked.expect(503, "approval_pending");
    Call::new(proxy, "DELETE", "/shop/customers/c_17").bearer(&token).send().expect(403, "blocked");
    let ledger = Call::new(proxy, "GET", "/shop/ledger").bearer(&token).send().expect(200, "").json();
    assert_eq!(ledger["ledger"].as_array().map(Vec::len), Some(1), "what waits was not done: {ledger}");

    let page = Call::new(admin, "GET", &format!("/dashboard/once/{once}")).send().expect(200, "").text();
    assert!(page.contains("Sign in"), "{page}");
    let metrics = Call::new(admin, "GET", "/metrics").send().expect(200, "").text();
    assert!(metrics.contains("holdpoint_approvals_created_total"), "{metrics}");

    let stopped = Command::new("kill").arg(demo.child.id().to_string()).status().expect("kill can be run");
    assert!(stopped.success());
    let status = until("the demonstration ends", || demo.child.try_wait().expect("a child can be waited for"));
    assert!(status.success(), "{status}");
}
