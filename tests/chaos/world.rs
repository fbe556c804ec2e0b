//! The world of a run: the real gateway on a store of its own, the upstream, the histories, and what the policy says.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;
use tempfile::TempDir;

use crate::actors::reviewer_of;
use crate::check::{Finding, check};
use crate::history::{History, View, What, Who};
use crate::mcp::{ENDPOINT, ENDPOINT_WITHOUT_WAIT};
use crate::spy::Spy;
use crate::story::{Story, Verdict};
use crate::support::gateway::{Gateway, serve};
use crate::support::home::{Home, digest};
use crate::support::wait::until_within;

/// How long anything may take that should happen soon: generous, for a machine that does other things meanwhile.
pub(crate) const SOON: std::time::Duration = std::time::Duration::from_secs(60);

/// The policy of all runs. [`verdict`] says the same to the checker.
const POLICY: &str = r#"
version: 1
default: block
rules:
  - { id: pay, match: pay, action: require_approval, approval: { hold: 30s, expires_in: 1h } }
  - { id: wire, match: wire, action: require_approval, approval: { release: detached, hold: 30s, expires_in: 1h } }
  - id: erase
    match: erase
    action: require_approval
    approval: { hold: 30s, expires_in: 1h, approvers: { all_of: [ { group: ops, count: 1 }, { group: security, count: 1 } ] } }
  - { id: brief, match: brief, action: require_approval, approval: { hold: 30s, expires_in: 1s } }
  - { id: note, match: note, action: audit }
  - { id: look, match: look, action: allow }
"#;

/// The tools of the upstream.
pub(crate) const TOOLS: &[&str] = &["pay", "wire", "erase", "brief", "note", "look", "drop"];

/// What the policy says about a tool.
pub(crate) fn verdict(tool: &str) -> Verdict {
    match tool {
        "pay" | "wire" | "brief" => Verdict::Parked(1),
        "erase" => Verdict::Parked(2),
        "note" => Verdict::Audited,
        "look" => Verdict::Allowed,
        _ => Verdict::Blocked,
    }
}

/// The world.
#[derive(Debug)]
pub(crate) struct World {
    /// What everybody writes down.
    pub(crate) history: History,
    /// Where the gateway lives.
    pub(crate) home: Home,
    /// Where calls go.
    pub(crate) spy: Spy,
    /// What was read of the histories and the trail so far.
    pub(crate) story: Story,
    folder: TempDir,
    name: String,
}

impl World {
    /// An empty one. `name` names what is kept of it when something is wrong.
    pub(crate) fn new(name: &str, drain_timeout: &str) -> Self {
        let folder = TempDir::new().expect("a folder");
        let history = History::new(folder.path());
        let spy = Spy::start(history.clone());
        let mut home = Home::new(spy.address).policy(POLICY);
        home.settings.whole = Some(configuration(&spy, drain_timeout));
        Self { history, home, spy, story: Story::new(verdict), folder, name: name.to_owned() }
    }

    /// Starts the gateway.
    pub(crate) fn start(&self) -> Gateway {
        self.start_as(serve(&self.home)).unwrap_or_else(|said| panic!("the gateway does not start: {said}"))
    }

    /// Begins with the store of another home, where a gateway was started once.
    pub(crate) fn adopt(&self, home: &Home) {
        let _ = self.history.write(Who::Control, What::Starting);
        self.history.write(Who::Control, What::Ready);
        copy_files(home.path(".").as_path(), self.home.path(".").as_path());
    }

    /// Starts the gateway by this command; `Err` when it ended before it was ready, with its log.
    pub(crate) fn start_as(&self, command: Command) -> Result<Gateway, String> {
        self.history.write(Who::Control, What::Starting);
        let gateway = Gateway::try_start(command)?;
        self.history.write(Who::Control, What::Ready);
        Ok(gateway)
    }

    /// Kills it with signal 9.
    pub(crate) fn kill(&self, gateway: Gateway) {
        self.history.write(Who::Control, What::Ending { how: "KILL".to_owned() });
        gateway.crash();
    }

    /// Tells it to end.
    pub(crate) fn end(&self, gateway: &Gateway) {
        self.history.write(Who::Control, What::Ending { how: "TERM".to_owned() });
        gateway.signal("TERM");
    }

