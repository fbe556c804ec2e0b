//! Attempts to get a gated call through, as raw bytes over real sockets, against upstreams in two languages.
//!
//! `tests/corpus/raw` holds whole connections, `tests/corpus/hostile` request bodies; adding a file and its line in the index adds
//! a case. Each row of the table of hostile inputs is one test.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::gateway::Gateway;
use crate::support::home::Home;
use crate::support::http::Wire;
use crate::support::people::token;
use crate::support::spy::{Language, Sighting, Spy};
use crate::support::wait::until;

/// A connection of the corpus and what must come of it; `tests/corpus/raw/README.md` says what each key means.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Connection {
    file: String,
    row: String,
    answers: Vec<String>,
    #[serde(default)]
    seen: Vec<String>,
    counter: Option<String>,
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
}

/// A body of the corpus and what the strict reader says of it.
#[derive(Debug, Deserialize)]
struct Body {
    file: String,
    row: String,
    expect: String,
}

fn corpus(folder: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "corpus", folder].iter().collect()
}

fn index<T: for<'de> Deserialize<'de>>(folder: &str) -> Vec<T> {
    let text = std::fs::read_to_string(corpus(folder).join("index.json")).expect("the index is readable");
    serde_json::from_str(&text).expect("the index is JSON of this form")
}

/// A gateway in front of a spy.
struct Trap {
    gateway: Gateway,
    spy: Spy,
    _home: Home,
    /// Sightings that have been looked at.
    looked_at: usize,
    probes: usize,
}

impl Trap {
    fn new(language: Language) -> Self {
        Self::with(language, |home| home)
    }

    fn with(language: Language, adapt: impl FnOnce(Home) -> Home) -> Self {
        let spy = Spy::start(language);
        let home = adapt(Home::new(spy.address));
        let gateway = Gateway::start(&home);
        Self { gateway, spy, _home: home, looked_at: 0, probes: 0 }
    }

    fn rejected(&self, reason: &str) -> f64 {
        self.gateway.metric("holdpoint_rejected_requests_total", &[("reason", reason)])
    }

    /// Records of refused input in the trail, and those left out of it in a flood.
    fn refusals(&self) -> f64 {
        let events = self.gateway.reviewer("alice").events(None);
        let written = events.iter().filter(|kind| *kind == "input_refused").count();
        f64::from(u32::try_from(written).expect("few")) + self.gateway.metric("holdpoint_audit_suppressed_total", &[])
    }

    /// What the spy has seen since the last look. A harmless call goes first, so that nothing is still on its way.
    fn fresh_sightings(&mut self) -> Vec<Sighting> {
        self.probes += 1;
        let target = format!("/safe_status?probe={}", self.probes);
        let probe = self.gateway.agent("bot").call("GET", &format!("/tools{target}")).send();
        assert_eq!(probe.status, 200, "the gateway no longer serves others: {}", probe.text());
        let all = until("the spy has written the probe down", || {
            let all = self.spy.sightings();
            all.last().is_some_and(|last| last.target() == target).then_some(all)
        });
        let fresh = all[self.looked_at..all.len() - 1].to_vec();
        self.looked_at = all.len();
        fresh
    }

