//! `holdpoint demo`: the real gateway on the real embedded store, with a small tool backend (REST and MCP) and three parked
//! calls.

mod agent;
mod backend;
mod files;
mod mailbox;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;
use serde_json::json;

use super::{complain, logs, runtime, say};
use crate::config::load::{Reviewers, load};
use crate::config::secrets::ProcessEnv;
use crate::gate::random_token;
use crate::runtime::{Origin, Running, start, stopped};
use crate::store::{Filter, Sort};

use agent::ERRANDS;
use files::{REVIEWERS, Setting};

/// How long the agent's calls may take to be parked before the demonstration says that something is wrong.
const PARKED_WITHIN: Duration = Duration::from_secs(10);

/// Arguments of `holdpoint demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Keep store and configuration in this folder; without it they are in a temporary one and go at the end
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where agents reach the proxy [default: 127.0.0.1:8080, or a free port when that is taken]
    #[arg(long, value_name = "IP:PORT")]
    proxy_listen: Option<SocketAddr>,
    /// Where reviewers reach the page [default: 127.0.0.1:8081, or a free port when that is taken]
    #[arg(long, value_name = "IP:PORT")]
    admin_listen: Option<SocketAddr>,
}

/// A temporary folder that goes when this does.
struct Folder {
    path: PathBuf,
    is_temporary: bool,
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.is_temporary
            && let Err(error) = std::fs::remove_dir_all(&self.path)
        {
            complain(&format!("`{}` could not be removed: {error}", self.path.display()));
        }
    }
}

/// Runs the demonstration until a signal ends it.
pub fn run(args: &DemoArgs) -> ExitCode {
    runtime(async {
        match demonstrate(args).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                complain(&format!("the demonstration cannot run: {error:#}"));
                ExitCode::FAILURE
            }
        }
    })
}

async fn demonstrate(args: &DemoArgs) -> anyhow::Result<()> {
    let folder = folder(args)?;
    let backend = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("the tool backend's port")?;
    let (agent_token, tokens) = (random_token(), [random_token(), random_token()]);
    let setting = Setting {
        proxy: args.proxy_listen.unwrap_or_else(|| free(8080)),
        admin: args.admin_listen.unwrap_or_else(|| free(8081)),
        backend: backend.local_addr()?,
        agent_token: &agent_token,
        reviewer_tokens: [&tokens[0], &tokens[1]],
    };
    let path = files::write(&folder.path, &setting)
        .with_context(|| format!("`{}` cannot be written", folder.path.display()))?;
    let loaded = load(&path, &ProcessEnv, Reviewers::Required);
    let problems: Vec<String> = loaded.diagnostics.iter().map(ToString::to_string).collect();
    let config = loaded.config.ok_or_else(|| anyhow!("its own configuration has problems: {}", problems.join("; ")))?;
    logs::init(&config)?;
    let origin = Origin { path, files_read: loaded.files_read, reviewers: Reviewers::Required };
    let running = start(config, origin).await?;
    let serving = axum::serve(backend, backend::router()).with_graceful_shutdown(running.gate.draining());
    running.gate.spawn("tool backend", async move { drop(serving.await) });
    for errand in ERRANDS {
        running.gate.spawn("demo agent", agent::run(running.proxy, agent_token.clone(), errand));
    }
    let parked = parked(&running).await?;
    introduce(&running, &folder, parked, &agent_token)?;
    stopped().await?;
    say("\nShutting down.\n");
    running.shut_down().await;
    Ok(())
}

fn folder(args: &DemoArgs) -> anyhow::Result<Folder> {
    let (path, is_temporary) = match &args.data {
        Some(path) => (path.clone(), false),
        None => (std::env::temp_dir().join(format!("holdpoint-demo-{}", &random_token()[..12])), true),
    };
    std::fs::create_dir_all(&path).with_context(|| format!("`{}` cannot be made", path.display()))?;
    Ok(Folder { path, is_temporary })
}

