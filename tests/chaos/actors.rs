//! Clients and reviewers. Each writes down what it is about to send before it sends, and what came back once it is whole.

use std::io;
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::history::{History, Identity, State, View, What, Who, digest_of};
use crate::mcp::{ENDPOINT, ENDPOINT_WITHOUT_WAIT, TARGET, message};
use crate::over_mcp::as_plain;
use crate::spy::Manner;
use crate::support::gateway::Gateway;
use crate::support::http::{Answer, Wire};
use crate::support::people::{Call as Request, token};
use crate::support::wait::until_within;
use crate::world::{SOON, TOOLS, list};

/// A call that a client may send, once or again.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// Stands for the call everywhere; no two have the same.
    pub(crate) name: String,
    /// Who calls.
    pub(crate) agent: &'static str,
    /// Which tool.
    pub(crate) tool: &'static str,
    /// What the upstream does with it.
    pub(crate) manner: Manner,
    /// Whether it goes over MCP.
    pub(crate) mcp: bool,
}

impl Call {
    /// A call of `bot` that the upstream answers.
    pub(crate) fn new(tool: &'static str, name: impl Into<String>) -> Self {
        Self { name: name.into(), agent: "bot", tool, manner: Manner::Answer, mcp: false }
    }

    /// The same over MCP.
    pub(crate) fn over_mcp(tool: &'static str, name: &str) -> Self {
        Self { mcp: true, ..Self::new(tool, name) }
    }

    /// One that the upstream treats otherwise.
    pub(crate) fn manner(mut self, manner: Manner) -> Self {
        self.manner = manner;
        self
    }

    /// Of another agent.
    pub(crate) fn of(mut self, agent: &'static str) -> Self {
        self.agent = agent;
        self
    }

    /// The same call again, as a history tells it.
    ///
    /// # Panics
    /// For a call that these tests never send.
    pub(crate) fn again(call: &Identity, body: &str) -> Self {
        let said: Value = serde_json::from_str(body).expect("a body is JSON");
        let name = said["call"].as_str().expect("a body names its call").to_owned();
        let known = |text: &str, of: &[&'static str]| *of.iter().find(|known| **known == text).expect("a known name");
        let manner = match said["manner"].as_str().unwrap_or_default().split_once(' ') {
            Some((_, millis)) => Manner::After(millis.parse().expect("a number")),
            None if said["manner"] == "empty" => Manner::Empty,
            None if said["manner"] == "close" => Manner::Close,
            None if said["manner"] == "wait" => Manner::Wait,
            None if said["manner"] == "never" => Manner::Never,
            None => Manner::Answer,
        };
        let (agent, tool) = (known(&call.agent, &["bot", "other-bot"]), known(&call.tool, TOOLS));
        let again = Self { name, agent, tool, manner, mcp: call.target == TARGET };
        assert_eq!(again.identity(), *call, "a retry is the same call");
        again
    }

    fn body(&self) -> String {
        json!({ "call": self.name, "manner": self.manner.text() }).to_string()
    }

    fn identity(&self) -> Identity {
        Identity {
            agent: self.agent.to_owned(),
            tool: self.tool.to_owned(),
            method: "POST".to_owned(),
            target: if self.mcp { TARGET.to_owned() } else { format!("/{}/{}", self.tool, self.name) },
            body_sha256: digest_of(&self.body()),
        }
    }
}

/// A connection that is kept, and made anew when it broke.
#[derive(Debug)]
struct Kept {
    address: SocketAddr,
    wire: Option<Wire>,
}

impl Kept {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let wire = match self.wire.take() {
            Some(wire) => wire,
            None => Wire::try_connect(self.address)?,
        };
        self.wire.insert(wire).send(bytes);
        Ok(())
    }

    fn receive(&mut self) -> io::Result<Answer> {
        let mut wire = self.wire.take().ok_or(io::ErrorKind::NotConnected)?;
        let answer = wire.answer()?;
        if answer.header("connection") != Some("close") {
            self.wire = Some(wire);
        }
        Ok(answer)
    }

    fn exchange(&mut self, request: &Request) -> io::Result<Answer> {
        self.send(&request.bytes())?;
        self.receive()
    }
}

/// An agent's program.
#[derive(Debug)]
pub(crate) struct Client {
    kept: Kept,
    history: History,
}

/// A call under way, on a connection of its own.
#[derive(Debug)]
pub(crate) struct Waiting {
    client: Client,
    call: Call,
    sent: u64,
}

impl Client {
    /// At this proxy listener.
    pub(crate) fn new(proxy: SocketAddr, history: &History) -> Self {
        Self { kept: Kept { address: proxy, wire: None }, history: history.clone() }
    }

    fn write(&self, what: What) -> u64 {
        self.history.write(Who::Client, what)
    }

