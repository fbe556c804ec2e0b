//! Loading configuration and policy again: on SIGHUP, and when one of the files read changes.
//!
//! What can change while the gateway runs: policy, agents, reviewers, upstreams, routes, limits, certificates. What cannot (see
//! `restart`) is named in the log as needing a restart, and the rest is taken over. An invalid file keeps everything as it was.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use notify::{RecursiveMode, Watcher};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::{Live, build};
use crate::config::load::{Loaded, load};
use crate::config::secrets::ProcessEnv;
use crate::config::settings::Config;
use crate::domain::audit::{Actor, Event, EventKind};
use crate::gate::Gate;
use crate::gate::intake::known_rules;

/// How long files must have been quiet before they are read: editors and config maps write in several steps.
const QUIET: Duration = Duration::from_millis(300);
/// How long to wait before a reload that the trail could not take is written again.
const UNRECORDED_PAUSE: Duration = Duration::from_secs(2);

/// What asks for a reload.
pub(super) struct Requests {
    hangup: Signal,
    changed: mpsc::Receiver<()>,
    watched: Arc<ArcSwap<Watched>>,
    watcher: Option<notify::RecommendedWatcher>,
}

impl Requests {
    /// From now on none is lost. To be called before anything is served: whoever finds the gateway ready may send SIGHUP, which
    /// would end a process that does not receive it.
    pub(super) fn receive(files_read: &[PathBuf]) -> Option<Self> {
        let (changes, changed) = mpsc::channel::<()>(1);
        let watched = Arc::new(ArcSwap::from_pointee(Watched::new(files_read)));
        let watcher = match watch(&watched, changes) {
            Ok(watcher) => Some(watcher),
            Err(error) => {
                tracing::warn!(%error, "files are not watched; reload with SIGHUP");
                None
            }
        };
        match signal(SignalKind::hangup()) {
            Ok(hangup) => Some(Self { hangup, changed, watched, watcher }),
            Err(error) => {
                tracing::error!(%error, "SIGHUP cannot be received: nothing is reloaded");
                None
            }
        }
    }
}

/// Reloads whenever that is asked for, until the process drains.
pub(super) async fn run(live: Arc<Live>, requests: Requests) {
    let Requests { mut hangup, mut changed, watched, mut watcher } = requests;
    loop {
        tokio::select! {
            _ = hangup.recv() => {}
            Some(()) = changed.recv() => {
                // Wait until the burst is over, then look once.
                while tokio::time::timeout(QUIET, changed.recv()).await.is_ok_and(|more| more.is_some()) {}
            }
            () = live.drain.cancelled() => return,
        }
        let now_watched = Watched::new(&reload(&live).await);
        if let Some(watcher) = &mut watcher {
            for folder in now_watched.folders.difference(&watched.load().folders) {
                if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
                    tracing::warn!(folder = %folder.display(), %error, "this folder is not watched");
                }
            }
        }
        watched.store(Arc::new(now_watched));
    }
}

/// What a reload would look at. Folders are watched, not files: editors rename over a file, config maps swap a link. But only
/// what the configuration names counts: the store and its log may lie in the same folder.
struct Watched {
    files: BTreeSet<PathBuf>,
    folders: BTreeSet<PathBuf>,
    /// Folders whose policy files are read whatever they are called.
    policy_folders: BTreeSet<PathBuf>,
}

impl Watched {
    fn new(looked_at: &[PathBuf]) -> Self {
        let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let (policy_folders, files): (BTreeSet<_>, BTreeSet<_>) =
            looked_at.iter().map(absolute).partition(|path| path.is_dir());
        let parents = files.iter().filter_map(|file| file.parent()).map(Path::to_path_buf);
        let folders = parents.chain(policy_folders.iter().cloned()).collect();
        Self { files, folders, policy_folders }
    }

    fn cares_for(&self, path: &Path) -> bool {
        let is_policy = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        let in_policies = path.parent().is_some_and(|folder| self.policy_folders.contains(folder));
        // Config maps are swapped by a link named `..data` beside the files.
        let is_swap = path.file_name().is_some_and(|name| name == "..data");
        self.files.contains(path) || (is_policy && in_policies) || is_swap
    }
}