/// The usual port where it is free, any free one otherwise.
fn free(port: u16) -> SocketAddr {
    let usual = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match TcpListener::bind(usual) {
        Ok(_) => usual,
        Err(_) => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
    }
}

/// Waits until the agent's calls are parked.
async fn parked(running: &Running) -> anyhow::Result<usize> {
    let deadline = tokio::time::Instant::now() + PARKED_WITHIN;
    loop {
        let filter = Filter {
            statuses: vec![crate::domain::approval::Status::Pending],
            sort: Sort::Oldest,
            ..Filter::default()
        };
        let page = running.gate.store().list(filter, None, 100, running.gate.now()).await?;
        if page.approvals.len() >= ERRANDS.len() {
            return Ok(page.approvals.len());
        }
        if tokio::time::Instant::now() > deadline {
            return Err(anyhow!("only {} of {} calls were parked", page.approvals.len(), ERRANDS.len()));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn introduce(running: &Running, folder: &Folder, parked: usize, agent_token: &str) -> anyhow::Result<()> {
    let (proxy, admin) = (running.proxy, running.admin);
    let [you, second] = REVIEWERS.map(|id| {
        let link = running.one_time_link(id).ok_or_else(|| anyhow!("there is no reviewer `{id}`"))?;
        anyhow::Ok(format!("http://{admin}{link}"))
    });
    let (you, second) = (you?, second?);
    let where_to = if folder.is_temporary { " (removed at the end)" } else { "" };
    say(&format!(
        "\nHoldpoint is running, and {parked} tool calls wait for a human.\n\n\
         \x20 {:<18}{you}\n\
         \x20 {:<18}{second}\n\
         \x20                   (one use each; a payout needs two people)\n\n\
         \x20 Agents call:      http://{proxy}/shop/…\n\
         \x20 over MCP:         http://{proxy}/mcp\n\
         \x20 API and metrics:  http://{admin}/openapi.json, http://{admin}/metrics\n\
         \x20 Data:             {}{where_to}\n\n\
         Be the agent yourself: this call waits until you decide it on the page (50 s; send it again and it joins).\n\n\
         \x20 curl -sS http://{proxy}/shop/refunds \\\n\
         \x20   -H 'Authorization: Bearer {agent_token}' \\\n\
         \x20   -H 'Content-Type: application/json' \\\n\
         \x20   -d '{{\"customer\":\"c_23\",\"amount_usd\":140}}'\n\n\
         With \"amount_usd\":40 it passes at once; what the shop did: GET /shop/ledger.\n\n\
         {}\
         Stop with Ctrl-C.\n",
        format!("Decide as {}:", REVIEWERS[0]),
        format!("and as {}:", REVIEWERS[1]),
        folder.path.display(),
        for_mcp(proxy, agent_token),
    ));
    Ok(())
}

/// How an MCP client reaches the mailbox, and how to do without one.
fn for_mcp(proxy: SocketAddr, agent_token: &str) -> String {
    let headers = json!({ "Authorization": format!("Bearer {agent_token}") });
    let server = json!({ "type": "http", "url": format!("http://{proxy}/mcp"), "headers": headers });
    let client = json!({ "mcpServers": { "mailbox": server } });
    format!(
        "Over MCP there is a mailbox: `search` passes, `send_email` waits, `delete_mailbox` is blocked. For an MCP client:\n\n\
         \x20 {client}\n\n\
         or by hand:\n\n\
         \x20 curl -sS http://{proxy}/mcp \\\n\
         \x20   -H 'Authorization: Bearer {agent_token}' \\\n\
         \x20   -H 'Content-Type: application/json' -H 'Accept: application/json' \\\n\
         \x20   -d '{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{{\"name\":\"send_email\",\
         \"arguments\":{{\"to\":\"ada@example.org\",\"subject\":\"Your invoice\",\"body\":\"Here it is.\"}}}}}}'\n\n"
    )
}
