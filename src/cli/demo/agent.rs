//! The demonstration's agent: it calls tools through the proxy like any other, and comes back while a call waits.

use std::net::SocketAddr;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Method, Request};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::super::say;
use crate::problem::Code;
use crate::protocol::mcp::{META_DECISION, Status};

/// As much of an answer as is shown.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// A call that the agent makes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Errand {
    /// What it is called in what is printed.
    pub(super) what: &'static str,
    /// The path on the proxy.
    pub(super) path: &'static str,
    /// The JSON body.
    pub(super) body: &'static str,
}

/// What the agent does when the demonstration starts.
pub(super) const ERRANDS: [Errand; 3] = [
    Errand {
        what: "refund of 250.00 USD",
        path: "/shop/refunds",
        body: r#"{"customer":"c_42","amount_usd":250.00,"reason":"double charge","card_number":"4111 1111 1111 1111"}"#,
    },
    Errand {
        what: "payout of 1200.50 USD",
        path: "/shop/payouts",
        body: r#"{"destination":"Acme Supplies","amount_usd":1200.50,"iban":"DE89370400440532013000"}"#,
    },
    Errand {
        what: "mail to katherine@example.net",
        path: "/mcp",
        body: r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"send_email","arguments":{"to":"katherine@example.net","subject":"Your refund","body":"Hello Katherine,\nyour refund is on its way."}}}"#,
    },
];

/// Makes the call and, while nobody has decided, makes it again: the identical call joins its approval. Says how it ended.
pub(super) async fn run(proxy: SocketAddr, token: String, errand: Errand) {
    let client: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    loop {
        match once(&client, proxy, &token, errand).await {
            Ok((status, body)) if is_pending(status, &body) => {}
            Ok((status, body)) => {
                say(&format!("\n  The agent's {} came back: {status} {}\n", errand.what, body.trim()));
                return;
            }
            // The gateway is going down, or the answer broke off: nothing more to say.
            Err(_) => return,
        }
    }
}

/// Whether nobody has decided yet: plain HTTP says it with a status, MCP in the result.
fn is_pending(status: u16, body: &str) -> bool {
    if status == 503 {
        return body.contains(Code::ApprovalPending.as_str());
    }
    let message: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    message["result"]["_meta"][META_DECISION]["status"] == Status::Pending.as_str()
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

async fn once(
    client: &Client<HttpConnector, Full<Bytes>>,
    proxy: SocketAddr,
    token: &str,
    errand: Errand,
) -> Result<(u16, String), AnyError> {
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("http://{proxy}{}", errand.path))
        .header(AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {token}"))?)
        .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
        // No event stream: what is answered is shown as it came.
        .header(ACCEPT, HeaderValue::from_static("application/json"))
        .body(Full::from(errand.body))?;
    let response = client.request(request).await?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}
