//! One endpoint for several servers: their tools in one list, each behind its prefix, and each call sent to the server that has it.
//!
//! Each server's session is kept apart; the caller's session id carries them all, sealed, so that nothing is kept here. A server
//! that is down takes its own tools away and no others. What cannot be one for all (resources, prompts, questions of a server to
//! the client) is not offered.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::domain::policy::CompiledPolicy;
use crate::domain::tools::Page;
use crate::domain::value;
use crate::gate::held::HeldRequest;
use crate::gate::release::admit_message;
use crate::protocol::json;
use crate::protocol::mcp::{
    self as protocol, CANCELLED, Id, META_SERVER, Message, Revision, SESSION, TOOLS_CALL, TOOLS_LIST,
};
use crate::telemetry::stopwatch::Stopwatch;

use super::super::Proxy;
use super::super::body::AnswerBody;
use super::super::call::Unread;
use super::super::refusal::Refusal;
use super::super::routes::Upstream;
use super::super::surface::Surface;
use super::super::upstream::{self, Outgoing};
use super::ask::ask;
use super::listing::Asked;
use super::sessions::{Era, ServerSession, Session};
use super::{Post, Refused, answer, own_task, read, strict, task_request};

/// Pages of one server's list of tools.
const PAGES_MAX: usize = 20;
const NAME: HeaderName = HeaderName::from_static("mcp-name");

impl Proxy {
    /// Answers a request to an endpoint of several servers.
    pub(super) async fn mcp_several(
        &self,
        surface: &Surface,
        policy: &Arc<CompiledPolicy>,
        call: Unread,
        servers: &[Arc<Upstream>],
        watch: Stopwatch,
    ) -> Result<Response<AnswerBody>, Refused> {
        match call.method {
            Method::POST => {}
            Method::DELETE => return self.end_all(&call, servers).await,
            _ => return Err(Refusal::mcp_method(&call.method).into()),
        }
        let post = read(Box::new(call), surface).await?;
        let body = post.body().clone();
        let value = strict(&body)?;
        let message = protocol::read(&value)?;
        protocol::check_method(&post.request.headers, &message)?;
        let (Message::Request { params, .. } | Message::Notification { params, .. }) = &message else {
            // No server was told that it could ask.
            return Ok(answer::accepted());
        };
        let meta = params.and_then(|params| params.member("_meta"));
        let revision = protocol::check_version(&post.request.headers, meta)?;
        if let Message::Request { id, method: "initialize", params } = &message {
            return Ok(self.initialize_all(policy, &post, servers, id, *params).await);
        }
        let era = match revision.is_stateless() {
            true => Era::Stateless,
            false => match Session::open(&self.gate, &post.request.agent, &post.request.headers) {
                Some(session) => Era::Session(session),
                None => return Err(Refusal::mcp_session().into()),
            },
        };
        match message {
            Message::Notification { method: CANCELLED, params } => {
                for server in servers {
                    let headers = era.headers(&post.request.headers, &server.name).unwrap_or_default();
                    let session = headers.get(SESSION).map_or(&[][..], HeaderValue::as_bytes).to_vec();
                    if let Some(id) = params.and_then(|params| params.member("requestId")).and_then(Id::of) {
                        self.in_flight.cancel(&post.request.agent, &server.name, &session, &id);
                    }
                }
                self.tell_all(&post, servers, &era).await
            }
            Message::Notification { .. } => self.tell_all(&post, servers, &era).await,
            Message::Request { id, method: TOOLS_CALL, params } => {
                let judged = self.call_one(surface, policy, post, servers, (&era, &value), (&id, params), watch).await;
                judged.map_err(|refused| Refused { id: Some(id), ..refused })
            }
            Message::Request { id, method: TOOLS_LIST, .. } => {
                Ok(self.list_all(policy, &post, servers, &era, (&id, revision)).await)
            }
            Message::Request { id, method: "server/discover", .. } if revision.is_stateless() => {
                Ok(self.discover_all(policy, &post, servers, &id, &value).await)
            }
            Message::Request { id, method: "ping", .. } => Ok(answer::rpc_result(&id, &json!({}))),
            Message::Request { id, method, params } => match own_task(method, params) {
                Some(task) => {
                    let mut asked = task_request(&post, id, method, task, params)?;
                    asked.upstreams = servers.iter().map(|server| server.name.clone()).collect();
                    Ok(self.mcp_task(asked).await)
                }
                None => {
                    let mut response =
                        answer::rpc(&id, -32601, "this endpoint offers the tools of several servers, and nothing else");
                    if revision.is_stateless() {
                        *response.status_mut() = StatusCode::NOT_FOUND;
                    }
                    Ok(response)
                }
            },
            Message::Response => Ok(answer::accepted()),
        }
    }

