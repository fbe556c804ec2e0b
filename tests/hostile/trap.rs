//! A gateway in front of a spy, and what is sent through it.

use std::net::Shutdown;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::frames::{Http2, TlsClient};
use crate::spy::{Language, Sighting, Spy};
use crate::support::certificates::{Ca, with_tls};
use crate::support::gateway::Gateway;
use crate::support::home::Home;
use crate::support::http::{Answer, Wire};
use crate::support::people::token;
use crate::support::wait::{until, until_true};

/// A connection of the corpus and what must come of it; `tests/corpus/raw/README.md` says what each key means.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Connection {
    pub(super) file: String,
    pub(super) row: String,
    pub(super) answers: Vec<String>,
    #[serde(default)]
    pub(super) seen: Vec<String>,
    pub(super) counter: Option<String>,
    #[serde(default)]
    hidden: Vec<String>,
    #[serde(default)]
    shown: serde_json::Map<String, Value>,
    #[serde(default)]
    absent: Vec<String>,
    #[serde(default)]
    closed: bool,
    #[serde(default)]
    half_close: bool,
    /// The file of a call that was approved before, and whose caller had left.
    pub(super) after: Option<String>,
}

impl Connection {
    /// Whether it is frames over TLS.
    pub(super) fn is_http2(&self) -> bool {
        self.file.ends_with(".h2")
    }
}

/// A body of the corpus and what the strict reader says of it.
#[derive(Debug, Deserialize)]
pub(super) struct Body {
    pub(super) file: String,
    pub(super) row: String,
    pub(super) expect: String,
    /// What an MCP endpoint answers, where that does not follow from `expect`.
    pub(super) mcp: Option<String>,
}

pub(super) fn corpus(folder: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "corpus", folder].iter().collect()
}

/// A file of a corpus.
pub(super) fn read(folder: &str, file: &str) -> Vec<u8> {
    std::fs::read(corpus(folder).join(file)).unwrap_or_else(|error| panic!("{folder}/{file}: {error}"))
}

pub(super) fn index<T: for<'de> Deserialize<'de>>(folder: &str) -> Vec<T> {
    let text = std::fs::read_to_string(corpus(folder).join("index.json")).expect("the index is readable");
    serde_json::from_str(&text).expect("the index is JSON of this form")
}

/// What was said of calls that were understood: records in the trail, and verdicts in the counter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Judged {
    blocked: (usize, f64),
    /// An identical call whose caller has left is joined, not asked about again.
    held: (usize, f64),
}

/// A gateway in front of a spy.
pub(super) struct Trap {
    pub(super) gateway: Gateway,
    pub(super) spy: Spy,
    _home: Home,
    /// Sightings that have been looked at.
    looked_at: usize,
    probes: usize,
    /// A harmless target at the gateway, and what the spy sees of it.
    probe: (&'static str, &'static str),
    /// How to reach the proxy listener when it speaks TLS: then by HTTP/2.
    secure: Option<TlsClient>,
}

impl Trap {
    pub(super) fn new(language: Language) -> Self {
        Self::with(language, |home| home)
    }

    pub(super) fn with(language: Language, adapt: impl FnOnce(Home) -> Home) -> Self {
        let spy = Spy::start(language);
        let home = adapt(Home::new(spy.address));
        Self::before(spy, home, ("/tools/safe_status", "/safe_status"))
    }

    /// A gateway whose proxy listener speaks TLS.
    pub(super) fn over_tls(language: Language) -> Self {
        let spy = Spy::start(language);
        let mut home = Home::new(spy.address).key("limits: { pending_per_agent_max: 1000 }");
        Ca::new(&home).issue(&home, "server");
        let proxy = "proxy: { listen: \"127.0.0.1:0\", tls: { cert: server.pem, key: server.key } }";
        home.settings.whole = Some(with_tls(&home, proxy, "admin: { listen: \"127.0.0.1:0\" }"));
        let secure = Some(TlsClient::trusting(&home.path("ca.pem")));
        Self { secure, ..Self::before(spy, home, ("/tools/safe_status", "/safe_status")) }
    }