fn watch(watched: &Arc<ArcSwap<Watched>>, changes: mpsc::Sender<()>) -> notify::Result<notify::RecommendedWatcher> {
    let seen = watched.clone();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let watched = seen.load();
        let matters =
            |event: notify::Event| !event.kind.is_access() && event.paths.iter().any(|path| watched.cares_for(path));
        if event.is_ok_and(matters) {
            // A full channel already says that something changed.
            let _ = changes.try_send(());
        }
    })?;
    for folder in &watched.load().folders {
        watcher.watch(folder, RecursiveMode::NonRecursive)?;
    }
    Ok(watcher)
}

/// Loads once more; answers with the files that were looked at.
async fn reload(live: &Live) -> Vec<PathBuf> {
    let path = live.path.clone();
    let reviewers = live.reviewers;
    let read = tokio::task::spawn_blocking(move || load(&path, &ProcessEnv, reviewers)).await;
    let Ok(Loaded { config, diagnostics, files_read }) = read else {
        live.failed("loading the configuration failed".to_owned());
        return Vec::new();
    };
    let Some(config) = config else {
        let problems: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
        live.failed(problems.join("\n"));
        return files_read;
    };
    match take_over(live, &config) {
        Ok(()) => settle(live).await,
        Err(error) => live.failed(error.to_string()),
    }
    files_read
}

/// Puts a configuration in force. Nothing is awaited: it is taken over whole or, with an error, not at all. A call sees it all or
/// nothing of it, as policy, routes and upstreams are one [`Surface`](crate::proxy::surface::Surface); the gate judges by the new
/// policy first, so that whatever the new surface sends on was judged by it.
fn take_over(live: &Live, config: &Config) -> Result<(), super::Error> {
    let authenticator = Arc::new(build::authenticator(config));
    let surface = build::surface(config, authenticator.clone(), &live.metrics, &live.programs, &live.own)?;
    live.tls_reload(config)?;
    let policy = surface.policy.clone();
    let changed = !policy.is_same_as(&live.gate.policy());
    for setting in live.at_start.changed_by(config) {
        tracing::warn!(setting, "this setting takes effect at the next start");
    }
    let limits = build::limits(config);
    live.gate.set_on_tool_change(build::on_tool_change(config));
    live.gate.put_in_force(policy.clone(), limits);
    live.surface.store(Arc::new(surface));
    live.programs.retain(&build::programs_of(config));
    live.settings.store(Arc::new(build::admin_settings(config)));
    live.authenticator.store(authenticator);
    live.metrics.pending_limit(limits.pending_total_max);
    if changed {
        live.metrics.known_rules(&known_rules(&policy));
        live.metrics.policy_revision(policy.revision());
    }
    Ok(())
}

/// Does what follows from a configuration that is in force, and stays so whatever fails here.
async fn settle(live: &Live) {
    let revision = live.gate.policy_revision();
    if let Err(error) = live.gate.judge_pending_again().await {
        tracing::error!(
            %error,
            revision,
            "the new configuration is in force, but pending approvals could not be judged again yet; it is tried again"
        );
    }
    let mut detail = serde_json::Map::new();
    detail.insert("revision".into(), revision.clone().into());
    let at = live.gate.now();
    record(&live.gate, Event { at, kind: EventKind::Reloaded, actor: Actor::Gateway, approval: None, detail }).await;
    tracing::info!(revision, "configuration and policy reloaded");
    live.reloaded();
}

/// Writes the reload to the trail, later where the store cannot write now.
async fn record(gate: &Gate, event: Event) {
    let Err(error) = gate.record(event.clone()).await else { return };
    tracing::error!(%error, "the reload could not be written to the trail yet; it is tried again");
    let task = gate.clone();
    gate.spawn("reload recorded later", async move {
        loop {
            tokio::select! {
                () = tokio::time::sleep(UNRECORDED_PAUSE) => {}
                () = task.draining() => return,
            }
            if task.record(event.clone()).await.is_ok() {
                return;
            }
        }
    });
}
