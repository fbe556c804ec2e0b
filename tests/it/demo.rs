//! `holdpoint demo`, as a newcomer meets it: what it prints works as printed.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

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

/// A client of the mailbox, of one revision.
struct Mailbox {
    proxy: SocketAddr,
    token: String,
    revision: &'static str,
}

impl Mailbox {
    fn post(&self) -> Call {
        let call = Call::new(self.proxy, "POST", "/mcp").bearer(&self.token);
        call.header("accept", "application/json").header("mcp-protocol-version", self.revision)
    }

    fn call(&self, method: &str, mut params: Value) -> Call {
        let call = self.post();
        let call = match (self.revision, params["name"].as_str()) {
            ("2026-07-28", Some(name)) => call.header("mcp-method", method).header("mcp-name", name),
            ("2026-07-28", None) => call.header("mcp-method", method),
            _ => call,
        };
        if self.revision == "2026-07-28" {
            params["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": self.revision,
                "io.modelcontextprotocol/clientCapabilities": {},
            });
        }
        call.json(&json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params }))
    }

    fn ask(&self, method: &str, params: Value) -> Value {
        let answer = self.call(method, params).send().expect(200, "").json();
        assert_eq!(answer["id"], 7, "{answer}");
        answer["result"].clone()
    }

    fn tool(&self, name: &str, arguments: &Value) -> Value {
        self.ask("tools/call", json!({ "name": name, "arguments": arguments }))
    }
}

/// The reviewer's page, signed in to by the link that was printed.
struct Page {
    admin: SocketAddr,
    cookie: String,
}

impl Page {
    fn sign_in(admin: SocketAddr, once: &str) -> Self {
        let answer = Self::form(admin, &format!("/dashboard/once/{once}"), "").send().expect(303, "");
        let cookie = answer.header("set-cookie").and_then(|cookie| cookie.split(';').next()).expect("a session");
        Self { admin, cookie: cookie.to_owned() }
    }

    fn form(admin: SocketAddr, target: &str, fields: &str) -> Call {
        Call::new(admin, "POST", target)
            .header("content-type", "application/x-www-form-urlencoded")
            .header("origin", "http://localhost")
            .body(fields)
    }

    fn get(&self, target: &str) -> String {
        Call::new(self.admin, "GET", target).header("cookie", &self.cookie).send().expect(200, "").text()
    }

    /// The pending approval whose page says this.
    fn pending(&self, summary: &str) -> Option<String> {
        let list = self.get("/dashboard/approvals");
        let ids = list.split("data-approval-id=\"").skip(1).filter_map(|rest| rest.split('"').next());
        ids.map(str::to_owned).find(|id| self.get(&format!("/dashboard/approvals/{id}")).contains(summary))
    }

    fn approve(&self, id: &str) {
        let page = self.get(&format!("/dashboard/approvals/{id}"));
        let hidden = |name: &str| {
            let rest = page.split_once(&format!("name=\"{name}\" value=\"")).expect("a hidden field").1;
            rest.split('"').next().unwrap_or_default().to_owned()
        };
        let fields = format!("csrf={}&payload_sha256={}&decision=approved", hidden("csrf"), hidden("payload_sha256"));
        let target = format!("/dashboard/approvals/{id}/decide");
        Self::form(self.admin, &target, &fields).header("cookie", &self.cookie).send().expect(303, "");
    }
}

/// The text of a tool's result.
fn text(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text: {result}"))
}

#[test]
fn the_demonstration_speaks_every_revision_of_mcp_as_its_client_configuration_says() {
    let demo = Demo::start();
    let printed = until("the client configuration is printed", || {
        demo.printed.all().into_iter().find(|line| line.contains("mcpServers"))
    });
    let configuration: Value = serde_json::from_str(printed.trim()).expect("the client configuration is JSON");
    let server = &configuration["mcpServers"]["mailbox"];
    assert_eq!(server["type"], "http");
    let proxy = server["url"].as_str().and_then(|url| url.strip_prefix("http://")?.strip_suffix("/mcp"));
    let proxy: SocketAddr = proxy.expect("the URL of the endpoint").parse().expect("an address");
    let token = server["headers"]["Authorization"].as_str().and_then(|value| value.strip_prefix("Bearer "));
    let token = token.expect("a bearer token").to_owned();

    for revision in ["2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"] {
        let mailbox = Mailbox { proxy, token: token.clone(), revision };
        if revision == "2026-07-28" {
            let found = mailbox.ask("server/discover", json!({}));
            assert!(found["supportedVersions"].as_array().is_some_and(|all| all.contains(&revision.into())), "{found}");
        } else {
            let client = json!({ "name": "test", "version": "1" });
            let params = json!({ "protocolVersion": revision, "capabilities": {}, "clientInfo": client });
            assert_eq!(mailbox.ask("initialize", params)["protocolVersion"], revision);
            let ready = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
            mailbox.post().json(&ready).send().expect(202, "");
        }
        assert!(mailbox.ask("ping", json!({})).is_object());
        let listed = mailbox.ask("tools/list", json!({}));
        let names: Vec<&str> =
            listed["tools"].as_array().expect("a list").iter().filter_map(|tool| tool["name"].as_str()).collect();
        assert_eq!(names, ["search", "send_email", "delete_mailbox"]);
        let found = mailbox.tool("search", &json!({ "query": "twice" }));
        assert!(text(&found).contains("katherine@example.net"), "{found}");
        assert_eq!(found["isError"], false);
        assert_eq!(found["resultType"] == "complete", revision == "2026-07-28", "{found}");
        let blocked = mailbox.tool("delete_mailbox", &json!({}));
        assert_eq!(blocked["_meta"]["dev.holdpoint/decision"]["status"], "denied", "{blocked}");
        assert!(
            text(&mailbox.tool("search", &json!({ "query": "twice" }))).contains("katherine@"),
            "nothing is deleted"
        );
    }
}

#[test]
fn a_mail_of_the_demonstration_waits_for_a_reviewer_and_is_then_sent_once() {
    let demo = Demo::start();
    let token = demo.after("Authorization: Bearer ");
    let proxy: SocketAddr = demo.after("Agents call:      http://").parse().expect("an address");
    let admin: SocketAddr = demo.after("API and metrics:  http://").parse().expect("an address");
    let once = demo.after("/dashboard/once/");
    let ledger = || Call::new(proxy, "GET", "/shop/ledger").bearer(&token).send().expect(200, "").json();
    let mailbox = Mailbox { proxy, token: token.clone(), revision: "2025-11-25" };
    let mail = json!({ "to": "ada@example.org", "subject": "Your invoice", "body": "Here it is." });
    let waiting = mailbox.call("tools/call", json!({ "name": "send_email", "arguments": mail })).start();

    let page = Page::sign_in(admin, &once);
    assert!(page.pending("Mail to katherine@example.net").is_some(), "one of the parked calls came over MCP");
    let approval = until("the mail waits", || page.pending("Mail to ada@example.org: Your invoice"));
    assert_eq!(ledger()["ledger"], json!([]), "what waits was not done");
    page.approve(&approval);
    let sent = waiting.answer().expect(200, "").json();
    assert_eq!(text(&sent["result"]), "Sent to ada@example.org as msg_1.");
    let done = ledger();
    assert_eq!(done["ledger"][0]["what"], "mail sent", "{done}");
    assert_eq!(done["ledger"].as_array().map(Vec::len), Some(1), "{done}");
}
