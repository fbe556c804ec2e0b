//! Attempts to get a gated call through, as raw bytes over real sockets, against upstreams in three languages.
//!
//! `tests/corpus/raw` holds whole connections, `tests/corpus/hostile` request bodies; adding a file and its line in the index adds
//! a case. Each row of the table of hostile inputs is one test.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::spy::Language;
use crate::support::http::Wire;
use crate::support::people::token;

use crate::trap::{Body, Connection, Trap, corpus, index, read};

/// Replays everything that the corpora hold for a row, before every spy.
fn replay(row: &str) {
    let connections: Vec<Connection> = index("raw");
    let bodies: Vec<Body> = index("hostile");
    let mut cases = 0;
    for language in Language::ALL {
        let mut trap = Trap::with(language, |home| home.key("limits: { pending_per_agent_max: 1000 }"));
        for case in connections.iter().filter(|case| case.row == row && !case.is_http2()) {
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
const ROWS: &str = "H1 H2 H3 H4 H5 H6 H7 H8 H9 H10 H11 H12 H13 H14 H15 H16 H17 H18 H19 H20 H21 H22 H23 H24 H25 \
                    H26 H27 H28 H29 H30";

#[test]
fn every_file_of_the_corpus_is_in_its_index_and_every_row_has_a_test() {
    let connections: Vec<Connection> = index("raw");
    let bodies: Vec<Body> = index("hostile");
    let rows = connections.iter().map(|case| &case.row).chain(bodies.iter().map(|case| &case.row));
    let rows: BTreeSet<&str> = rows.map(String::as_str).collect();
    assert_eq!(
        rows,
        ROWS.split_whitespace().collect(),
        "each row of the table has cases, and each case a row with a test"
    );
    let files = connections.iter().flat_map(|case| [Some(&case.file), case.after.as_ref()]).flatten();
    let listed: BTreeSet<PathBuf> = files.map(|file| corpus("raw").join(file)).collect();
    let mut found = BTreeSet::new();
    for folder in std::fs::read_dir(corpus("raw")).expect("readable").map(|entry| entry.expect("readable").path()) {
        if folder.is_dir() {
            found.extend(std::fs::read_dir(folder).expect("readable").map(|entry| entry.expect("readable").path()));
        }
    }
    assert_eq!(listed, found);
    let listed: BTreeSet<PathBuf> = bodies.iter().map(|case| corpus("hostile").join(&case.file)).collect();
    assert_eq!(listed.len(), bodies.len(), "a file is in the index twice");
    let found = std::fs::read_dir(corpus("hostile")).expect("readable").map(|entry| entry.expect("readable").path());
    let beside = ["README.md", "index.json"].map(|name| corpus("hostile").join(name));
    assert_eq!(listed, found.filter(|file| !beside.contains(file)).collect());
}

#[test]
fn every_refusal_of_malformed_input_names_its_counter() {
    // What policy or the queue says of a call that was understood is no refusal of input, nor is an answer of the approvals API.
    let judged = ["403 blocked", "503 approval_pending", "422 idempotency_key_reused"];
    let of_the_api = |case: &Connection| String::from_utf8_lossy(&read("raw", &case.file)).contains(" /_holdpoint/");
    let is_refused = |answer: &String| !answer.starts_with('2') && !judged.contains(&answer.as_str());
    let connections: Vec<Connection> = index("raw");
    for case in connections {
        let refused = case.answers.iter().any(is_refused) && !of_the_api(&case);
        assert_eq!(refused, case.counter.is_some(), "{}", case.file);
    }
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
fn h23_http2_in_clear_text_is_not_spoken() {
    replay("H23");
}

#[test]
fn h24_connection_and_identity_headers_cannot_be_injected() {
    replay("H24");
}

#[test]
fn h25_another_call_than_the_one_that_was_approved_asks_anew() {
    replay("H25");
}

// What more there is to these rows than bytes stands in modules of their own.

#[test]
fn h26_calls_that_are_repeated_and_ids_that_are_guessed_let_nothing_through() {
    replay("H26");
}

#[test]
fn h27_a_decision_that_an_agent_sends_to_the_proxy_decides_nothing() {
    replay("H27");
}

#[test]
fn h28_text_that_tries_to_be_more_is_held_or_refused() {
    replay("H28");
}

#[test]
fn h29_what_a_page_of_another_site_can_send_reaches_nothing() {
    replay("H29");
}

#[test]
fn h30_a_body_without_end_is_refused_before_it_is_read() {
    replay("H30");
}
