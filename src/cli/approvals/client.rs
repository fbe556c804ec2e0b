//! Asking a gateway's API: one connection, a token, and answers of bounded size.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName};
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Method, Request, Response, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::super::complain;
use crate::config::secrets::{Env as _, ProcessEnv};
use crate::connect::{NotSentReason, SendError, Trust, UpstreamClient, UpstreamOptions};
use crate::web::text::excerpt;

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an answer may take to begin, and then to end.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The longest token.
const TOKEN_BYTES_MAX: u64 = 1024;
/// How much of the gateway's words is repeated.
const DETAIL_CHARS_MAX: usize = 2000;
/// What need not be escaped in a query.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Which gateway, and as whom.
#[derive(Debug, Args)]
pub(super) struct Remote {
    /// The gateway's admin listener
    #[arg(long, value_name = "URL", env = "HOLDPOINT_URL", default_value = "http://127.0.0.1:8081")]
    url: String,
    /// A file that holds the reviewer's token. Left out: `HOLDPOINT_TOKEN` in the environment
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// PEM file with the authorities to trust, in place of the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The gateway said no.
    #[error("{0}")]
    Refused(String),
    /// It could not be asked.
    #[error("{0}")]
    NotAsked(String),
    /// What it said cannot be used.
    #[error("{0}")]
    Answer(String),
    /// Whoever reads has gone, or cannot be written to.
    #[error("cannot write: {0}")]
    Write(#[from] std::io::Error),
}

impl Failure {
    /// The exit status.
    pub(super) fn status(&self) -> u8 {
        match self {
            Failure::Refused(_) => 1,
            Failure::NotAsked(_) | Failure::Answer(_) | Failure::Write(_) => 2,
        }
    }

    pub(super) fn answer(what: impl Into<String>) -> Self {
        Self::Answer(what.into())
    }
}

/// Asks one gateway as one reviewer.
pub(super) struct Client {
    scheme: Scheme,
    authority: Authority,
    prefix: String,
    token: HeaderValue,
    http: UpstreamClient<Full<Bytes>>,
}

/// A problem document, as far as it is shown.
#[derive(Debug, Deserialize)]
struct Problem {
    detail: Option<String>,
    title: Option<String>,
    code: Option<String>,
}

impl Client {
    /// Reads URL and token; connects to nothing yet.
    pub(super) fn new(remote: &Remote) -> Result<Self, Failure> {
        let (scheme, authority, prefix) = address(&remote.url)?;
        let token = token(remote.token_file.as_deref())?;
        if scheme == Scheme::HTTP && !is_loopback(&authority) {
            complain(&format!("warning: the token travels to `{authority}` in clear text: use https"));
        }
        let trust = remote.ca.clone().map_or(Trust::Platform, Trust::File);
        let options = UpstreamOptions { connect_timeout: CONNECT_TIMEOUT, trust, ..UpstreamOptions::default() };
        let http = UpstreamClient::new(&options).map_err(|error| Failure::NotAsked(error.to_string()))?;
        Ok(Self { scheme, authority, prefix, token, http })
    }

    /// GET of a JSON document.
    pub(super) async fn get<T: DeserializeOwned>(&self, target: &str) -> Result<T, Failure> {
        json(self.send(Method::GET, target, Bytes::new(), &[]).await?).await
    }

    /// POST of a JSON document.
    pub(super) async fn post<T: DeserializeOwned>(&self, target: &str, body: &impl Serialize) -> Result<T, Failure> {
        let body = Bytes::from(text(body)?);
        let headers = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        json(self.send(Method::POST, target, body, &headers).await?).await
    }

    /// Opens a stream of events behind the one with this id; from now on without one.
    pub(super) async fn events(&self, last: Option<&str>) -> Result<Response<Incoming>, Failure> {
        let mut headers = vec![(ACCEPT, HeaderValue::from_static("text/event-stream"))];
        if let Some(last) = last.and_then(|last| HeaderValue::from_str(last).ok()) {
            headers.push((HeaderName::from_static("last-event-id"), last));
        }
        self.send(Method::GET, "/v1/events", Bytes::new(), &headers).await
    }