    fn send(&mut self, call: &Call, prefer: Option<&str>) -> io::Result<u64> {
        let body = call.body();
        let request = if call.mcp { self.message(call, &body, prefer) } else { self.request(call, &body, prefer) };
        let (name, prefer) = (call.name.clone(), prefer.map(str::to_owned));
        let key = (!call.mcp).then(|| name.clone());
        let sent = self.write(What::CallSent { key, name, call: call.identity(), body, prefer });
        match self.kept.send(&request.bytes()) {
            Ok(()) => Ok(sent),
            Err(error) => {
                self.write(What::CallLost { name: call.name.clone(), sent });
                Err(error)
            }
        }
    }

    fn request(&self, call: &Call, body: &str, prefer: Option<&str>) -> Request {
        let request = Request::new(self.kept.address, "POST", &format!("/tools/{}/{}", call.tool, call.name))
            .bearer(&token(call.agent))
            .header("content-type", "application/json")
            .header("idempotency-key", &call.name)
            .body(body);
        match prefer {
            Some(prefer) => request.header("prefer", prefer),
            None => request,
        }
    }

    fn message(&self, call: &Call, arguments: &str, prefer: Option<&str>) -> Request {
        // Whoever waits for more than a second waits on an event stream.
        let (target, accepted) = match prefer {
            Some(_) => (ENDPOINT_WITHOUT_WAIT, "application/json"),
            None => (ENDPOINT, "application/json, text/event-stream"),
        };
        Request::new(self.kept.address, "POST", target)
            .bearer(&token(call.agent))
            .header("content-type", "application/json")
            .header("accept", accepted)
            .header("mcp-protocol-version", "2025-11-25")
            .body(message(self.history.mark(), call.tool, arguments))
    }

    fn receive(&mut self, call: &Call, sent: u64) -> io::Result<Answer> {
        let name = call.name.clone();
        let answer = match self.kept.receive() {
            Ok(answer) if call.mcp => as_plain(answer),
            Ok(answer) => answer,
            Err(error) => {
                self.write(What::CallLost { name, sent });
                return Err(error);
            }
        };
        self.write(What::CallAnswered {
            name,
            sent,
            status: answer.status,
            code: answer.code(),
            source: answer.header("holdpoint-source").unwrap_or("upstream").to_owned(),
            approval: answer.header("holdpoint-approval").map(str::to_owned),
            // An answer without a body names nothing: it came on the connection of its call.
            echo: answer.json()["call"].as_str().or((answer.status == 204).then_some(&call.name)).map(str::to_owned),
        });
        Ok(answer)
    }

    /// Sends a call and waits for the answer.
    pub(crate) fn call(&mut self, call: &Call, prefer: Option<&str>) -> io::Result<Answer> {
        let sent = self.send(call, prefer)?;
        self.receive(call, sent)
    }

    /// Sends a call on a connection of its own.
    pub(crate) fn begin(&self, call: &Call, prefer: Option<&str>) -> io::Result<Waiting> {
        let mut client = Self::new(self.kept.address, &self.history);
        let sent = client.send(call, prefer)?;
        Ok(Waiting { client, call: call.clone(), sent })
    }

    /// What the agents' surface shows of an approval.
    pub(crate) fn look(&mut self, agent: &str, id: &str) -> io::Result<State> {
        let asked = self.history.mark();
        let request = Request::new(self.kept.address, "GET", &format!("/_holdpoint/v1/approvals/{id}"));
        let answer = self.kept.exchange(&request.bearer(&token(agent)))?;
        let state = State::of(&answer.json()).unwrap_or_else(|| panic!("{id} is not shown: {answer:?}"));
        self.write(What::Seen { approval: id.to_owned(), asked, state: state.clone() });
        Ok(state)
    }

    /// The kept answer of a detached call.
    pub(crate) fn result(&mut self, agent: &str, id: &str) -> io::Result<Answer> {
        let request = Request::new(self.kept.address, "GET", &format!("/_holdpoint/v1/approvals/{id}/result"));
        let answer = self.kept.exchange(&request.bearer(&token(agent)))?;
        if answer.code().is_empty() {
            let echo = answer.json()["call"].as_str().map(str::to_owned);
            self.write(What::Replayed { approval: id.to_owned(), status: answer.status, echo });
        }
        Ok(answer)
    }

    /// Takes an approval back.
    pub(crate) fn withdraw(&mut self, agent: &str, id: &str) -> io::Result<Answer> {
        let request = Request::new(self.kept.address, "POST", &format!("/_holdpoint/v1/approvals/{id}/cancel"));
        let word = Word { approval: id, word: "withdrawn", by: agent };
        word.say(&mut self.kept, &self.history, Who::Client, &request.bearer(&token(agent)))
    }
}

impl Waiting {
    /// The call.
    pub(crate) fn name(&self) -> &str {
        &self.call.name
    }

