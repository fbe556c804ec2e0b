//! The operator's configuration made harmless, and the child process that serves it.
//!
//! What decides about a call stays: policy, agents, reviewers, groups, routes, names of tools, limits. What reaches outside is
//! replaced: the listeners take free ports on loopback without TLS, the store is a new one, every upstream is a scratch one, every
//! credential a new one with the same id, groups and role. What only costs time (how long an MCP caller is kept, how long a shutdown
//! takes) is shortened.

use std::collections::BTreeMap;
use std::io::BufRead as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use http::HeaderValue;
use serde::{Deserialize, Serialize};

use crate::auth::sha256;
use crate::cli::{complain, logs, runtime, say};
use crate::config::load::{Reviewers, load};
use crate::config::model::values::TextValue as _;
use crate::config::secrets::{ProcessEnv, Secret};
use crate::config::settings::{
    AgentCredential, Config, HostName, Place, ReviewerCredential, StoreSettings, UpstreamUrl, UrlSettings,
};
use crate::domain::identity::{AgentId, Reviewer, ReviewerRole};
use crate::domain::time::{Clock, Timestamp};
use crate::gate::random_token;
use crate::runtime::{Origin, start_with_clock, stopped};
use crate::telemetry::clock::SystemClock;

/// The agent that no configuration has: it owns nothing.
pub(super) const STRANGER: &str = "holdpoint-verify-stranger";
/// The reviewer that is in no group.
pub(super) const OUTSIDER: &str = "holdpoint-verify-outsider";
/// The reviewer that the checks look through. It decides nothing.
pub(super) const AUDITOR: &str = "holdpoint-verify-auditor";
/// How long an MCP caller is kept.
const INLINE_BUDGET: Duration = Duration::from_millis(250);
/// How long a shutdown waits.
const DRAIN: Duration = Duration::from_secs(5);

/// Everything that a scratch gateway is started from. It crosses to the child over its standard input: tokens are in it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Spec {
    /// A folder of its own, which goes at the end.
    pub(super) folder: PathBuf,
    /// The agents' tokens, by id.
    pub(super) agents: BTreeMap<String, String>,
    /// The reviewers' tokens, by id.
    pub(super) reviewers: BTreeMap<String, String>,
    /// For each agent the token of a reviewer that goes by the agent's id and is in every group.
    pub(super) twins: BTreeMap<String, String>,
    /// The scratch upstreams, by the names of those that they stand for.
    pub(super) upstreams: BTreeMap<String, SocketAddr>,
    /// What stands in place of every configured header to an upstream.
    pub(super) upstream_secret: String,
    /// The key of the scratch store.
    pub(super) store_key: [u8; 32],
    /// How far ahead of the machine's clock the gateway's is, in milliseconds.
    pub(super) clock_ahead_ms: u64,
}

/// What the child says when it serves.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Serving {
    pub(super) proxy: SocketAddr,
    pub(super) admin: SocketAddr,
    /// The policy that it serves.
    pub(super) revision: String,
}

impl Spec {
    /// Fresh credentials for everybody in `config`, and for those that only the checks know.
    pub(super) fn new(config: &Config, folder: PathBuf, upstreams: BTreeMap<String, SocketAddr>) -> Self {
        let tokens = |ids: Vec<&str>| ids.into_iter().map(|id| (id.to_owned(), random_token())).collect();
        let agents: Vec<&str> = config.agents.iter().map(|agent| agent.id.0.as_str()).collect();
        let reviewers = config.reviewers.iter().map(|one| one.reviewer.id.as_str());
        Self {
            folder,
            twins: tokens(agents.clone()),
            agents: tokens(agents.into_iter().chain([STRANGER]).collect()),
            reviewers: tokens(reviewers.chain([OUTSIDER, AUDITOR]).collect()),
            upstreams,
            upstream_secret: format!("holdpoint-verify-secret-{}", random_token()),
            store_key: sha256(random_token().as_bytes()),
            clock_ahead_ms: 0,
        }
    }

    /// The store's file.
    pub(super) fn store(&self) -> PathBuf {
        self.folder.join("holdpoint.db")
    }

