//! The Rust SDK (`rmcp`) as a client of the MCP tests: the same command line, scenarios and lines as the Python and
//! TypeScript clients beside it. With sessions as it does by itself, or on the newest revision (`--era modern`).

use std::collections::HashMap;
use std::time::Duration;

use rmcp::model::{CallToolRequestParams, CallToolResult, ProtocolVersion};
use rmcp::service::{ClientLifecycleMode, ClientServiceExt, RoleClient, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::timeout;

const CONNECT: Duration = Duration::from_secs(20);
const CANCEL: Duration = Duration::from_secs(2);
const SHORT: Duration = Duration::from_secs(3);
/// After this long a call that should have been over is: the library hangs.
const STUCK: Duration = Duration::from_secs(100);

type Client = RunningService<RoleClient, ()>;

fn emit(event: &str, mut fields: Value) {
    fields["event"] = json!(event);
    println!("{fields}");
}

/// The arguments of the fixture's tools, each recognisable by its key.
fn arguments(tool: &str, key: &str) -> Value {
    match tool {
        "safe_wait" => json!({ "seconds": 20 }),
        "safe_echo" => json!({ "text": key }),
        "delete_repo" => json!({ "name": key }),
        _ => json!({ "key": key }),
    }
}

fn parameters(tool: &str, arguments: Value) -> CallToolRequestParams {
    let Value::Object(arguments) = arguments else { unreachable!("arguments are an object") };
    CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments)
}

fn text(result: &CallToolResult) -> String {
    let texts = result.content.iter().filter_map(|block| Some(block.as_text()?.text.as_str()));
    texts.collect::<Vec<_>>().join("\n")
}

/// Waits for a call at most so long and prints what came of it. Dropping a call is how this SDK cancels one.
async fn told(client: &Client, label: &str, parameters: CallToolRequestParams, limit: Duration) {
    match timeout(limit, client.call_tool(parameters)).await {
        Ok(Ok(result)) => {
            let whole = serde_json::to_value(&result).unwrap_or_default();
            let fields = json!({
                "label": label,
                "is_error": result.is_error.unwrap_or(false),
                "text": text(&result),
                "meta": whole.get("_meta"),
                "structured": result.structured_content,
            });
            emit("result", fields);
        }
        Ok(Err(error)) => emit("error", json!({ "label": label, "text": error.to_string() })),
        Err(_) => emit("error", json!({ "label": label, "text": format!("dropped after {limit:?}") })),
    }
}

async fn scenario(client: &Client, options: &HashMap<String, String>) -> Result<(), String> {
    let given = match options.get("arguments") {
        Some(text) => serde_json::from_str(text).map_err(|error| format!("--arguments: {error}"))?,
        None => arguments(&options["tool"], &options["key"]),
    };
    let call = || parameters(&options["tool"], given.clone());
    match options["scenario"].as_str() {
        "list" => {
            let tools = client.list_all_tools().await.map_err(|error| error.to_string())?;
            let names: Vec<_> = tools.iter().map(|tool| tool.name.as_ref()).collect();
            emit("result", json!({ "label": "list", "is_error": false, "tools": names }));
        }
        "allowed" | "blocked" | "held" => told(client, "call", call(), STUCK).await,
        "held-short" => {
            told(client, "left", call(), SHORT).await;
            // The driver says when: after it has decided, or while it has not.
            let mut line = String::new();
            BufReader::new(tokio::io::stdin()).read_line(&mut line).await.map_err(|error| error.to_string())?;
            told(client, "repeat", call(), STUCK).await;
        }
        "cancel" => told(client, "cancelled", call(), CANCEL).await,
        other => return Err(format!("there is no scenario {other}")),
    }
    Ok(())
}

/// Whether one more harmless call works, and what was said.
async fn alive(client: &Client, options: &HashMap<String, String>) -> Result<Value, String> {
    let key = format!("alive-{}", options["key"]);
    let (tool, given, expected): (String, Value, String) = match options.get("alive") {
        Some(text) => serde_json::from_str(text).map_err(|error| format!("--alive: {error}"))?,
        None => ("safe_echo".to_owned(), json!({ "text": key }), key),
    };
    Ok(match timeout(CONNECT, client.call_tool(parameters(&tool, given))).await {
        Ok(Ok(result)) => {
            let text = text(&result);
            let works = result.is_error != Some(true) && text.contains(&expected);
            json!({ "session_alive": works, "text": text })
        }
        Ok(Err(error)) => json!({ "session_alive": false, "text": error.to_string() }),
        Err(_) => json!({ "session_alive": false, "text": format!("no answer within {CONNECT:?}") }),
    })
}

fn options() -> Result<HashMap<String, String>, String> {
    let mut options = HashMap::from([("key".to_owned(), "k".to_owned())]);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let name = word.strip_prefix("--").ok_or_else(|| format!("{word} is no option"))?;
        options.insert(name.to_owned(), words.next().ok_or_else(|| format!("{word} needs a value"))?);
    }
    for needed in ["url", "scenario"] {
        if !options.contains_key(needed) {
            return Err(format!("--{needed} is missing"));
        }
    }
    let usual = match options["scenario"].as_str() {
        "allowed" => "safe_echo",
        "blocked" => "delete_repo",
        _ => "held_tool",
    };
    options.entry("tool".to_owned()).or_insert_with(|| usual.to_owned());
    Ok(options)
}

async fn run(options: &HashMap<String, String>) -> Result<(), String> {
    let mut config = StreamableHttpClientTransportConfig::with_uri(options["url"].as_str());
    if let Some(token) = options.get("token") {
        config = config.auth_header(token.as_str());
    }
    let lifecycle = if options.get("era").is_some_and(|era| era == "modern") {
        ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] }
    } else {
        ClientLifecycleMode::Initialize
    };
    let transport = StreamableHttpClientTransport::from_config(config);
    let client = ().serve_with_lifecycle(transport, lifecycle).await.map_err(|error| error.to_string())?;
    let peer = client.peer_info().and_then(|peer| serde_json::to_value(&*peer).ok()).unwrap_or_default();
    emit("connected", json!({ "protocol_version": peer.get("protocolVersion") }));
    scenario(&client, options).await?;
    emit("done", alive(&client, options).await?);
    client.cancel().await.map_err(|error| error.to_string())?;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let finished = match options() {
        Ok(options) => run(&options).await,
        Err(error) => Err(error),
    };
    if let Err(error) = finished {
        emit("error", json!({ "label": "session", "text": error }));
        emit("done", json!({ "session_alive": false, "text": "the session ended by an error" }));
        std::process::exit(1);
    }
    // Reading standard input keeps a thread that would wait for its next line.
    std::process::exit(0);
}