    /// Sends, and makes a failure of every answer that is not a success.
    async fn send(
        &self,
        method: Method,
        target: &str,
        body: Bytes,
        headers: &[(HeaderName, HeaderValue)],
    ) -> Result<Response<Incoming>, Failure> {
        let unusable = |error: http::Error| Failure::NotAsked(format!("the request cannot be made: {error}"));
        let uri = Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(format!("{}{target}", self.prefix))
            .build()
            .map_err(unusable)?;
        let mut request = Request::builder().method(method).uri(uri);
        request = request.header(HOST, self.authority.as_str()).header(AUTHORIZATION, self.token.clone());
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(body)).map_err(unusable)?;
        let changes = request.method() != Method::GET;
        let place = &self.authority;
        // On a connection of its own: nothing is decided twice because an old one had just closed.
        let answer = self.http.send_fresh(request, ANSWER_TIMEOUT).await;
        let response = answer.map_err(|error| {
            Failure::NotAsked(match error {
                SendError::NotSent(failure) => format!("`{place}` cannot be asked: {}", unreached(failure.reason())),
                SendError::Lost(_) | SendError::TimedOut if changes => format!(
                    "`{place}` did not answer. It may have been done all the same: look with `holdpoint approvals show`"
                ),
                SendError::Lost(_) | SendError::TimedOut => format!("`{place}` did not answer"),
            })
        })?;
        if response.status().is_success() { Ok(response) } else { Err(refusal(response).await) }
    }
}

/// What to look at when nothing could be sent.
const fn unreached(reason: NotSentReason) -> &'static str {
    match reason {
        NotSentReason::NoTarget => "`--url` names no host",
        NotSentReason::Resolve => "its name could not be resolved",
        NotSentReason::Connect => {
            "nobody listens there, or nobody lets this machine in. Is it the gateway's admin listener?"
        }
        NotSentReason::OwnListener => "it is this process itself",
        NotSentReason::Tls => {
            "there is no TLS session. Is its certificate of an authority that this machine trusts, or `--ca`?"
        }
        NotSentReason::TimedOut => "connecting took too long",
        NotSentReason::Closed => "it closed the connection at once",
        NotSentReason::RequestBody => "the request could not be written whole",
        // Of upstreams that are programs; the admin API is none.
        NotSentReason::Start | NotSentReason::ChildrenMax | NotSentReason::Restarting => "it is no HTTP server",
    }
}

/// What the gateway said in place of an answer.
async fn refusal(response: Response<Incoming>) -> Failure {
    let status = response.status();
    let said = bytes(response).await.ok().and_then(|bytes| serde_json::from_slice::<Problem>(&bytes).ok());
    let said = said.map_or_else(
        || format!("the answer was {status}"),
        |Problem { detail, title, code }| {
            let detail = detail.or(title).unwrap_or_else(|| status.to_string());
            let code = code.map_or_else(String::new, |code| format!(" ({})", excerpt(&code, 64)));
            format!("{}{code}", excerpt(&detail, DETAIL_CHARS_MAX))
        },
    );
    match status.as_u16() {
        403 | 404 | 409 => Failure::Refused(said),
        401 => Failure::NotAsked(format!("{said}. Is the token a reviewer's of this gateway?")),
        _ => Failure::NotAsked(said),
    }
}

async fn bytes(response: Response<Incoming>) -> Result<Bytes, Failure> {
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect();
    match tokio::time::timeout(ANSWER_TIMEOUT, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) => Err(Failure::answer(format!("the answer broke off: {error}"))),
        Err(_) => Err(Failure::answer("the answer did not end in time")),
    }
}

