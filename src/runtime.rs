//! The composition root: builds everything from a configuration, owns the tasks, the clock and the shutdown.

mod build;
pub mod keys;
mod reload;
mod restart;
mod shutdown;
mod watch;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::{self, Surface as ApiSurface};
use crate::auth::Authenticator;
use crate::config::load::Reviewers;
use crate::config::settings::Config;
use crate::connect::OwnListeners;
use crate::connect::stdio::Programs;
use crate::dashboard;
use crate::domain::audit::{Actor, Event, EventKind};
use crate::domain::time::{Clock, Timestamp};
use crate::gate::intake::known_rules;
use crate::gate::measured::MeasuredStore;
use crate::gate::{self, Gate, OsRandom, Parts};
use crate::listener::{self, BindError, Listener, PeerInfo, TlsError, TlsState};
use crate::proxy::Proxy;
use crate::proxy::surface::Surface;
use crate::proxy::upstream::DetachedSender;
use crate::store;
use crate::store::seal::Sealer;
use crate::store::sqlite::{Options, SqliteStore};
use crate::telemetry::clock::SteadyClock;
use crate::telemetry::metrics::{Known, ListenerName, Metrics};
use crate::web::{Settings, Shared};

pub use shutdown::stopped;

/// Why the gateway could not be brought up, or a reload could not be taken over.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A listener's address cannot be used.
    #[error(transparent)]
    Listen(#[from] BindError),
    /// Certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The store cannot be opened.
    #[error("the store `{path}` cannot be opened")]
    Store {
        /// Its file.
        path: PathBuf,
        /// Why.
        #[source]
        source: store::Error,
    },
    /// The key that seals stored requests cannot be read or made.
    #[error("the key file `{path}` cannot be used: {reason}")]
    Key {
        /// Its file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Something in the store was sealed with a key that the configuration does not have.
    #[error(
        "held requests or kept answers in `{path}` were sealed with a key that is not at hand. Put the earlier key under \
         `store.previous_secret_keys`: what `store.secret_key` was, or, where none was configured, what `base64 {key_file}` \
         prints. If that key is lost, `holdpoint migrate --reseal --give-up-lost` closes the approvals that need it"
    )]
    MissingKey {
        /// The store's file.
        path: PathBuf,
        /// Where a key is when none is configured.
        key_file: PathBuf,
    },
    /// An upstream cannot be used.
    #[error("upstream `{name}` cannot be used: {reason}")]
    Upstream {
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    },
    /// The gate could not recover or record.
    #[error(transparent)]
    Gate(#[from] gate::Error),
}

/// What is in force and can be replaced while the gateway runs.
pub(super) struct Live {
    path: PathBuf,
    reviewers: Reviewers,
    at_start: restart::AtStart,
    own: OwnListeners,
    gate: Gate,
    surface: Arc<ArcSwap<Surface>>,
    authenticator: Arc<ArcSwap<Authenticator>>,
    settings: Arc<ArcSwap<Settings>>,
    tls: [Option<Arc<TlsState>>; 2],
    metrics: Arc<Metrics>,
    drain: CancellationToken,
    programs: Programs,
}

/// The gateway, up and serving.
pub struct Running {
    /// Where agents reach it.
    pub proxy: SocketAddr,
    /// Where reviewers reach it.
    pub admin: SocketAddr,
    /// The gate, for whoever runs beside it in one process.
    pub gate: Gate,
    live: Arc<Live>,
    tracker: TaskTracker,
    drain_timeout: Duration,
    store: Arc<SqliteStore>,
}

/// Where a configuration came from, for reloading it.
pub struct Origin {
    /// The configuration file.
    pub path: PathBuf,
    /// Every file that was looked at.
    pub files_read: Vec<PathBuf>,
    /// Whether a configuration without reviewers is accepted.
    pub reviewers: Reviewers,
}

/// Builds and starts everything. When it returns, calls are being served.
pub async fn start(config: Config, origin: Origin) -> Result<Running, Error> {
    start_with_clock(config, origin, Arc::new(SteadyClock::start())).await
}

/// As [`start`], by a clock of the caller's: what is due by it is due, while timers run in real time.
pub async fn start_with_clock(config: Config, origin: Origin, clock: Arc<dyn Clock>) -> Result<Running, Error> {
    let (drain, tracker) = (CancellationToken::new(), TaskTracker::new());
    let tls = [build::tls(config.proxy.tls.as_ref())?, build::tls(config.admin.tls.as_ref())?];
    let proxy = Listener::bind(config.proxy.listen, tls[0].clone())?;
    let admin = Listener::bind(config.admin.listen, tls[1].clone())?;
    let listening = (proxy.address(), admin.address());
    // Tells whether the machine's clock was set since.
    let steady = SteadyClock::start();
    let policy = config.policies.compiled().clone();
    let upstreams: Vec<String> = config.upstreams.keys().map(|name| name.as_str().to_owned()).collect();
    let known = known_rules(&policy);
    let metrics = Metrics::new(env!("CARGO_PKG_VERSION"), Known { upstreams: &upstreams, rules: &known });
    let metrics = Arc::new(metrics);
    metrics.policy_revision(policy.revision());
    metrics.pending_limit(config.limits.pending_total_max as u64);
    let (store, sealer) = open_store(&config, clock.now()).await?;
    let authenticator = Arc::new(ArcSwap::from_pointee(build::authenticator(&config)));
    let programs = Programs::new(tracker.clone(), drain.clone());
    let own = OwnListeners::new([listening.0, listening.1]);
    let surface = build::surface(&config, authenticator.load_full(), &metrics, &programs, &own)?;
    let surface = Arc::new(ArcSwap::from_pointee(surface));
    let gate = Gate::new(Parts {
        store: Arc::new(MeasuredStore::new(store.clone(), metrics.clone(), clock.clone())),
        clock,
        random: Arc::new(OsRandom),
        limits: build::limits(&config),
        sealer,
        sender: Arc::new(DetachedSender { surface: surface.clone() }),
        metrics: metrics.clone(),
        tracker: tracker.clone(),
        drain: drain.clone(),
        policy,
    });
    announce(&gate).await?;
    gate.set_on_tool_change(build::on_tool_change(&config));
    gate.start().await?;
    let settings = Arc::new(ArcSwap::from_pointee(build::admin_settings(&config)));
    let live = Arc::new(Live {
        reviewers: origin.reviewers,
        path: origin.path,
        at_start: restart::AtStart::of(&config),
        own,
        gate: gate.clone(),
        surface: surface.clone(),
        authenticator: authenticator.clone(),
        settings: settings.clone(),
        tls,
        metrics: metrics.clone(),
        drain: drain.clone(),
        programs,
    });
    live.reloaded();
    let shared = Shared::new(gate.clone(), authenticator, settings);
    let requests = reload::Requests::receive(&origin.files_read);
    serve(&config, &live, &shared, proxy, admin, &tracker);
    if let Some(requests) = requests {
        tracker.spawn(reload::run(live.clone(), requests));
    }
    tracker.spawn(watch::run(gate.clone(), steady));
    Ok(Running {
        proxy: listening.0,
        admin: listening.1,
        gate,
        live,
        tracker,
        drain_timeout: config.drain_timeout,
        store,
    })
}