    /// A connection that speaks HTTP/2.
    pub(super) fn http2(&self) -> Http2 {
        self.secure.as_ref().expect("the gateway speaks TLS").connect(self.gateway.proxy)
    }

    /// A gateway that takes the spy for an MCP server.
    pub(super) fn mcp(language: Language, adapt: impl FnOnce(Home) -> Home) -> Self {
        let spy = Spy::start(language);
        let home = adapt(Home::mcp(spy.address));
        Self::before(spy, home, ("/mcp", "/mcp"))
    }

    fn before(spy: Spy, home: Home, probe: (&'static str, &'static str)) -> Self {
        let gateway = Gateway::start(&home);
        Self { gateway, spy, _home: home, looked_at: 0, probes: 0, probe, secure: None }
    }

    pub(super) fn rejected(&self, reason: &str) -> f64 {
        self.gateway.metric("holdpoint_rejected_requests_total", &[("reason", reason)])
    }

    /// Records of refused input in the trail, once all that was counted is there: a head that could not be read is answered by the
    /// listener before its record is written.
    pub(super) fn settled_refusals(&self) -> f64 {
        until("every refusal is in the trail", || {
            let recorded = self.refusals();
            let counted = self.gateway.metric("holdpoint_rejected_requests_total", &[]);
            (recorded.to_bits() == counted.to_bits()).then_some(recorded)
        })
    }

    /// What has been said so far of calls that were understood.
    pub(super) fn judged(&self) -> Judged {
        let events = self.gateway.reviewer("alice").events(None);
        let records = |kinds: &[&str]| events.iter().filter(|kind| kinds.contains(&kind.as_str())).count();
        let verdicts = |verdict| self.gateway.metric("holdpoint_policy_verdicts_total", &[("verdict", verdict)]);
        Judged {
            blocked: (records(&["call_blocked"]), verdicts("BLOCKED")),
            held: (records(&["approval_created", "caller_joined"]), verdicts("WAITING_FOR_APPROVAL")),
        }
    }

    /// Each call that was blocked, and each that was held, has one verdict in the counter and one record in the trail; what was refused
    /// before has none. `answers` says how many were answered with a code.
    pub(super) fn check_judged(&self, what: &str, before: Judged, answers: impl Fn(&str) -> usize) {
        let after = self.judged();
        for (code, before, after) in
            [("blocked", before.blocked, after.blocked), ("approval_pending", before.held, after.held)]
        {
            let wanted = answers(code);
            assert_eq!(after.0 - before.0, wanted, "{what}: records of calls answered with `{code}`");
            // A key that was used for another call is found out behind the verdict that it needs approval.
            let reused = if code == "approval_pending" { answers("idempotency_key_reused") } else { 0 };
            let counted = f64::from(u32::try_from(wanted + reused).expect("few"));
            assert_eq!(after.1 - before.1, counted, "{what}: verdicts of calls answered with `{code}`");
        }
    }

    pub(super) fn rejected_in_all(&self) -> f64 {
        self.gateway.metric("holdpoint_rejected_requests_total", &[])
    }

    /// Records of refused input in the trail, and those left out of it in a flood.
    pub(super) fn refusals(&self) -> f64 {
        let events = self.gateway.reviewer("alice").events(None);
        let written = events.iter().filter(|kind| *kind == "input_refused").count();
        f64::from(u32::try_from(written).expect("few")) + self.gateway.metric("holdpoint_audit_suppressed_total", &[])
    }

    /// What the spy has seen since the last look. A harmless call goes first, so that nothing is still on its way.
    pub(super) fn fresh_sightings(&mut self) -> Vec<Sighting> {
        self.probes += 1;
        let query = format!("?probe={}", self.probes);
        let target = format!("{}{query}", self.probe.1);
        let path = format!("{}{query}", self.probe.0);
        let said = match &self.secure {
            None => self.gateway.agent("bot").call("GET", &path).send().status.to_string(),
            Some(_) => self.http2().ask("GET", &path, &token("bot")).said(),
        };
        assert_eq!(said, "200", "the gateway no longer serves others");
        let mut fresh = until("the spy has written the probe down", || {
            let fresh = self.spy.sightings_after(self.looked_at);
            fresh.last().is_some_and(|last| last.target() == target).then_some(fresh)
        });
        self.looked_at += fresh.len();
        fresh.pop();
        fresh
    }

