//! `holdpoint verify`: the guarantees, shown on the operator's own configuration and policy.
//!
//! The configuration is loaded as `serve` loads it. A gateway in a process of its own serves it with a scratch store, scratch
//! upstreams and scratch credentials (`scratch`), and the checks drive that gateway over its sockets like any agent and reviewer.
//! Nothing of the operator's is contacted or written: no upstream, no store, no configured port.
//!
//! Exit status: 0 when every check holds or has no occasion, 1 when one does not hold, 2 when they could not be run.

mod checks;
mod gateway;
mod recorder;
mod report;
mod sample;
mod scratch;
mod search;
mod values;
mod wire;
mod world;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use clap::{Args, ValueEnum};

use super::{complain, say};
use crate::config::diagnostic::in_order;
use crate::config::load::{Reviewers, load};
use crate::config::secrets::ProcessEnv;
use crate::gate::random_token;

use gateway::Gateway;
use recorder::Recorder;
use report::Report;
use scratch::Spec;
use search::Search;
use world::World;

/// What the child is told apart by.
const SCRATCH_FLAG: &str = "--scratch-gateway";

/// Arguments of `holdpoint verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", env = "HOLDPOINT_CONFIG", default_value = "holdpoint.yaml")]
    config: PathBuf,
    /// How the report is written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Be the gateway that is checked: for this command's own use
    #[arg(long, hide = true)]
    scratch_gateway: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// One JSON object: `{"ok", "passed", "failed", "not_applicable", "checks": […]}`
    Json,
}

/// Runs the checks and prints the report.
pub fn run(args: &VerifyArgs) -> ExitCode {
    if args.scratch_gateway {
        return scratch::serve(&args.config);
    }
    match verified(&args.config) {
        Ok(report) => {
            say(&match args.format {
                Format::Text => report.text(),
                Format::Json => report.json(),
            });
            ExitCode::from(u8::from(report.failed() > 0))
        }
        Err(error) => {
            complain(&format!("error: the checks could not be run: {error:#}"));
            ExitCode::from(2)
        }
    }
}

/// A folder that goes when this does.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        if self.0.exists()
            && let Err(error) = std::fs::remove_dir_all(&self.0)
        {
            complain(&format!("`{}` could not be removed: {error}", self.0.display()));
        }
    }
}

fn verified(path: &Path) -> anyhow::Result<Report> {
    let loaded = load(path, &ProcessEnv, Reviewers::Required);
    let Some(config) = loaded.config else {
        let found = in_order(loaded.diagnostics);
        let shown: String = found.iter().map(|found| format!("\n\n{}", found.render())).collect();
        return Err(anyhow!("the configuration does not load{shown}"));
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let cases = checks::cases(&config, folder).map_err(|problem| anyhow!("{problem}"))?;
    let mut report = Report::default();
    checks::policy_checks(&config, &cases, &mut report);

    let upstreams = config.upstreams.values().map(|one| (one.name.as_str().to_owned(), one.mcp.is_some()));
    let recorder = Recorder::start(upstreams).context("the scratch upstreams")?;
    let scratch = Folder(std::env::temp_dir().join(format!("holdpoint-verify-{}", &random_token()[..12])));
    private_folder(&scratch.0).with_context(|| format!("`{}` cannot be made", scratch.0.display()))?;
    let spec = Spec::new(&config, scratch.0.clone(), recorder.addresses().clone());
    let gateway = Gateway::start(path, &spec)?;
    let revision = config.policies.compiled().revision();
    if gateway.revision != revision {
        return Err(anyhow!(
            "the policy has changed meanwhile, from {revision} to {}; run this again",
            gateway.revision
        ));
    }
    let cases = cases.all();
    let search = Search { config: &config, policy: config.policies.compiled(), cases: &cases };
    let mut world = World::new(&config, spec, gateway, recorder);
    let done = checks::run(&mut world, &search, &mut report);
    done.with_context(|| format!("the end of the scratch gateway's log: {}", world.gateway.last_words()))?;
    Ok(report)
}

/// The scratch store holds what a store holds, if only for a minute: nobody else reads it.
fn private_folder(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().mode(0o700).create(path)
}