fn serve(
    config: &Config,
    live: &Arc<Live>,
    shared: &Arc<Shared>,
    proxy: Listener,
    admin: Listener,
    tracker: &TaskTracker,
) {
    let agents = api::router(shared, ApiSurface::AgentOnly);
    let calls = Arc::new(Proxy::new(live.gate.clone(), live.surface.clone(), agents, tracker.clone()));
    let page = api::router(shared, ApiSurface::Admin).merge(dashboard::router(shared));
    let options = |name| build::listener_options(config, &live.gate, name);
    for (surface, listener) in [("proxy", &proxy), ("admin", &admin)] {
        tracing::info!(surface, address = %listener.address(), tls = listener.is_tls(), "listening");
    }
    let (drain, tasks) = (live.drain.clone(), tracker.clone());
    let make = move |_: &PeerInfo| build::call_service(calls.clone());
    tracker.spawn(listener::serve(proxy, make, options(ListenerName::Proxy), drain, tasks));
    let (drain, tasks) = (live.drain.clone(), tracker.clone());
    let make = move |_: &PeerInfo| build::page_service(page.clone());
    tracker.spawn(listener::serve(admin, make, options(ListenerName::Admin), drain, tasks));
}

async fn open_store(config: &Config, now: Timestamp) -> Result<(Arc<SqliteStore>, Sealer), Error> {
    let path = &config.store.path;
    let failed = |source| Error::Store { path: path.clone(), source };
    let store = SqliteStore::open(path, Options::default()).map_err(failed)?;
    let sealer = keys::sealer(&config.store)?;
    keys::check(&store, &sealer, now)
        .await
        .map_err(failed)?
        .map_err(|keys::Missing| Error::MissingKey { path: path.clone(), key_file: keys::key_file(path) })?;
    Ok((Arc::new(store), sealer))
}

async fn announce(gate: &Gate) -> Result<(), Error> {
    let mut detail = serde_json::Map::new();
    detail.insert("version".into(), env!("CARGO_PKG_VERSION").into());
    detail.insert("revision".into(), gate.policy_revision().into());
    let event = Event { at: gate.now(), kind: EventKind::Started, actor: Actor::Gateway, approval: None, detail };
    Ok(gate.record(event).await?)
}

impl Live {
    /// Configuration and policy are in force as they stand on disk.
    fn reloaded(&self) {
        self.metrics.reload_succeeded(self.gate.now());
        self.gate.reload_went(Ok(()));
    }

    /// What stands on disk cannot be used; everything stays as it was.
    fn failed(&self, problem: String) {
        tracing::error!(problem, "the new configuration cannot be used; the old one stays in force");
        self.metrics.reload_failed();
        self.gate.reload_went(Err(problem));
    }

    fn tls_reload(&self, config: &Config) -> Result<(), Error> {
        for (state, settings) in self.tls.iter().zip([&config.proxy.tls, &config.admin.tls]) {
            if let (Some(state), Some(settings)) = (state, settings) {
                state.reload(&build::tls_files(settings))?;
            }
        }
        Ok(())
    }
}

impl Running {
    /// Makes a link that signs a configured reviewer in once; answers with its path. `None` when there is no such reviewer.
    pub fn one_time_link(&self, reviewer: &str) -> Option<String> {
        let authenticator = self.live.authenticator.load();
        let reviewer = authenticator.reviewer(reviewer)?;
        let token = self.gate.random_token();
        authenticator.offer_one_time_link(&token, reviewer);
        Some(format!("/dashboard/once/{token}"))
    }

    /// Returns when the store takes no more writes until it is opened anew: the process had better end, and whoever started it
    /// start it again.
    pub async fn store_lost(&self) {
        self.store.distrusted().await;
    }

    /// Shuts down: not ready, no new connections, releases in flight finish, holds are answered truthfully. Returns whether
    /// everything ended within `drain_timeout`.
    pub async fn shut_down(self) -> bool {
        tracing::info!("shutting down");
        self.live.drain.cancel();
        self.tracker.close();
        let ended = tokio::time::timeout(self.drain_timeout, self.tracker.wait()).await.is_ok();
        if !ended {
            tracing::warn!(
                "some connections or releases did not end in time; releases still in flight will be unknown"
            );
        }
        drop(self.store);
        ended
    }
}
