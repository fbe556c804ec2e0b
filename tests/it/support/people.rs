//! Who talks to the gateway: agents on the proxy listener, reviewers on the admin listener.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread::JoinHandle;

use serde_json::{Value, json};

use super::http::{Answer, Wire, request};

/// The token of whoever has this id.
pub(crate) fn token(id: &str) -> String {
    format!("rig-token-of-{id}")
}

/// A request in the making.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    address: SocketAddr,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

impl Call {
    /// A request without a credential.
    pub(crate) fn new(address: SocketAddr, method: &str, target: &str) -> Self {
        Self { address, method: method.to_owned(), target: target.to_owned(), headers: Vec::new(), body: None }
    }

    /// Adds a header.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a bearer token.
    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// Adds a JSON body.
    pub(crate) fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    /// Adds a body as it is.
    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Its bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        request(&self.method, &self.target, &self.headers, self.body.as_deref())
    }

    /// Sends it on a connection of its own and waits for the answer.
    ///
    /// # Panics
    /// When there is none.
    pub(crate) fn send(&self) -> Answer {
        self.try_send().unwrap_or_else(|error| panic!("no answer to {} {}: {error}", self.method, self.target))
    }

    /// As [`Call::send`], for a gateway that may be gone.
    pub(crate) fn try_send(&self) -> io::Result<Answer> {
        let mut wire = Wire::try_connect(self.address)?;
        wire.send(&self.bytes());
        wire.answer_to(self.method == "HEAD")
    }

    /// Sends it and waits for the answer in the background.
    pub(crate) fn start(&self) -> Waiting {
        let mut wire = Wire::connect(self.address);
        let connection = wire.closer();
        wire.send(&self.bytes());
        let answer = std::thread::spawn(move || wire.answer());
        Waiting { connection, answer }
    }
}

/// A caller whose request is under way.
#[derive(Debug)]
pub(crate) struct Waiting {
    connection: TcpStream,
    answer: JoinHandle<io::Result<Answer>>,
}

impl Waiting {
    /// Whether the answer is there.
    pub(crate) fn is_answered(&self) -> bool {
        self.answer.is_finished()
    }

    /// Waits for the answer.
    ///
    /// # Panics
    /// When there is none.
    pub(crate) fn answer(self) -> Answer {
        self.outcome().unwrap_or_else(|error| panic!("the waiting call got no answer: {error}"))
    }

    /// Waits for the answer or the end of the connection.
    pub(crate) fn outcome(self) -> io::Result<Answer> {
        self.answer.join().expect("reading an answer does not panic")
    }

    /// Hangs up without waiting.
    pub(crate) fn hang_up(self) {
        drop(self.connection.shutdown(Shutdown::Both));
        drop(self.answer.join());
    }
}

/// An agent.
#[derive(Debug, Clone)]
pub(crate) struct Agent {
    /// The proxy listener.
    pub(crate) proxy: SocketAddr,
    /// Its id in the configuration.
    pub(crate) id: String,
}

impl Agent {
    /// A request with its credential.
    pub(crate) fn call(&self, method: &str, target: &str) -> Call {
        Call::new(self.proxy, method, target).bearer(&token(&self.id))
    }

    /// A POST of JSON.
    pub(crate) fn post(&self, target: &str, body: &Value) -> Call {
        self.call("POST", target).json(body)
    }

    /// What the agents' API shows of an approval of its own.
    pub(crate) fn approval(&self, id: &str) -> Answer {
        self.call("GET", &format!("/_holdpoint/v1/approvals/{id}")).send()
    }
}

/// A reviewer.
#[derive(Debug, Clone)]
pub(crate) struct Reviewer {
    /// The admin listener.
    pub(crate) admin: SocketAddr,
    /// Its id in the configuration.
    pub(crate) id: String,
}

impl Reviewer {
    /// A request with its credential.
    pub(crate) fn call(&self, method: &str, target: &str) -> Call {
        Call::new(self.admin, method, target).bearer(&token(&self.id))
    }

    /// Decides; the answer as it comes.
    pub(crate) fn try_decide(&self, id: &str, decision: &str, reason: Option<&str>) -> Answer {
        let mut body = json!({ "decision": decision });
        if let Some(reason) = reason {
            body["reason"] = reason.into();
        }
        self.call("POST", &format!("/v1/approvals/{id}")).json(&body).send()
    }

    /// Approves.
    pub(crate) fn approve(&self, id: &str) {
        self.try_decide(id, "approved", None).expect(200, "");
    }

    /// Rejects.
    pub(crate) fn reject(&self, id: &str, reason: &str) {
        self.try_decide(id, "rejected", Some(reason)).expect(200, "");
    }

    /// An approval.
    pub(crate) fn approval(&self, id: &str) -> Value {
        self.call("GET", &format!("/v1/approvals/{id}")).send().expect(200, "").json()
    }

    /// The approvals that `query` selects, newest page only.
    pub(crate) fn approvals(&self, query: &str) -> Vec<Value> {
        let answer = self.call("GET", &format!("/v1/approvals?{query}")).send().expect(200, "");
        answer.json()["approvals"].as_array().expect("a list of approvals").clone()
    }

    /// The pending approvals.
    pub(crate) fn pending(&self) -> Vec<Value> {
        self.approvals("status=pending")
    }

    /// Every record of the trail as exported: one JSON document a line.
    pub(crate) fn trail(&self) -> Vec<Value> {
        let answer = self.call("GET", "/v1/audit/export").send().expect(200, "");
        answer.text().lines().map(|line| serde_json::from_str(line).expect("a record is JSON")).collect()
    }

    /// The kinds of the trail's events in order, of one approval when `id` is given.
    pub(crate) fn events(&self, id: Option<&str>) -> Vec<String> {
        let of = |record: &Value| id.is_none_or(|id| record["event"]["approval"] == id);
        let kind = |record: &Value| record["event"]["kind"].as_str().expect("an event has a kind").to_owned();
        self.trail().iter().filter(|record| of(record)).map(kind).collect()
    }
}