    /// Ends the session with every server that has one. None is waited for longer than it takes to say so.
    async fn end_all(&self, call: &Unread, servers: &[Arc<Upstream>]) -> Result<Response<AnswerBody>, Refused> {
        let session = Session::open(&self.gate, &call.agent, &call.headers).ok_or_else(Refusal::mcp_session)?;
        join_all(servers.iter().filter_map(|server| {
            let headers = session.headers(&call.headers, &server.name)?;
            let outgoing = Outgoing::judged(server, Method::DELETE, &call.target, headers, None).of(call.agent.clone());
            Some(async move {
                // A server that is gone has no session any more; one that keeps none says so, and neither matters here.
                drop(upstream::send(admit_message(), server, outgoing).await);
            })
        }))
        .await;
        Ok(answer::ended())
    }

    /// Begins a session with every server that is there.
    async fn initialize_all(
        &self,
        policy: &Arc<CompiledPolicy>,
        post: &Post,
        servers: &[Arc<Upstream>],
        id: &Id,
        params: Option<&value::Value<'_>>,
    ) -> Response<AnswerBody> {
        let mut message: Value = serde_json::from_slice(post.body()).unwrap_or_default();
        // A server that could ask the client something would not know that others ask as well.
        message["params"]["capabilities"] = json!({});
        let answers = join_all(servers.iter().map(|server| {
            let message = &message;
            async move { (server, ask(server, &post.request, &post.request.headers, message).await) }
        }))
        .await;
        let (mut session, mut instructions) = (Session::default(), Vec::new());
        for (server, answer) in answers {
            match answer {
                Ok(answer) if answer.message["result"].is_object() => {
                    let result = &answer.message["result"];
                    let id = answer.headers.get(SESSION).and_then(|id| id.to_str().ok()).map(str::to_owned);
                    let revision = result["protocolVersion"].as_str().unwrap_or_default().to_owned();
                    session.servers.insert(server.name.clone(), ServerSession { id, revision });
                    instructions.extend(result["instructions"].as_str().map(str::to_owned));
                }
                Ok(_) => tracing::warn!(upstream = %server.name, "the server refused to begin a session"),
                Err(reason) => tracing::warn!(upstream = %server.name, reason, "the server is not there"),
            }
        }
        if session.servers.is_empty() {
            return answer::rpc(id, -32603, "none of the servers behind this endpoint can be reached; try again later");
        }
        let wanted = match params.and_then(|params| params.member("protocolVersion")) {
            Some(value::Value::String(text)) => Revision::parse(text),
            Some(_) | None => None,
        };
        let agreed = wanted.filter(|revision| !revision.is_stateless()).unwrap_or(Revision::November2025);
        let mut result = json!({
            "protocolVersion": agreed.as_str(),
            "capabilities": { "tools": {} },
            "serverInfo": { "name": "holdpoint", "version": env!("CARGO_PKG_VERSION") },
        });
        if !instructions.is_empty() {
            result["instructions"] = instructions.join("\n\n").into();
        }
        if let Some(asked) = self.asked(policy, post, servers.first(), agreed).filter(Asked::offers_tasks) {
            asked.edit_capabilities(&mut result);
        }
        let mut response = answer::rpc_result(id, &result);
        match session.seal(&self.gate, &post.request.agent) {
            Some(sealed) => drop(response.headers_mut().insert(SESSION, sealed)),
            None => return answer::rpc(id, -32603, "the session could not be sealed"),
        }
        response
    }