    /// What holds for every request that ever reaches an upstream here: nobody approves anything in these tests.
    fn check_sighting(&self, what: &str, sighting: &Sighting) {
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

    fn replay(&mut self, case: &Connection) {
        let what = format!("{} before {:?}", case.file, self.spy.language);
        let raw = std::fs::read(corpus("raw").join(&case.file)).unwrap_or_else(|error| panic!("{what}: {error}"));
        let before = case.counter.as_deref().map(|reason| (self.rejected(reason), self.refusals()));
        let mut wire = Wire::connect(self.gateway.proxy);
        wire.send(&raw);
        if case.half_close {
            wire.finish_sending();
        }
        for (place, expected) in case.answers.iter().enumerate() {
            let answer = wire.answer().unwrap_or_else(|error| panic!("{what}: no answer {place}: {error}"));
            let (status, code) = expected.split_once(' ').unwrap_or((expected, ""));
            assert_eq!(answer.status.to_string(), status, "{what}: answer {place}: {}", answer.text());
            if !code.is_empty() {
                assert_eq!(answer.code(), code, "{what}: answer {place}: {}", answer.text());
            }
        }
        if case.closed {
            assert!(wire.is_closed(), "{what}: the connection must end");
        }
        if let (Some(reason), Some((counted, recorded))) = (case.counter.as_deref(), before) {
            assert_eq!(self.rejected(reason) - counted, 1.0, "{what}: the counter `{reason}`");
            assert_eq!(self.refusals() - recorded, 1.0, "{what}: one record in the trail");
        }
        let sightings = self.fresh_sightings();
        let targets: Vec<&str> = sightings.iter().map(Sighting::target).collect();
        assert_eq!(targets, case.seen, "{what}: what the upstream saw");
        for sighting in &sightings {
            self.check_sighting(&what, sighting);
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
    fn replay_body(&mut self, case: &Body) {
        let what = format!("{} before {:?}", case.file, self.spy.language);
        let body = std::fs::read(corpus("hostile").join(&case.file)).unwrap_or_else(|error| panic!("{what}: {error}"));
        let reason = match case.expect.as_str() {
            "read" => None,
            // No bytes at all are no document to refuse: the call has no body, and a rule that reads one cannot be evaluated.
            _ if body.is_empty() => None,
            reason => Some(reason),
        };
        let before = reason.map(|reason| (self.rejected(reason), self.refusals()));
        let call = self.gateway.agent("bot").call("POST", "/tools/call").header("content-type", "application/json");
        let answer = call.header("prefer", "wait=0").body(body).send();
        let sightings = self.fresh_sightings();
        for sighting in &sightings {
            self.check_sighting(&what, sighting);
        }
        match (reason, before) {
            (Some(reason), Some((counted, recorded))) => {
                let status = if reason == "too_large" { 413 } else { 400 };
                assert_eq!((answer.status, answer.code().as_str()), (status, reason), "{what}: {}", answer.text());
                assert_eq!(self.rejected(reason) - counted, 1.0, "{what}: the counter `{reason}`");
                assert_eq!(self.refusals() - recorded, 1.0, "{what}: one record in the trail");
                assert_eq!(sightings.len(), 0, "{what}");
            }
            // Well-formed: refused by what it says, held, or harmless.
            _ => match answer.status {
                200 => assert_eq!(sightings.len(), 1, "{what}"),
                400 | 403 | 503 => assert_eq!(sightings.len(), 0, "{what}"),
                status => panic!("{what}: {status} {}", answer.text()),
            },
        }
    }
}

/// Replays everything that the corpora hold for a row, before both spies.
fn replay(row: &str) {
    let connections: Vec<Connection> = index("raw");
    let bodies: Vec<Body> = index("hostile");
    let mut cases = 0;
    for language in Language::ALL {
        let mut trap = Trap::with(language, |home| home.key("limits: { pending_per_agent_max: 1000 }"));
        for case in connections.iter().filter(|case| case.row == row) {
            trap.replay(case);
            cases += 1;
        }
        for case in bodies.iter().filter(|case| case.row == row) {
            trap.replay_body(case);
            cases += 1;
        }
        assert_eq!(trap.gateway.metric("holdpoint_calls_abandoned_total", &[]), 0.0);
    }
    assert!(cases > 0, "no case for {row}");
}

/// The rows that have a test below.
const ROWS: &str = "H1 H2 H3 H4 H5 H6 H7 H8 H9 H10 H11 H12 H13 H14 H15 H16 H17 H18 H19 H20 H21 H22 H24";

#[test]
fn every_file_of_the_corpus_is_in_its_index_and_every_row_has_a_test() {
    let connections: Vec<Connection> = index("raw");
    let bodies: Vec<Body> = index("hostile");
    let rows = connections.iter().map(|case| &case.row).chain(bodies.iter().map(|case| &case.row));
    for row in rows {
        assert!(ROWS.split(' ').any(|known| known == row), "{row} has no test");
    }
    let mut listed: Vec<PathBuf> = connections.iter().map(|case| corpus("raw").join(&case.file)).collect();
    let mut found = Vec::new();
    for folder in std::fs::read_dir(corpus("raw")).expect("readable").map(|entry| entry.expect("readable").path()) {
        if folder.is_dir() {
            found.extend(std::fs::read_dir(folder).expect("readable").map(|entry| entry.expect("readable").path()));
        }
    }
    listed.sort();
    found.sort();
    assert_eq!(listed, found);
}

#[test]
fn h01_equal_keys_in_one_object_are_refused() {
    replay("H1");
}

#[test]
fn h02_keys_that_differ_in_case_only_are_refused_or_held() {
    replay("H2");
}

#[test]
fn h03_keys_that_fold_into_each_other_are_refused() {
    replay("H3");
}

#[test]
fn h04_keys_with_invisible_characters_are_refused() {
    replay("H4");
}

#[test]
fn h05_tool_name_games_are_refused_or_fall_to_the_default() {
    replay("H5");
}

#[test]
fn h06_batches_are_never_judged_by_one_of_their_members() {
    replay("H6");
    // Ten thousand harmless calls around a gated one.
    let mut trap = Trap::new(Language::Python);
    let call = |name: &str| json!({ "method": "tools/call", "params": { "name": name } });
    let mut batch = vec![call("safe_read"); 5_000];
    batch.push(call("delete_repo"));
    batch.extend(vec![call("safe_read"); 5_000]);
    let answer = trap.gateway.agent("bot").post("/tools/call", &Value::Array(batch)).send();
    assert!([400, 413, 503].contains(&answer.status), "{} {}", answer.status, answer.text());
    assert_eq!(trap.fresh_sightings().len(), 0);
}

#[test]
fn h07_what_is_not_one_json_document_is_refused_and_never_passes_as_no_call() {
    replay("H7");
}

#[test]
fn h08_other_encodings_are_refused() {
    replay("H8");
}

#[test]
fn h09_content_encodings_are_refused_where_the_body_is_judged() {
    replay("H9");
    // A bomb: a few kilobytes that would unpack to gigabytes are never unpacked.
    let trap = Trap::new(Language::Python);
    let before = trap.gateway.resident_bytes();
    let call = trap.gateway.agent("bot").call("POST", "/tools/call").header("content-type", "application/json");
    call.header("content-encoding", "gzip, gzip")
        .body(vec![0x1f; 8 << 10])
        .send()
        .expect(415, "unsupported_media_type");
    assert!(trap.gateway.resident_bytes() < before + (16 << 20));
}

#[test]
fn h10_content_types_that_are_not_json_are_refused_where_the_body_is_judged() {
    replay("H10");
}

#[test]
fn h11_arrays_and_strings_where_objects_belong_never_pass() {
    replay("H11");
}

#[test]
fn h12_numbers_are_compared_exactly_and_shown_as_written() {
    replay("H12");
    let policy = "version: 1\ndefault: block\nrules:\n  - { id: small, match: call, when: args.amount <= 9007199254740992, action: allow }\n  \
                  - { id: large, match: call, when: args.amount > 9007199254740992, action: require_approval, approval: { hold: 50ms } }\n  \
                  - { id: safe, match: \"safe_*\", action: allow }\n";
    for language in Language::ALL {
        let mut trap = Trap::with(language, |home| home.policy(policy));
        let send = |digits: &str| {
            let call = trap.gateway.agent("bot").call("POST", "/tools/call").header("content-type", "application/json");
            call.body(format!("{{\"amount\":{digits}}}")).send()
        };
        for small in
            ["9007199254740992", "9007199254740992.0", "1e2", "1E+2", "-0", "1.0", "9007199254740991.999999999999"]
        {
            assert_eq!(send(small).status, 200, "{small}");
        }
        for large in ["9007199254740993", "9007199254740992.0000000000000001", "1e16", "90071992547409930e-1"] {
            let answer = send(large).expect(503, "approval_pending");
            let shown =
                trap.gateway.reviewer("alice").call("GET", &format!("/v1/approvals/{}", answer.approval())).send();
            assert!(shown.text().contains(&format!("\"amount\":{large}")), "{large}: {}", shown.text());
        }
        let absurd = format!("1{}", "0".repeat(400));
        let answer = send(&absurd);
        assert!([400, 413].contains(&answer.status), "{}", answer.text());
        assert_eq!(trap.fresh_sightings().len(), 7);
    }
}

#[test]
fn h13_depth_breadth_and_length_are_refused_cheaply() {
    replay("H13");
    let trap = Trap::with(Language::Python, |home| home.key("limits: { body_bytes_max: 128MiB }"));
    let send = |body: Vec<u8>| {
        let call = trap.gateway.agent("bot").call("POST", "/tools/call").header("content-type", "application/json");
        call.body(body).send()
    };
    let deep = "[".repeat(100_000);
    send(deep.into_bytes()).expect(400, "too_deep");
    let keys: Vec<String> = (0..1_000_000).map(|key| format!("\"{key}\":0")).collect();
    send(format!("{{{}}}", keys.join(",")).into_bytes()).expect(413, "too_large");
    let before = trap.gateway.resident_bytes();
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(100_000_000));
    send(long.into_bytes()).expect(413, "too_large");
    // The body itself may be in memory for a moment, not a multiple of it.
    assert!(trap.gateway.resident_bytes() < before + (300 << 20));
    drop(trap);
    // With the usual limit the length alone is enough: nothing is read.
    let trap = Trap::new(Language::Node);
    let mut wire = Wire::connect(trap.gateway.proxy);
    wire.send(
        format!(
            "POST /tools/call HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
             Content-Length: 100000000\r\n\r\n",
            token("bot")
        )
        .as_bytes(),
    );
    wire.answer().expect("an answer before the body").expect(413, "too_large");
}

#[test]
fn h14_the_body_decides_whatever_the_headers_say() {
    replay("H14");
}

#[test]
fn h15_paths_with_two_readings_are_refused() {
    replay("H15");
}

#[test]
fn h16_encoded_separators_and_bad_escapes_are_refused() {
    replay("H16");
}

#[test]
fn h17_other_hosts_and_odd_targets_are_refused_and_forwarding_headers_dropped() {
    replay("H17");
}

#[test]
fn h18_method_and_url_overrides_do_not_pass() {
    replay("H18");
}

#[test]
fn h19_odd_methods_and_bodies_where_none_belong_are_refused() {
    replay("H19");
}

#[test]
fn h20_ambiguous_framing_gives_the_upstream_one_well_formed_request_or_none() {
    replay("H20");
}

#[test]
fn h21_chunk_extensions_trailers_and_hidden_requests_do_not_pass() {
    replay("H21");
}

#[test]
fn h22_pipelined_calls_are_judged_each_and_answered_in_order() {
    replay("H22");
}

#[test]
fn h24_connection_and_identity_headers_cannot_be_injected() {
    replay("H24");
}
