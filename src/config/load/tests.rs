use std::fmt::Write as _;

use super::*;
use crate::config::diagnostic;
use crate::config::settings::Place;

mod upstreams;

/// SHA-256 of two tokens.
const A: &str = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb";
const B: &str = "3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d";

const ENV: [(&str, &str); 4] = [
    ("PAYMENTS_TOKEN", "s3cr3t"),
    ("EMPTY", ""),
    ("BROKEN", "two\nlines"),
    ("STORE_KEY", "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA="),
];

/// A folder with what a configuration may name.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let put = |name: &str, text: &str| {
        std::fs::File::create(folder.path().join(name))
            .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
            .expect("a file in it");
    };
    std::fs::create_dir(folder.path().join("policies")).expect("a folder in it");
    std::fs::create_dir(folder.path().join("empty")).expect("a folder in it");
    put("policies/a.yaml", "version: 1\nrules:\n  - { match: \"*\", action: allow }\n");
    put("policies/a.cases.yaml", "this is: [not, a, policy]\n");
    put("token.txt", "from-file\n");
    put("not.pem", "nothing here\n");
    put("api.json", r#"{"openapi": "3.1.0", "paths": {"/refunds": {"post": {"operationId": "refund"}}}}"#);
    folder
}

/// A configuration that loads, with each line that starts with one of `without` left out and `lines` added.
fn text(without: &[&str], lines: &str) -> String {
    let full = format!(
        "version: 1
store: sqlite://holdpoint.db
policies: [ policies/ ]
agents: [ {{ id: bot, token_sha256: {A} }} ]
reviewers: [ {{ id: alice, groups: [finance], token_sha256: {B} }} ]
upstreams: {{ payments: {{ url: \"http://127.0.0.1:9000\" }} }}
routes: [ {{ path: /payments/, upstream: payments }} ]
"
    );
    let kept = full.lines().filter(|line| !without.iter().any(|key| line.starts_with(key)));
    let mut text = kept.fold(String::new(), |mut text, line| {
        let _ = writeln!(text, "{line}");
        text
    });
    text.push_str(lines);
    text
}

fn load_from(folder: &tempfile::TempDir, text: &str) -> Loaded {
    load_text("holdpoint.yaml", text, folder.path(), &ENV, Reviewers::Required)
}

#[track_caller]
fn config(text: &str) -> Config {
    let loaded = load_from(&folder(), text);
    let shown: Vec<String> = loaded.diagnostics.iter().map(ToString::to_string).collect();
    loaded.config.unwrap_or_else(|| panic!("it should load: {shown:#?}"))
}

/// One problem is found, and this one: code, place, and texts that its message and its hint contain.
#[track_caller]
fn check(text: &str, code: Code, line: usize, column: usize, message: &str, hint: &str) {
    let loaded = load_from(&folder(), text);
    let shown: Vec<String> = loaded.diagnostics.iter().map(Diagnostic::render).collect();
    let shown = shown.join("\n");
    assert_eq!(loaded.diagnostics.len(), 1, "{shown}");
    let found = &loaded.diagnostics[0];
    assert_eq!(found.code, code, "{shown}");
    assert_eq!(found.place, Some(diagnostic::Place { line, column }), "{shown}");
    assert!(found.message.contains(message), "{shown}");
    assert!(found.hint.as_deref().unwrap_or_default().contains(hint), "{shown}");
    assert_eq!(loaded.config.is_none(), found.severity == Severity::Error, "{shown}");
}

#[test]
fn a_small_file_loads_with_the_documented_defaults() {
    let config = config(&text(&[], ""));
    assert_eq!(config.proxy.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.admin.listen.to_string(), "127.0.0.1:8081");
    let hosts: Vec<String> = config.admin.allowed_hosts.iter().map(ToString::to_string).collect();
    assert_eq!(hosts, ["localhost", "127.0.0.1", "[::1]"]);
    assert_eq!(config.limits.body_bytes_max, 1 << 20);
    assert_eq!(config.limits.wait_max.as_secs(), 300);
    assert_eq!(config.drain_timeout.as_secs(), 30);
    assert!(!config.anonymous);
    assert_eq!(config.policies.files.len(), 1, "cases are no policy");
    assert_eq!(config.policies.files[0].name, "policies/a.yaml");
    let upstream = config.upstreams.values().next().expect("one upstream");
    let Place::Url(place) = &upstream.place else { panic!("{upstream:?}") };
    assert_eq!((upstream.timeout.as_secs(), place.connect_timeout.as_secs()), (30, 5));
}

#[test]
fn every_key_that_is_set_reaches_the_settings() {
    let config = config(&text(
        &["store", "upstreams", "reviewers"],
        &format!(
            "store: {{ url: \"sqlite://x.db\", secret_key: \"${{STORE_KEY}}\" }}
proxy: {{ listen: 127.0.0.1:1, header_timeout: 1s, body_timeout: 2s }}
admin: {{ listen: 127.0.0.1:2, public_url: \"https://a.example\", allowed_hosts: [a.example], session_ttl: 1h }}
mode: shadow
anonymous: true
reviewers: [ {{ id: alice, groups: [finance, it], token_sha256: {B}, role: admin }} ]
metrics: {{ token_sha256: {} }}
drain_timeout: 3s
log: {{ format: text, level: debug }}
limits: {{ body_bytes_max: 2KiB, header_bytes_max: 8192, pending_per_agent_max: 3, pending_total_max: 4, held_bytes_max: 5KiB,
           connections_max: 6, response_bytes_max: 7, wait_max: 8s }}
upstreams:
  payments:
    url: http://tools.example:9000/base/
    protocol: http
    timeout: 9s
    connect_timeout: 10s
    headers: {{ Authorization: \"Bearer ${{PAYMENTS_TOKEN}}\", x-key: \"${{file:token.txt}}$${{x}}\" }}
    tools: [ {{ call: \"POST /refunds\", tool: payments.refund }}, {{ call: \"GET /a/{{id}}\", tool: payments.get }} ]
    openapi: api.json
",
            "c".repeat(64)
        ),
    ));
    assert_eq!((config.proxy.listen.port(), config.admin.listen.port()), (1, 2));
    assert_eq!((config.proxy.header_timeout.as_secs(), config.proxy.body_timeout.as_secs()), (1, 2));
    assert_eq!(config.admin.public_url.as_ref().map(ToString::to_string).as_deref(), Some("https://a.example"));
    assert_eq!(config.admin.allowed_hosts.len(), 1);
    assert_eq!(config.admin.session_ttl.as_secs(), 3600);
    assert_eq!((config.mode, config.anonymous), (model::Mode::Shadow, true));
    let key = config.store.secret_key.as_ref().expect("a key");
    assert_eq!((key.expose()[0], key.expose()[31]), (1, 32));
    assert_eq!(config.metrics_token_sha256.as_ref().map(|digest| digest.expose()[0]), Some(0xcc));
    assert_eq!(config.drain_timeout.as_secs(), 3);
    let limits = config.limits;
    assert_eq!((limits.body_bytes_max, limits.header_bytes_max, limits.held_bytes_max), (2048, 8192, 5120));
    assert_eq!((limits.pending_per_agent_max, limits.pending_total_max, limits.connections_max), (3, 4, 6));
    assert_eq!((limits.response_bytes_max, limits.wait_max.as_secs()), (7, 8));
    let reviewer = &config.reviewers[0].reviewer;
    assert_eq!(reviewer.groups, ["finance", "it"]);
    assert_eq!(reviewer.role, crate::domain::identity::ReviewerRole::Admin);
    let upstream = config.upstreams.values().next().expect("one upstream");
    let Place::Url(place) = &upstream.place else { panic!("{upstream:?}") };
    assert_eq!((place.url.path(), place.url.authority()), ("/base", "tools.example:9000"));
    let headers: Vec<_> = upstream.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().ok())).collect();
    assert_eq!(headers, [("authorization", Some("Bearer s3cr3t")), ("x-key", Some("from-file${x}"))]);
    assert!(upstream.headers.iter().all(|(_, value)| value.is_sensitive()));
    let tools: Vec<_> = upstream.tools.iter().map(|tool| tool.tool.as_str()).collect();
    assert_eq!(tools, ["payments.refund", "payments.get"], "a configured name beats the document's");
}

#[test]
fn slips_in_keys_and_values_are_reported_at_their_place() {
    use Code::{BadValue, MissingKey, Secret, UnknownKey, WrongType};
    let plus = |lines: &str| text(&[], lines);
    check(
        &plus("drain_timeot: 5s\n"),
        UnknownKey,
        8,
        1,
        "unknown key `drain_timeot` at the top level",
        "`drain_timeout`?",
    );
    check(
        &plus("proxy: { listn: x }\n"),
        UnknownKey,
        8,
        10,
        "unknown key `listn` in `proxy`",
        "did you mean `listen`?",
    );
    let agent = format!("agents: [ {{ id: bot, token: x, token_sha256: {A} }} ]\n");
    check(&text(&["agents"], &agent), UnknownKey, 7, 22, "`token` in `agents[0]`", "did you mean `token_sha256`?");
    check(&plus("log: { quux: x }\n"), UnknownKey, 8, 8, "`quux`", "known keys: `format`, `level`");
    check(&text(&["version"], ""), MissingKey, 1, 1, "needs the key `version`", "add `version: …`");
    check(&text(&["version"], "version: 2\n"), BadValue, 7, 10, "`version` is `2`", "accepted: `1`");
    check(&plus("drain_timeout: 5\n"), WrongType, 8, 16, "must be text, not a whole number", "add a unit, as in `5s`");
    check(&plus("drain_timeout: 5w\n"), BadValue, 8, 16, "unknown unit `w`", "");
    check(&plus("drain_timeout: 0s\n"), BadValue, 8, 16, "zero", "write one such as");
    check(&plus("log:\n"), WrongType, 8, 1, "`log` must be a mapping, not empty", "remove the key");
    check(&plus("log: { level: inf }\n"), BadValue, 8, 15, "`log.level` is `inf`", "did you mean `info`?");
    check(&plus("mode: strict\n"), BadValue, 8, 7, "`mode` is `strict`", "accepted: `enforce`, `shadow`");
    check(&plus("proxy: { listen: localhost:80 }\n"), BadValue, 8, 18, "not an address", "`127.0.0.1:8080`");
    check(&plus("limits: { body_bytes_max: 1MB }\n"), BadValue, 8, 27, "`1MB` is not a size", "`MiB`");
    check(&plus("limits: { body_bytes_max: 0 }\n"), BadValue, 8, 27, "out of range", "1 byte");
    check(&plus("limits: { pending_total_max: 0 }\n"), BadValue, 8, 30, "out of range", "from 1 to");
    check(&plus("limits: { header_bytes_max: 1KiB }\n"), BadValue, 8, 29, "out of range", "8KiB to 1MiB");
    check(&plus("limits: { wait_max: 2h }\n"), BadValue, 8, 21, "out of range", "`1h`");
    check(&plus("admin: { session_ttl: 1s }\n"), BadValue, 8, 23, "out of range", "`5m` to `30d`");
    check(
        &plus("admin: { public_url: \"${URL}\" }\n"),
        Secret,
        8,
        22,
        "does not read `${…}`",
        "references are read in",
    );
    check(&plus("admin: { public_url: \"https://a.b/c\" }\n"), BadValue, 8, 22, "must not have a path", "https://a.b");
    check(&plus("admin: { allowed_hosts: [\"a:80\"] }\n"), BadValue, 8, 26, "not a host", "DNS name");
    check(&plus("admin: { allowed_hosts: [] }\n"), BadValue, 8, 25, "is empty", "");
    check(&text(&["policies"], "policies: []\n"), BadValue, 7, 11, "`policies` is empty", "");
}

#[test]
fn all_problems_are_reported_at_once() {
    let text = text(&["version"], "proxy: { listen: x, tsl: {} }\nlog: { level: loud, colour: red }\nnope: 1\n");
    let loaded = load_from(&folder(), &text);
    let lines: Vec<_> = loaded.diagnostics.iter().map(|d| (d.place.map(|p| p.line), d.code)).collect();
    let expected = [
        (Some(1), Code::MissingKey),
        (Some(7), Code::BadValue),
        (Some(7), Code::UnknownKey),
        (Some(8), Code::BadValue),
        (Some(8), Code::UnknownKey),
        (Some(9), Code::UnknownKey),
    ];
    assert_eq!(lines, expected, "{:#?}", loaded.diagnostics);
}

#[test]
fn problems_of_policies_are_told_together_with_those_of_the_configuration() {
    let loaded = load_from(&folder(), &text(&["policies"], "policies: [empty, 5]\nnope: 1\n"));
    let codes: Vec<_> = loaded.diagnostics.iter().map(|d| (d.file.as_str(), d.code)).collect();
    let own = "holdpoint.yaml";
    let expected = [("empty", Code::Policy), (own, Code::WrongType), (own, Code::UnknownKey)];
    assert_eq!(codes, expected, "{:#?}", loaded.diagnostics);
}

#[test]
fn the_store_says_what_it_takes() {
    use Code::{BadValue, FileUnreadable, Secret, Unsupported};
    let store = |line: &str| text(&["store"], &format!("{line}\n"));
    check(&store("store: postgres://u:p@db/x"), Unsupported, 7, 8, "not supported in this version", "sqlite://");
    check(&store("store: holdpoint.db"), BadValue, 7, 8, "not the URL of a store", "sqlite://relative/path.db");
    check(&store("store: \"sqlite://x.db?mode=ro\""), BadValue, 7, 8, "without options", "");
    check(&store("store: sqlite://nowhere/x.db"), FileUnreadable, 7, 8, "does not exist here", "create it");
    check(
        &store("store: { url: \"sqlite://x.db\", secret_key: c2hvcnQ= }"),
        BadValue,
        7,
        44,
        "has 5 bytes; a key has 32 bytes",
        "openssl",
    );
    let zeros = format!("store: {{ url: \"sqlite://x.db\", secret_key: \"{}=\" }}", "A".repeat(43));
    check(&store(&zeros), BadValue, 7, 44, "all zeros", "openssl");
    check(&store("store: { url: \"${NOWHERE}\" }"), Secret, 7, 15, "`NOWHERE` is not set", "set `NOWHERE`");
    check(&store("store: { secret_key: x }"), Code::MissingKey, 7, 1, "`store` needs the key `url`", "add `url");
}

#[test]
fn who_is_who_must_be_clear() {
    use Code::{BadValue, DuplicateName, Exposure, MissingKey, NoReviewer};
    let agents = |line: &str| text(&["agents"], &format!("agents: {line}\n"));
    check(&agents("[]"), MissingKey, 7, 9, "every call would be refused", "token new");
    check(
        &agents(&format!("[ {{ id: anonymous, token_sha256: {A} }} ]")),
        DuplicateName,
        7,
        17,
        "without a credential",
        "",
    );
    check(&agents(&format!("[ {{ id: a b, token_sha256: {A} }} ]")), BadValue, 7, 17, "`a b` is not an id", "64");
    check(&agents("[ { id: bot, token_sha256: hp_x } ]"), BadValue, 7, 36, "not the SHA-256", "token hash");
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    check(
        &agents(&format!("[ {{ id: bot, token_sha256: {empty} }} ]")),
        BadValue,
        7,
        36,
        "of an empty token",
        "token new",
    );
    let two = format!("[ {{ id: a, token_sha256: {A} }}, {{ id: a, token_sha256: {} }} ]", "d".repeat(64));
    check(&agents(&two), DuplicateName, 7, 108, "two agents with the id `a`", "its own id");
    let same = format!("[ {{ id: a, token_sha256: {B} }} ]");
    check(&agents(&same), DuplicateName, 4, 60, "this token is also `agents[0].token_sha256`", "token new");
    check(&text(&["reviewers"], ""), NoReviewer, 1, 1, "nobody could decide", "token new");
    let wide = text(&[], "admin: { listen: \"0.0.0.0:8081\", public_url: \"https://a.example\" }\n");
    check(&wide, Exposure, 8, 18, "`/metrics` would be open", "metrics");
}

#[test]
fn no_reviewers_are_accepted_only_on_request() {
    let folder = folder();
    let loaded = load_text("x", &text(&["reviewers"], ""), folder.path(), &ENV, Reviewers::Optional);
    assert!(loaded.config.is_some(), "{:?}", loaded.diagnostics);
}

#[test]
fn conflicting_settings_are_errors() {
    use Code::Conflict;
    let plus = |lines: &str| text(&[], lines);
    check(&plus("admin: { listen: \"127.0.0.1:8080\" }\n"), Conflict, 8, 18, "take the same port", "another port");
    let hosts = plus("admin: { public_url: \"https://a.example\", allowed_hosts: [b.example] }\n");
    check(&hosts, Conflict, 8, 58, "lacks `a.example`", "add `a.example`");
    check(&plus("limits: { body_bytes_max: 1GiB }\n"), Conflict, 8, 27, "above `held_bytes_max`", "raise");
    check(&plus("limits: { pending_per_agent_max: 200000 }\n"), Conflict, 8, 34, "above `pending_total_max`", "raise");
}

#[test]
fn exposed_listeners_are_warned_about_and_load() {
    use Code::Exposure;
    let plus = |lines: &str| text(&[], lines);
    check(&plus("proxy: { listen: \"0.0.0.0:8080\" }\n"), Exposure, 8, 18, "unencrypted", "tls");
    check(&plus("admin: { public_url: \"http://a.example\" }\n"), Exposure, 8, 22, "unencrypted", "https://");
}

#[test]
fn policies_are_never_skipped_without_a_word() {
    let folder = folder();
    let put = |name: &str, text: &str| {
        std::fs::File::create(folder.path().join(name))
            .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
            .expect("a file");
    };
    let messages = |policies: &str| -> Vec<String> {
        let loaded = load_from(&folder, &text(&["policies"], &format!("policies: {policies}\n")));
        assert!(loaded.config.is_none(), "{policies}");
        loaded.diagnostics.iter().map(ToString::to_string).collect()
    };
    assert!(messages("[absent.yaml]")[0].starts_with("absent.yaml: `absent.yaml` cannot be read"));
    assert!(messages("[empty]")[0].contains("holds no policy file"));
    assert!(messages("[policies, policies/a.yaml]")[0].contains("named twice"));
    put("policies/b.yml", "version: 1\n");
    assert!(messages("[policies]")[0].contains("policies/b.yml: this file looks like a policy"));
    put("bad.yaml", "a: 1\na: 2\n");
    let found = messages("[bad.yaml]");
    assert!(found[0].starts_with("bad.yaml:2:1: `a` is given twice; first at line 1, column 1"), "{found:?}");
}

#[test]
fn no_excerpt_or_debug_text_shows_a_secret() {
    let text = text(
        &["upstreams", "agents"],
        "agents: [ { id: bot, token: canary-1 } ]
upstreams: { payments: { url: \"http://u:canary-2@h\", headers: { x-key: \"canary-3 ${PAYMENTS_TOKEN}\", y: 1 } } }
",
    );
    let loaded = load_from(&folder(), &text);
    let shown: String = loaded.diagnostics.iter().map(|d| format!("{}\n{d}\n{d:?}\n", d.render())).collect();
    assert!(shown.contains("unknown key `token`") && shown.contains("must not hold credentials"), "{shown}");
    assert!(shown.contains("${PAYMENTS_TOKEN}"), "references may be shown: {shown}");
    assert!(!shown.contains("canary"), "{shown}");
    let config = config(&self::text(
        &["upstreams"],
        "upstreams: { payments: { url: \"http://h\", headers: { x-key: \"canary ${PAYMENTS_TOKEN}\" } } }\n",
    ));
    let debug = format!("{config:?}");
    assert!(!debug.contains("canary") && !debug.contains("s3cr3t") && !debug.contains("202"), "{debug}");
}

#[test]
fn an_unreadable_file_is_told_from_a_wrong_one() {
    let folder = folder();
    let absent = load(&folder.path().join("absent.yaml"), &ENV, Reviewers::Required);
    assert!(absent.is_unreadable() && absent.config.is_none());
    assert_eq!(absent.files_read.len(), 1, "its appearance means a reload");
    let wrong = load_from(&folder, "version: [");
    assert!(!wrong.is_unreadable() && wrong.config.is_none());
}

#[test]
fn every_file_that_matters_is_watched_also_on_failure() {
    let folder = folder();
    let text = text(
        &["upstreams", "routes"],
        "proxy: { tls: { cert: absent.pem, key: absent.key } }
upstreams: { payments: { url: \"http://h\", openapi: api.json, headers: { k: \"${file:token.txt}\" } } }
",
    );
    let loaded = load_from(&folder, &text);
    for name in ["absent.pem", "absent.key", "api.json", "token.txt", "policies/a.yaml", "policies/"] {
        assert!(loaded.files_read.contains(&folder.path().join(name)), "{name}: {:?}", loaded.files_read);
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test reads a checked-in page")]
fn the_example_of_the_reference_page_loads() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/configuration.md");
    let page = std::fs::read_to_string(page).expect("the reference page");
    let example = page.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let env = [("SUPPORT_BOT_TOKEN_SHA256", A), ("ALICE_TOKEN_SHA256", B), ("PAYMENTS_TOKEN", "x")];
    let loaded = load_text("example", example, folder().path(), &env, Reviewers::Required);
    // The store's folder is that of an installation; everything else must be in order.
    let others = loaded.diagnostics.iter().filter(|found| !found.message.contains("the folder of the store"));
    assert_eq!(others.map(ToString::to_string).collect::<Vec<_>>(), [] as [String; 0]);
    assert_eq!(loaded.config.map(|config| config.upstreams.len()), Some(1));
}