    async fn discover_all(
        &self,
        policy: &Arc<CompiledPolicy>,
        post: &Post,
        servers: &[Arc<Upstream>],
        id: &Id,
        message: &value::Value<'_>,
    ) -> Response<AnswerBody> {
        let message = as_json(message);
        for server in servers {
            let answer = ask(server, &post.request, &post.request.headers, &message).await;
            let Ok(mut answer) = answer.map(|answer| answer.message) else { continue };
            let Some(mut result) = answer.get_mut("result").map(Value::take) else { continue };
            result["capabilities"] = json!({ "tools": {} });
            result["_meta"][META_SERVER] = json!({ "name": "holdpoint", "version": env!("CARGO_PKG_VERSION") });
            if let Some(asked) =
                self.asked(policy, post, servers.first(), Revision::July2026).filter(Asked::offers_tasks)
            {
                asked.edit_capabilities(&mut result);
            }
            return answer::rpc_result(id, &result);
        }
        answer::rpc(id, -32603, "none of the servers behind this endpoint can be reached; try again later")
    }

    /// Passes a notification on to every server of the session. None is waited for longer than it takes to send.
    async fn tell_all(
        &self,
        post: &Post,
        servers: &[Arc<Upstream>],
        era: &Era,
    ) -> Result<Response<AnswerBody>, Refused> {
        let message: Value = serde_json::from_slice(post.body()).unwrap_or_default();
        join_all(servers.iter().filter_map(|server| {
            let headers = era.headers(&post.request.headers, &server.name)?;
            let message = &message;
            Some(async move {
                if let Err(reason) = ask(server, &post.request, &headers, message).await {
                    tracing::debug!(upstream = %server.name, reason, "a notification did not arrive");
                }
            })
        }))
        .await;
        Ok(answer::accepted())
    }

    /// The tools of all servers, each behind its prefix.
    async fn list_all(
        &self,
        policy: &Arc<CompiledPolicy>,
        post: &Post,
        servers: &[Arc<Upstream>],
        era: &Era,
        (id, revision): (&Id, Revision),
    ) -> Response<AnswerBody> {
        let message: Value = serde_json::from_slice(post.body()).unwrap_or_default();
        let lists = join_all(servers.iter().map(|server| {
            let message = &message;
            async move {
                let headers = era.headers(&post.request.headers, &server.name).ok_or("it is not in this session")?;
                let mut result = pages(server, post, &headers, message).await?;
                if let Some(asked) = self.asked(policy, post, Some(server), revision) {
                    asked.remember(Page::WHOLE, &result).await.map_err(|problem| problem.detail().to_owned())?;
                    asked.edit_list(&mut result);
                }
                Ok::<_, String>((server, result))
            }
        }))
        .await;
        let (mut tools, mut some) = (Vec::new(), false);
        for list in lists {
            match list {
                Ok((server, mut result)) => {
                    some = true;
                    let own = result["tools"].as_array_mut().map(std::mem::take).unwrap_or_default();
                    tools.extend(own.into_iter().filter_map(|tool| behind_prefix(server, tool)));
                }
                Err(reason) => tracing::warn!(reason, "a server's tools are missing from the list"),
            }
        }
        if !some {
            return answer::rpc(id, -32603, "none of the servers behind this endpoint can be reached; try again later");
        }
        let mut result = json!({ "tools": tools });
        if revision.is_stateless() {
            result["resultType"] = "complete".into();
            result["cacheScope"] = "private".into();
            result["ttlMs"] = 30_000.into();
        }
        answer::rpc_result(id, &result)
    }

