//! The folder that a gateway runs from: configuration, policy, store.

use std::net::SocketAddr;
use std::path::PathBuf;

use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::people::token;

/// The tools that every upstream of the rig maps by name. `POST /call` is judged by its body.
const TOOLS: &str = r#"
      - { call: "POST /delete_repo", tool: delete_repo }
      - { call: "POST /safe_read", tool: safe_read }
      - { call: "GET /safe_status", tool: safe_status }
      - { call: "GET /report", tool: report }
      - { call: "POST /call", tool: call }
"#;

/// `delete_repo` needs approval, `safe_*` passes, all else is blocked: by the tool's name, and for `POST /call` by what stands
/// at `params.name` in the body.
pub(crate) const POLICY: &str = r#"
version: 1
default: block
rules:
  - id: gate-delete
    match: delete_repo
    action: require_approval
    reason: Deleting needs a second pair of eyes.
    approval: { hold: 30s, expires_in: 10m }
  - id: gate-report
    match: report
    action: require_approval
    approval: { hold: 50ms }
  - id: gate-delete-by-body
    match: call
    when: args.params.name == "delete_repo"
    action: require_approval
    approval: { hold: 50ms }
  - id: safe-by-body
    match: call
    when: args.params.name.startsWith("safe_")
    action: allow
  - { id: safe, match: "safe_*", action: allow }
"#;

/// What a test may want otherwise.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The policy file.
    pub(crate) policy: String,
    /// Further keys of the upstream, one a line.
    pub(crate) upstream_keys: Vec<String>,
    /// Further keys at the top level, one a line.
    pub(crate) keys: Vec<String>,
    /// The store's URL.
    pub(crate) store: String,
    /// Environment variables.
    pub(crate) environment: Vec<(String, String)>,
    /// Replaces the whole configuration.
    pub(crate) whole: Option<String>,
    /// Whether the upstream speaks MCP, at `/mcp` on both sides.
    pub(crate) mcp: bool,
    /// Further keys of the agent `bot`, such as `, a: 1`.
    pub(crate) bot_keys: String,
    /// Further keys of the route, such as `, a: 1`.
    pub(crate) route_keys: String,
}

/// The folder.
#[derive(Debug)]
pub(crate) struct Home {
    folder: TempDir,
    upstream: SocketAddr,
    /// What the files say; written by [`Home::write`].
    pub(crate) settings: Settings,
}

impl Home {
    /// A folder for a gateway in front of `upstream`, with the rig's policy.
    pub(crate) fn new(upstream: SocketAddr) -> Self {
        let settings = Settings {
            policy: POLICY.to_owned(),
            upstream_keys: Vec::new(),
            keys: Vec::new(),
            store: "sqlite://holdpoint.db".to_owned(),
            environment: Vec::new(),
            whole: None,
            mcp: false,
            bot_keys: String::new(),
            route_keys: String::new(),
        };
        Self { folder: TempDir::new().expect("a temporary folder can be made"), upstream, settings }
    }

    /// As [`Home::new`], in front of an MCP server.
    pub(crate) fn mcp(upstream: SocketAddr) -> Self {
        let mut home = Self::new(upstream);
        home.settings.mcp = true;
        home
    }

    /// With another policy.
    pub(crate) fn policy(mut self, policy: &str) -> Self {
        policy.clone_into(&mut self.settings.policy);
        self
    }

    /// With a line more at the top level of the configuration.
    pub(crate) fn key(mut self, line: &str) -> Self {
        self.settings.keys.push(line.to_owned());
        self
    }

    /// With a line more in the upstream.
    pub(crate) fn upstream_key(mut self, line: &str) -> Self {
        self.settings.upstream_keys.push(line.to_owned());
        self
    }

    /// With an environment variable.
    pub(crate) fn environment(mut self, name: &str, value: &str) -> Self {
        self.settings.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A path in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The text of the configuration.
    pub(crate) fn configuration(&self) -> String {
        let settings = &self.settings;
        if let Some(whole) = &settings.whole {
            return whole.clone();
        }
        let upstream = self.upstream;
        let upstream_keys: String = settings.upstream_keys.iter().map(|line| format!("    {line}\n")).collect();
        let keys: String = settings.keys.iter().map(|line| format!("{line}\n")).collect();
        let (path, protocol, route) = match settings.mcp {
            true => ("/mcp", "    protocol: mcp".to_owned(), "/mcp"),
            false => ("", format!("    tools:{TOOLS}"), "/tools/"),
        };
        let (bot, other) = (digest("bot"), digest("other-bot"));
        let (alice, bob, carol) = (digest("alice"), digest("bob"), digest("carol"));
        format!(
            r#"version: 1
proxy: {{ listen: "127.0.0.1:0" }}
admin: {{ listen: "127.0.0.1:0" }}
store: "{store}"
policies: [ policy.yaml ]
agents:
  - {{ id: bot, token_sha256: "{bot}"{bot_keys} }}
  - {{ id: other-bot, token_sha256: "{other}" }}
reviewers:
  - {{ id: alice, groups: [ ops ], role: admin, token_sha256: "{alice}" }}
  - {{ id: bob, groups: [ ops, security ], token_sha256: "{bob}" }}
  - {{ id: carol, groups: [ security ], token_sha256: "{carol}" }}
upstreams:
  tools:
    url: "http://{upstream}{path}"
{upstream_keys}{protocol}
routes:
  - {{ path: {route}, upstream: tools{route_keys} }}
{keys}"#,
            store = settings.store,
            bot_keys = settings.bot_keys,
            route_keys = settings.route_keys,
        )
    }

    /// Writes configuration and policy.
    pub(crate) fn write(&self) {
        std::fs::write(self.path("policy.yaml"), &self.settings.policy).expect("the policy can be written");
        std::fs::write(self.path("holdpoint.yaml"), self.configuration()).expect("the configuration can be written");
    }
}

/// How the configuration knows a token.
pub(crate) fn digest(id: &str) -> String {
    Sha256::digest(token(id)).iter().map(|byte| format!("{byte:02x}")).collect()
}