    /// What holds for every request that ever reaches an upstream here: nobody approves anything in these tests.
    pub(super) fn check_sighting(&self, what: &str, sighting: &Sighting) {
        let raw = String::from_utf8_lossy(&sighting.raw);
        assert!(!sighting.acts_on("delete_repo"), "{what}: the gated tool ran\n{raw}");
        assert!(
            !raw.contains(&token("bot")) && !raw.to_lowercase().contains("holdpoint-token"),
            "{what}: a credential\n{raw}"
        );
        let head = raw.split("\r\n\r\n").next().unwrap_or_default().to_lowercase();
        let count = |name: &str| head.lines().filter(|line| line.starts_with(name)).count();
        assert_eq!(count("host:"), 1, "{what}: {raw}");
        assert_eq!(sighting.header("host"), [self.spy.address.to_string()], "{what}");
        let (length, chunked) = (count("content-length:"), count("transfer-encoding:"));
        assert!(length + chunked <= 1, "{what}: two framings\n{raw}");
        assert!(
            !head.contains('\0') && head.lines().next().is_some_and(|line| line.ends_with(" http/1.1")),
            "{what}: {raw}"
        );
    }

    /// Approves a call that nobody waits for any more: one identical call may run.
    pub(super) fn grant(&self, id: &str) {
        let alice = self.gateway.reviewer("alice");
        until_true("the caller has left", || alice.approval(id)["caller"]["waiting"] == 0);
        alice.approve(id);
    }

    /// The call that `id` approved has been sent, now and once; nothing else was.
    pub(super) fn check_release(&mut self, what: &str, id: &str) {
        let sightings = self.fresh_sightings();
        let approvals: Vec<Vec<&str>> =
            sightings.iter().map(|sighting| sighting.header("holdpoint-approval")).collect();
        assert_eq!(approvals, [[id]], "{what}: what the upstream saw of the approved call");
        assert!(sightings[0].acts_on("delete_repo"), "{what}: the approved call is the gated one");
    }

    pub(super) fn replay(&mut self, case: &Connection) {
        let what = format!("{} before {:?}", case.file, self.spy.language);
        let Some(approved) = &case.after else {
            self.replay_alone(case);
            return;
        };
        let raw = read("raw", approved);
        let send = |trap: &Self| {
            let mut wire = Wire::connect(trap.gateway.proxy);
            wire.send(&raw);
            wire.answer().unwrap_or_else(|error| panic!("{what}: no answer to the approved call: {error}"))
        };
        let granted = send(self).expect(503, "approval_pending").approval();
        self.grant(&granted);
        for answer in self.replay_alone(case) {
            // Only the answer that a key was used for another call names what it was used for.
            let named = answer.header("holdpoint-approval").filter(|_| answer.code() != "idempotency_key_reused");
            assert_ne!(named, Some(granted.as_str()), "{what}: rides the approval");
        }
        assert_eq!(send(self).expect(200, "").approval(), granted, "{what}: the approved call still runs");
        self.check_release(&what, &granted);
    }

    fn replay_alone(&mut self, case: &Connection) -> Vec<Answer> {
        let what = format!("{} before {:?}", case.file, self.spy.language);
        let raw = read("raw", &case.file);
        let mut answers = Vec::new();
        let before = self.counted(case);
        let mut wire = Wire::connect(self.gateway.proxy);
        wire.send(&raw);
        if case.half_close {
            drop(wire.closer().shutdown(Shutdown::Write));
        }
        for (place, expected) in case.answers.iter().enumerate() {
            let answer = wire.answer().unwrap_or_else(|error| panic!("{what}: no answer {place}: {error}"));
            let (status, code) = expected.split_once(' ').unwrap_or((expected, ""));
            assert_eq!(answer.status.to_string(), status, "{what}: answer {place}: {}", answer.text());
            if !code.is_empty() {
                assert_eq!(answer.code(), code, "{what}: answer {place}: {}", answer.text());
            }
            answers.push(answer);
        }
        if case.closed {
            assert!(wire.is_closed(), "{what}: the connection must end");
        }
        // What could not be read is told of when the connection is over.
        drop(wire);
        self.check_traces(&what, case, before);
        answers
    }