async fn json<T: DeserializeOwned>(response: Response<Incoming>) -> Result<T, Failure> {
    let bytes = bytes(response).await?;
    serde_json::from_slice(&bytes).map_err(|error| {
        Failure::answer(format!("the answer is not what a gateway says: {error}. Is this its admin listener?"))
    })
}

/// A value as JSON text.
pub(super) fn text(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| Failure::answer(error.to_string()))
}

/// A value in a query.
pub(super) fn encoded(value: &str) -> String {
    utf8_percent_encode(value, QUERY).to_string()
}

fn address(url: &str) -> Result<(Scheme, Authority, String), Failure> {
    let wrong = |why: &str| Failure::NotAsked(format!("`--url`: {why}; write `https://host:port`"));
    let uri: Uri = url.parse().map_err(|_| wrong("this is no URL"))?;
    let parts = uri.into_parts();
    let scheme = parts.scheme.filter(|scheme| [Scheme::HTTP, Scheme::HTTPS].contains(scheme));
    let scheme = scheme.ok_or_else(|| wrong("it begins with neither `http://` nor `https://`"))?;
    let authority = parts.authority.ok_or_else(|| wrong("it names no host"))?;
    if authority.as_str().contains('@') {
        return Err(wrong("a token does not belong in it"));
    }
    let path = parts.path_and_query.ok_or_else(|| wrong("this is no URL"))?;
    if path.query().is_some() {
        return Err(wrong("it must not have a query"));
    }
    Ok((scheme, authority, path.path().trim_end_matches('/').to_owned()))
}

fn is_loopback(authority: &Authority) -> bool {
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn token(file: Option<&Path>) -> Result<HeaderValue, Failure> {
    let text = match file {
        Some(path) => {
            let failed =
                |error| Failure::NotAsked(format!("the token in `{}` cannot be read: {error}", path.display()));
            let mut text = String::new();
            File::open(path)
                .and_then(|file| file.take(TOKEN_BYTES_MAX + 2).read_to_string(&mut text))
                .map_err(failed)?;
            text
        }
        None => ProcessEnv.variable("HOLDPOINT_TOKEN").unwrap_or_default(),
    };
    let token = text.trim_end_matches(['\r', '\n']);
    let from = file.map_or_else(|| "`HOLDPOINT_TOKEN`".to_owned(), |path| format!("`{}`", path.display()));
    if token.is_empty() {
        let hint = "put a reviewer's token into `HOLDPOINT_TOKEN`, or name a file that holds it with `--token-file`";
        return Err(Failure::NotAsked(format!("there is no token in {from}: {hint}")));
    }
    let usable = token.len() as u64 <= TOKEN_BYTES_MAX && token.bytes().all(|byte| byte.is_ascii_graphic());
    let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
        .ok()
        .filter(|_| usable)
        .ok_or_else(|| Failure::NotAsked(format!("what is in {from} is no token")))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_base_url_and_nothing_more() {
        let read = |url: &str| {
            let (scheme, authority, prefix) = address(url).ok()?;
            Some(format!("{scheme} {authority} {prefix}"))
        };
        assert_eq!(read("http://127.0.0.1:8081").as_deref(), Some("http 127.0.0.1:8081 "));
        assert_eq!(read("https://h.example/holdpoint/").as_deref(), Some("https h.example /holdpoint"));
        for bad in ["", "127.0.0.1:8081", "ftp://h", "http://", "https://u:p@h", "http://h/?a=b", "/path"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn clear_text_is_for_this_machine() {
        for (authority, loopback) in
            [("127.0.0.1:1", true), ("localhost", true), ("[::1]:2", true), ("10.0.0.1", false), ("h.example", false)]
        {
            assert_eq!(is_loopback(&authority.parse().expect("an authority")), loopback, "{authority}");
        }
    }

    #[test]
    fn values_of_a_query_cannot_end_it() {
        assert_eq!(encoded("a b&c=d#é"), "a%20b%26c%3Dd%23%C3%A9");
    }
}