    /// Reads every approval and the trail, at a moment at which nothing moves, and checks the run so far.
    ///
    /// # Panics
    /// When anything is wrong; says where the histories are kept.
    pub(crate) fn read_back_and_check(&mut self, gateway: &Gateway) {
        self.read_back(gateway);
        self.assert_clean();
    }

    /// As [`World::read_back_and_check`], without the check.
    pub(crate) fn read_back(&mut self, gateway: &Gateway) {
        let mut reviewer = reviewer_of(gateway, "alice", &self.history);
        let (views, records) = until_within(SOON, "nothing moves while everything is read", || {
            let before = reviewer.trail(self.story.trail.len());
            let views: Vec<View> =
                reviewer.all().iter().map(|approval| View::of(approval).expect("a whole approval")).collect();
            let after = reviewer.trail(self.story.trail.len() + before.len());
            let is_still = after.is_empty() && views.iter().all(|view| view.state.outcome != "releasing");
            is_still.then_some((views, before))
        });
        self.story.trail.extend(records);
        self.history.write(Who::Control, What::ReadBack { approvals: views });
        self.story.lines.extend(self.history.news());
    }

    /// # Panics
    /// When anything is wrong with the run so far.
    pub(crate) fn assert_clean(&self) {
        let findings = check(&self.story);
        assert!(findings.is_empty(), "{}", self.report(&findings));
    }

    /// How many approvals the last read-back found pending.
    pub(crate) fn pending(&self) -> usize {
        let (_, views) = self.story.read_back().expect("it was read back");
        views.values().filter(|view| view.state.status == "pending").count()
    }

    /// Keeps the histories and the trail where they outlast the test, and says what was found.
    pub(crate) fn report(&self, findings: &[Finding]) -> String {
        static KEPT: AtomicU32 = AtomicU32::new(0);
        let number = KEPT.fetch_add(1, Ordering::SeqCst);
        let kept = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!(
            "chaos-{}-{}-{number}",
            self.name,
            std::process::id()
        ));
        std::fs::create_dir_all(&kept).expect("a folder for what is kept");
        std::fs::write(kept.join("trail.ndjson"), self.story.trail.join("\n")).expect("the trail can be kept");
        copy_files(self.folder.path(), &kept);
        let shown: Vec<String> = findings.iter().take(20).map(ToString::to_string).collect();
        format!("{} findings, histories in {}:\n{}", findings.len(), kept.display(), shown.join("\n"))
    }
}

/// SIGTERM, for one that may be gone by now; waits for its end.
pub(crate) fn end_if_there(gateway: &mut Gateway) -> ExitStatus {
    drop(Command::new("kill").arg(gateway.pid().to_string()).stderr(Stdio::null()).status());
    gateway.end()
}

fn copy_files(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("a folder can be read").flatten() {
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("a history can be kept");
    }
}

fn configuration(spy: &Spy, drain_timeout: &str) -> String {
    let tools: String =
        TOOLS.iter().map(|tool| format!("      - {{ call: \"POST /{tool}/{{call}}\", tool: {tool} }}\n")).collect();
    format!(
        r#"version: 1
proxy: {{ listen: "127.0.0.1:0" }}
admin: {{ listen: "127.0.0.1:0" }}
store: "sqlite://holdpoint.db"
policies: [ policy.yaml ]
drain_timeout: {drain_timeout}
limits: {{ pending_per_agent_max: 100000 }}
agents:
  - {{ id: bot, token_sha256: "{bot}" }}
  - {{ id: other-bot, token_sha256: "{other}" }}
reviewers:
  - {{ id: alice, groups: [ ops ], role: admin, token_sha256: "{alice}" }}
  - {{ id: bob, groups: [ ops, security ], token_sha256: "{bob}" }}
  - {{ id: carol, groups: [ security ], token_sha256: "{carol}" }}
upstreams:
  tools:
    url: "http://{address}"
    tools:
{tools}  mcp:
    url: "http://{address}"
    protocol: mcp
routes:
  - {{ path: /tools/, upstream: tools }}
  - {{ path: {ENDPOINT}, upstream: mcp }}
  - {{ path: {ENDPOINT_WITHOUT_WAIT}, upstream: mcp, inline_budget: 50ms }}
"#,
        bot = digest("bot"),
        other = digest("other-bot"),
        alice = digest("alice"),
        bob = digest("bob"),
        carol = digest("carol"),
        address = spy.address,
    )
}

/// Whether a value is a list, and its members.
pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