    /// Makes `config` harmless.
    fn apply(&self, config: &mut Config) -> anyhow::Result<()> {
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        (config.proxy.listen, config.proxy.tls) = (free, None);
        (config.admin.listen, config.admin.tls, config.admin.public_url) = (free, None, None);
        config.admin.allowed_hosts.push(HostName::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        let key = Some(Secret::new(self.store_key));
        config.store = StoreSettings { path: self.store(), secret_key: key, previous_secret_keys: Vec::new() };
        config.drain_timeout = config.drain_timeout.min(DRAIN);
        config.metrics_token_sha256 = None;
        self.people(config)?;
        for upstream in config.upstreams.values_mut() {
            let address = self.upstreams.get(upstream.name.as_str());
            let address = address.ok_or_else(|| anyhow!("the upstream `{}` is new", upstream.name))?;
            let url = UpstreamUrl::read(&format!("http://{address}")).map_err(|error| anyhow!("{error}"))?;
            let connect_timeout = Duration::from_secs(10);
            upstream.place = Place::Url(UrlSettings { url, connect_timeout, ca: None });
            for (_, value) in &mut upstream.headers {
                *value = HeaderValue::from_str(&self.upstream_secret)?;
                value.set_sensitive(true);
            }
        }
        config.routes.keep_mcp_callers(INLINE_BUDGET);
        Ok(())
    }

    fn people(&self, config: &mut Config) -> anyhow::Result<()> {
        let digest = |tokens: &BTreeMap<String, String>, id: &str| match tokens.get(id) {
            Some(token) => Ok(Secret::new(sha256(token.as_bytes()))),
            None => bail!("`{id}` is new"),
        };
        for agent in &mut config.agents {
            agent.token_sha256 = digest(&self.agents, &agent.id.0)?;
            agent.inline_budget = None;
        }
        for reviewer in &mut config.reviewers {
            reviewer.token_sha256 = digest(&self.reviewers, &reviewer.reviewer.id)?;
        }
        let groups: Vec<String> = all_groups(config);
        let twins = self.twins.keys().map(|id| (id, groups.clone(), ReviewerRole::Reviewer, &self.twins));
        let outsider = (OUTSIDER.to_owned(), ReviewerRole::Reviewer);
        let auditor = (AUDITOR.to_owned(), ReviewerRole::Admin);
        let mut more = Vec::new();
        for (id, groups, role, tokens) in twins {
            let reviewer = Reviewer { id: id.clone(), groups, role };
            more.push(ReviewerCredential { reviewer, token_sha256: digest(tokens, id)? });
        }
        for (id, role) in [outsider, auditor] {
            let token_sha256 = digest(&self.reviewers, &id)?;
            more.push(ReviewerCredential { reviewer: Reviewer { id, groups: Vec::new(), role }, token_sha256 });
        }
        config.reviewers.extend(more);
        let id = AgentId(STRANGER.to_owned());
        let token_sha256 = digest(&self.agents, STRANGER)?;
        config.agents.push(AgentCredential { id, token_sha256, inline_budget: None });
        Ok(())
    }
}

/// Every group that a rule asks for or somebody is in.
fn all_groups(config: &Config) -> Vec<String> {
    let asked = config.policies.compiled().rules().iter().flat_map(|rule| &rule.approval().approvers);
    let asked = asked.filter_map(|slot| slot.group.clone());
    let had = config.reviewers.iter().flat_map(|one| one.reviewer.groups.iter().cloned());
    let mut groups: Vec<String> = asked.chain(had).collect();
    groups.sort();
    groups.dedup();
    groups
}

/// A clock that is ahead of the machine's.
struct Ahead(Duration);

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        SystemClock.now().plus(self.0)
    }
}

/// The child: serves the configuration at `path` made harmless, until its standard input ends. So it never outlives the process that
/// checks, whatever becomes of that.
pub(super) fn serve(path: &Path) -> ExitCode {
    runtime(async {
        match served(path).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                complain(&format!("the scratch gateway cannot run: {error:#}"));
                ExitCode::from(2)
            }
        }
    })
}

async fn served(path: &Path) -> anyhow::Result<()> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context("standard input")?;
    let spec: Spec = serde_json::from_str(&line).context("standard input")?;
    let loaded = load(path, &ProcessEnv, Reviewers::Required);
    let mut config = loaded.config.ok_or_else(|| anyhow!("the configuration does not load any more"))?;
    spec.apply(&mut config).context("the configuration has changed meanwhile")?;
    logs::init(&config)?;
    // A reload would bring the real configuration: there is nothing to load again, and no file is watched.
    let origin = Origin { path: spec.folder.join("none"), files_read: Vec::new(), reviewers: Reviewers::Required };
    let clock = Arc::new(Ahead(Duration::from_millis(spec.clock_ahead_ms)));
    let running = start_with_clock(config, origin, clock).await?;
    let (proxy, admin) = (running.proxy, running.admin);
    let serving = Serving { proxy, admin, revision: running.gate.policy_revision() };
    say(&format!("{}\n", serde_json::to_string(&serving)?));
    let (ended, end) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        drop(std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink()));
        // Nobody waits any more when a signal came first.
        let _ = ended.send(());
    });
    tokio::select! {
        _ = end => {}
        stopped = stopped() => stopped?,
    }
    running.shut_down().await;
    // The process that checks removes it too; that one may have been interrupted.
    drop(std::fs::remove_dir_all(&spec.folder));
    Ok(())
}