    /// Waits until something of the answer has come.
    pub(crate) fn until_begun(&self) -> io::Result<()> {
        let wire = self.client.kept.wire.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        match wire.closer().peek(&mut [0])? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Waits for the answer.
    pub(crate) fn finish(mut self) -> io::Result<Answer> {
        self.client.receive(&self.call, self.sent)
    }

    /// Hangs up.
    pub(crate) fn hang_up(self) {
        self.client.write(What::CallLost { name: self.call.name, sent: self.sent });
    }
}

/// Something that is said about an approval.
struct Word<'a> {
    approval: &'a str,
    word: &'a str,
    by: &'a str,
}

impl Word<'_> {
    fn say(&self, kept: &mut Kept, history: &History, who: Who, request: &Request) -> io::Result<Answer> {
        let (approval, word, by) = (self.approval.to_owned(), self.word.to_owned(), self.by.to_owned());
        let sent =
            history.write(who, What::WordSent { approval: approval.clone(), word: word.clone(), by: by.clone() });
        match kept.exchange(request) {
            Ok(answer) => {
                let (status, code, state) = (answer.status, answer.code(), State::of(&answer.json()));
                history.write(who, What::WordAnswered { approval, word, by, sent, status, code, state });
                Ok(answer)
            }
            Err(error) => {
                history.write(who, What::WordLost { approval, word, by, sent });
                Err(error)
            }
        }
    }
}

/// Somebody who decides.
#[derive(Debug)]
pub(crate) struct Reviewer {
    kept: Kept,
    history: History,
    id: &'static str,
}

/// The reviewer of this id at this gateway.
pub(crate) fn reviewer_of(gateway: &Gateway, id: &'static str, history: &History) -> Reviewer {
    Reviewer::new(gateway.admin, id, history)
}

impl Reviewer {
    /// At this admin listener.
    pub(crate) fn new(admin: SocketAddr, id: &'static str, history: &History) -> Self {
        Self { kept: Kept { address: admin, wire: None }, history: history.clone(), id }
    }

    fn request(&self, method: &str, target: &str) -> Request {
        Request::new(self.kept.address, method, target).bearer(&token(self.id))
    }

    /// Approves or rejects.
    pub(crate) fn decide(&mut self, approval: &str, word: &str) -> io::Result<Answer> {
        let request = self.request("POST", &format!("/v1/approvals/{approval}")).json(&json!({ "decision": word }));
        let word = Word { approval, word, by: self.id };
        word.say(&mut self.kept, &self.history, Who::Reviewer, &request)
    }

    /// Settles an unknown outcome.
    pub(crate) fn resolve(&mut self, approval: &str, word: &str) -> io::Result<Answer> {
        let body = json!({ "outcome": word, "note": "looked at the upstream" });
        let request = self.request("POST", &format!("/v1/approvals/{approval}/resolve")).json(&body);
        let word = Word { approval, word, by: self.id };
        word.say(&mut self.kept, &self.history, Who::Reviewer, &request)
    }

    /// One page of what `query` selects; everything on it was seen.
    pub(crate) fn page(&mut self, query: &str) -> io::Result<Vec<View>> {
        let asked = self.history.mark();
        let answer = self.kept.exchange(&self.request("GET", &format!("/v1/approvals?{query}")))?.expect(200, "");
        let views: Vec<View> = list(&answer.json()["approvals"]).iter().filter_map(View::of).collect();
        for view in &views {
            let what = What::Seen { approval: view.id.clone(), asked, state: view.state.clone() };
            self.history.write(Who::Reviewer, what);
        }
        Ok(views)
    }

    /// The pending approval of the call of this name, once it is there.
    pub(crate) fn parked(&mut self, name: &str) -> io::Result<String> {
        until_within(SOON, &format!("{name} is parked"), || match self.page(&format!("status=pending&q={name}")) {
            Ok(views) => views.into_iter().next().map(|view| Ok(view.id)),
            Err(error) => Some(Err(error)),
        })
    }

    /// How many are pending.
    pub(crate) fn pending(&mut self) -> io::Result<u64> {
        let answer = self.kept.exchange(&self.request("GET", "/v1/approvals/stats"))?.expect(200, "");
        Ok(answer.json()["pending"].as_u64().expect("a number"))
    }

    /// Every approval there is, as shown.
    ///
    /// # Panics
    /// When the gateway is gone.
    pub(crate) fn all(&mut self) -> Vec<Value> {
        let (mut all, mut cursor) = (Vec::new(), String::new());
        loop {
            let request = self.request("GET", &format!("/v1/approvals?sort=oldest&limit=200{cursor}"));
            let page = self.kept.exchange(&request).expect("the list of approvals").expect(200, "").json();
            all.extend_from_slice(list(&page["approvals"]));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return all,
            }
        }
    }

    /// The records of the trail behind the first `after`.
    ///
    /// # Panics
    /// When the gateway is gone.
    pub(crate) fn trail(&mut self, after: usize) -> Vec<String> {
        let request = self.request("GET", &format!("/v1/audit/export?after={after}"));
        let text = self.kept.exchange(&request).expect("the trail").expect(200, "").text();
        text.lines().map(str::to_owned).collect()
    }
}