    /// Sends a call to the server whose prefix it has, judged as any other.
    #[expect(clippy::too_many_arguments, reason = "what a call is judged by, and what it is part of")]
    async fn call_one(
        &self,
        surface: &Surface,
        policy: &Arc<CompiledPolicy>,
        mut post: Post,
        servers: &[Arc<Upstream>],
        (era, message): (&Era, &value::Value<'_>),
        (id, params): (&Id, Option<&value::Value<'_>>),
        watch: Stopwatch,
    ) -> Result<Response<AnswerBody>, Refused> {
        let call = protocol::ToolCall::read(params)?;
        let names = |server: &&Arc<Upstream>| own_name(server, call.name).is_some();
        let Some(server) = servers.iter().find(names) else {
            return Ok(answer::unknown_tool(id, call.name));
        };
        let own = own_name(server, call.name).unwrap_or_default().to_owned();
        let Some(mut headers) = era.headers(&post.request.headers, &server.name) else {
            let gone = format!(
                "the server of the tool `{}` was not there when this session began; begin a new one",
                call.name
            );
            return Ok(answer::rpc(id, -32603, &gone));
        };
        if headers.contains_key(NAME) {
            protocol::check_given_names(&headers, TOOLS_CALL, call.name)?;
            headers.insert(NAME, HeaderValue::from_str(&own).expect("a tool's name is ASCII"));
        }
        let body = renamed(message, &own);
        post.request = HeldRequest { upstream: server.name.clone(), headers, body: Some(body.clone()), ..post.request };
        post.upstream = server.clone();
        let value = json::read(&body, &json::Limits::default()).map_err(Refusal::from)?;
        let mut response = self.mcp_call(surface, policy, post, id, value.member("params"), watch).await?;
        // The server's own session is between it and the gateway.
        response.headers_mut().remove(SESSION);
        Ok(response)
    }

    fn asked(
        &self,
        policy: &Arc<CompiledPolicy>,
        post: &Post,
        server: Option<&Arc<Upstream>>,
        revision: Revision,
    ) -> Option<Asked> {
        let upstream = server?.clone();
        let request = HeldRequest { body: None, upstream: upstream.name.clone(), ..post.request.clone() };
        Some(Asked { gate: self.gate.clone(), policy: policy.clone(), upstream, request, revision })
    }
}

/// Every page of a server's list, as one result.
async fn pages(server: &Upstream, post: &Post, headers: &HeaderMap, message: &Value) -> Result<Value, String> {
    let (mut message, mut tools) = (message.clone(), Vec::new());
    // Not by index, which would put `"params": null` where there was none.
    if let Some(params) = message.get_mut("params").and_then(Value::as_object_mut) {
        params.shift_remove("cursor");
    }
    for _ in 0..PAGES_MAX {
        let mut answer = ask(server, &post.request, headers, &message).await?.message;
        let Some(page) = answer["result"]["tools"].as_array_mut() else {
            return Err(format!("the server `{}` has no list of tools", server.name));
        };
        tools.append(page);
        match answer["result"]["nextCursor"].as_str() {
            Some(cursor) => {
                if !message["params"].is_object() {
                    message["params"] = json!({});
                }
                message["params"]["cursor"] = cursor.into();
            }
            None => return Ok(json!({ "tools": tools })),
        }
    }
    Err(format!("the server `{}` has more than {PAGES_MAX} pages of tools", server.name))
}

fn behind_prefix(server: &Upstream, mut tool: Value) -> Option<Value> {
    let name = format!("{}{}", prefix(server), tool["name"].as_str()?);
    tool["name"] = name.into();
    Some(tool)
}

fn prefix(server: &Upstream) -> &str {
    server.mcp.as_ref().map_or("", |settings| settings.tool_prefix.as_str())
}

/// The name by which the server knows a tool of this endpoint.
fn own_name<'n>(server: &Upstream, name: &'n str) -> Option<&'n str> {
    name.strip_prefix(prefix(server)).filter(|own| !own.is_empty())
}

/// The message with the tool's name as the server knows it; everything else as it was written.
fn renamed(message: &value::Value<'_>, own: &str) -> Bytes {
    let mut message = message.clone();
    if let value::Value::Object(members) = &mut message
        && let Some((_, value::Value::Object(params))) = members.iter_mut().find(|(key, _)| key == "params")
        && let Some((_, name)) = params.iter_mut().find(|(key, _)| key == "name")
    {
        *name = value::Value::String(own.to_owned().into());
    }
    let mut text = String::new();
    message.write_json(&mut text);
    text.into()
}

fn as_json(message: &value::Value<'_>) -> Value {
    let mut text = String::new();
    message.write_json(&mut text);
    serde_json::from_str(&text).unwrap_or_default()
}