    /// What the counters and the trail say before a case.
    pub(super) fn counted(&self, case: &Connection) -> (f64, f64, Judged) {
        let (counted, recorded) =
            case.counter.as_deref().map_or((0.0, 0.0), |reason| (self.rejected(reason), self.settled_refusals()));
        (counted, recorded, self.judged())
    }

    /// What a case has left behind: in the counters, in the trail and at the upstream.
    pub(super) fn check_traces(
        &mut self,
        what: &str,
        case: &Connection,
        (counted, recorded, judged): (f64, f64, Judged),
    ) {
        self.check_judged(what, judged, |code| case.answers.iter().filter(|answer| answer.ends_with(code)).count());
        if let Some(reason) = case.counter.as_deref() {
            // A head that could not be read is counted once it is answered.
            until_true(&format!("{what}: the counter `{reason}`"), || self.rejected(reason) - counted >= 1.0);
            assert_eq!(self.rejected(reason) - counted, 1.0, "{what}: the counter `{reason}`");
            assert_eq!(self.settled_refusals() - recorded, 1.0, "{what}: one record in the trail");
        }
        let sightings = self.fresh_sightings();
        let targets: Vec<&str> = sightings.iter().map(Sighting::target).collect();
        assert_eq!(targets, case.seen, "{what}: what the upstream saw");
        for sighting in &sightings {
            self.check_sighting(what, sighting);
            for name in &case.hidden {
                assert_eq!(sighting.header(name), Vec::<&str>::new(), "{what}: `{name}` must not pass");
            }
            for (name, value) in &case.shown {
                assert_eq!(json!(sighting.header(name)), json!([value]), "{what}: `{name}`");
            }
            let raw = String::from_utf8_lossy(&sighting.raw).into_owned();
            for text in &case.absent {
                assert!(!raw.contains(text.as_str()), "{what}: `{text}` must not pass\n{raw}");
            }
        }
    }

    /// Sends one body of the corpus as the call that is judged by its body.
    pub(super) fn replay_body(&mut self, case: &Body) {
        let what = format!("{} before {:?}", case.file, self.spy.language);
        let body = read("hostile", &case.file);
        let reason = match case.expect.as_str() {
            "read" => None,
            // No bytes at all are no document to refuse: the call has no body, and a rule that reads one cannot be evaluated.
            _ if body.is_empty() => None,
            reason => Some(reason),
        };
        let before = (reason.map(|reason| self.rejected(reason)), self.rejected_in_all(), self.settled_refusals());
        let judged = self.judged();
        let call = self.gateway.agent("bot").call("POST", "/tools/call").header("content-type", "application/json");
        let answer = call.header("prefer", "wait=0").body(body).send();
        let sightings = self.fresh_sightings();
        for sighting in &sightings {
            self.check_sighting(&what, sighting);
        }
        let code = if answer.status == 200 { String::new() } else { answer.code() };
        self.check_judged(&what, judged, |one| usize::from(code == one));
        let refused = f64::from(u8::from(reason.is_some() || answer.status == 400));
        assert_eq!(self.rejected_in_all() - before.1, refused, "{what}: requests counted as refused");
        assert_eq!(self.settled_refusals() - before.2, refused, "{what}: records of refused input");
        match (reason, before.0) {
            (Some(reason), Some(counted)) => {
                let status = if reason == "too_large" { 413 } else { 400 };
                assert_eq!((answer.status, answer.code().as_str()), (status, reason), "{what}: {}", answer.text());
                assert_eq!(self.rejected(reason) - counted, 1.0, "{what}: the counter `{reason}`");
                assert_eq!(sightings.len(), 0, "{what}");
            }
            // Well-formed: refused for what it says (two keys that may be taken for each other), blocked, held, or harmless.
            _ => match answer.status {
                200 => assert_eq!(sightings.len(), 1, "{what}"),
                400 | 403 | 503 => assert_eq!(sightings.len(), 0, "{what}"),
                status => panic!("{what}: {status} {}", answer.text()),
            },
        }
    }
}
