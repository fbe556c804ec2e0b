use super::*;

#[test]
fn routes_and_upstreams_must_fit() {
    use Code::{BadValue, DuplicateName, UnknownName, Unused};
    let routes = |line: &str| text(&["routes"], &format!("routes: {line}\n"));
    check(
        &routes("[ { path: /payments/, upstream: payments }, { path: /x/, upstream: paymets } ]"),
        UnknownName,
        7,
        76,
        "there is no upstream `paymets`",
        "did you mean `payments`?",
    );
    let twice = "[ { path: /p/, upstream: payments }, { path: /p/, upstream: payments } ]";
    check(&routes(twice), DuplicateName, 7, 54, "already routed by `routes[0]`", "keep one");
    check(&routes("[]"), Unused, 6, 14, "no route leads to", "path: /payments/");
    for (path, why) in [
        ("payments", "does not begin with `/`"),
        ("/a//b", "empty"),
        ("/a/../b", "`..`"),
        ("/a%2Fb", "`%`"),
        ("/a;b", "`;`"),
        ("/_holdpoint/x", "reserved"),
        ("/_HOLDPOINT", "reserved"),
    ] {
        check(&routes(&format!("[ {{ path: \"{path}\", upstream: payments }} ]")), BadValue, 7, 19, why, "");
    }
}

#[test]
fn upstreams_say_what_they_take() {
    use Code::{BadValue, Conflict, DuplicateName, FileUnreadable, OwnListener};
    let upstream = |inside: &str| text(&["upstreams"], &format!("upstreams: {{ payments: {{ {inside} }} }}\n"));
    check(&upstream("url: \"ftp://h\""), BadValue, 7, 31, "neither with `http://`", "https://");
    check(&upstream("url: \"http://u:p@h\""), BadValue, 7, 31, "must not hold credentials", "authorization");
    check(&upstream("url: \"http://h/?q\""), BadValue, 7, 31, "query", "");
    check(&upstream("url: \"http://127.1\""), BadValue, 7, 31, "four numbers", "");
    check(&upstream("url: \"http://h/%2e\""), BadValue, 7, 31, "not canonical", "");
    check(&upstream("url: \"http://h\", protocol: mpc"), BadValue, 7, 53, "`mpc` is not a protocol", "`mcp`");
    check(&upstream("url: \"http://h\", hide: blocked"), Conflict, 7, 49, "no MCP server", "protocol: mcp");
    check(&upstream("url: \"http://h\", tool_prefix: a_"), Conflict, 7, 56, "no MCP server", "protocol: mcp");
    check(&upstream("url: \"http://h\", annotate_tools: true"), Conflict, 7, 59, "no MCP server", "protocol: mcp");
    let tools = "url: \"http://h\", protocol: mcp, tools: [ { call: GET /, tool: t } ]";
    check(&upstream(tools), Conflict, 7, 65, "names plain HTTP calls", "remove it");
    check(&upstream("url: \"http://h\", on_tool_change: block"), Conflict, 7, 59, "no MCP server", "protocol: mcp");
    check(&upstream("url: \"http://h\", tls: { ca: x }"), Conflict, 7, 48, "does nothing", "https://");
    check(&upstream("url: \"https://h\", tls: { ca: absent.pem }"), FileUnreadable, 7, 55, "cannot be read", "folder");
    check(&upstream("url: \"https://h\", tls: { ca: not.pem }"), Code::Certificate, 7, 55, "no certificate", "PEM");
    check(&upstream("url: \"http://h\", headers: { Host: x }"), BadValue, 7, 54, "written by the gateway", "remove it");
    check(&upstream("url: \"http://h\", headers: { a: x, A: y }"), DuplicateName, 7, 57, "given twice", "keep one");
    let tools = |list: &str| upstream(&format!("url: \"http://h\", tools: [ {list} ]"));
    check(&tools("{ call: \"post /x\", tool: t }"), BadValue, 7, 60, "the method is not one of", "POST /refunds");
    check(&tools("{ call: \"GET x\", tool: t }"), BadValue, 7, 60, "start with a slash", "");
    check(&tools("{ call: \"GET /x{y}\", tool: t }"), BadValue, 7, 60, "whole segment", "");
    check(&tools("{ call: \"GET /x\", tool: \"a b\" }"), BadValue, 7, 76, "not a tool name", "128");
    let shapes = "{ call: \"GET /{a}\", tool: t }, { call: \"GET /{b}\", tool: u }";
    check(&tools(shapes), DuplicateName, 7, 91, "already named above", "one call has one name");
    for own in ["127.0.0.1:8081", "localhost:8080", "[::ffff:127.0.0.1]:8081", "0.0.0.0:8081", "LOCALHOST.:8081"] {
        check(&upstream(&format!("url: \"http://{own}\"")), OwnListener, 7, 31, "own listeners", "itself");
    }
    let public = text(
        &["upstreams"],
        "upstreams: { payments: { url: \"https://a.example/x\" } }\nadmin: { public_url: \"https://A.example\" }\n",
    );
    check(&public, OwnListener, 7, 31, "own listeners", "itself");
    check(
        &text(&["upstreams", "routes"], "upstreams: { a b: { url: \"http://h\" } }\n"),
        BadValue,
        6,
        14,
        "not a name",
        "64",
    );
}

#[test]
fn the_longest_route_wins_and_prefixes_end_at_segments() {
    let config = config(&text(
        &["routes"],
        "routes: [ { path: /, upstream: payments }, { path: /a/, upstream: payments }, { path: /a/b, upstream: payments } ]\n",
    ));
    let find = |path: &'static str| config.routes.find(path).map(|(route, rest)| (route.path.to_string(), rest));
    assert_eq!(find("/a/b"), Some(("/a/b".to_owned(), "")));
    assert_eq!(find("/a/b/c"), Some(("/a/".to_owned(), "/b/c")));
    assert_eq!(find("/a"), Some(("/".to_owned(), "/a")));
    assert_eq!(find("x"), None);
}

#[test]
fn secrets_that_cannot_be_resolved_are_errors() {
    let header = |value: &str| {
        let upstream =
            format!("upstreams: {{ payments: {{ url: \"http://h:1\", headers: {{ x-key: \"{value}\" }} }} }}\n");
        text(&["upstreams"], &upstream)
    };
    use Code::{BadValue, Secret};
    check(&header("${UNSET}"), Secret, 7, 63, "`UNSET` is not set", "set `UNSET`");
    check(&header("${EMPTY}"), Secret, 7, 63, "`EMPTY` is empty", "set `EMPTY`");
    check(&header("${file:absent.txt}"), Secret, 7, 63, "cannot be read", "readable UTF-8 file");
    check(&header("${BROKEN}"), BadValue, 7, 63, "line break", "check the secret");
    check(&header("${oops"), BadValue, 7, 63, "not closed", "write `${NAME}`");
    check(&header("${a b}"), BadValue, 7, 63, "neither a variable's name", "write `${NAME}`");
}

#[test]
fn programs_are_looked_for_when_they_are_configured() {
    use Code::{BadValue, Conflict, FileUnreadable, MissingKey, Secret};
    let upstream = |inside: &str| text(&["upstreams"], &format!("upstreams: {{ payments: {{ {inside} }} }}\n"));
    let shell = |inside: &str| upstream(&format!("command: [ /bin/sh ], protocol: mcp, {inside}"));
    let url = |inside: &str| upstream(&format!("url: \"http://h\", {inside}"));
    check(&upstream("protocol: mcp"), MissingKey, 7, 14, "neither `url` nor `command`", "command: [PROGRAM");
    check(&upstream("command: [ /bin/sh ]"), Conflict, 7, 35, "speaks MCP", "protocol: mcp");
    check(&url("command: [ /bin/sh ], protocol: mcp"), Conflict, 7, 52, "not both", "remove one");
    check(
        &upstream("command: [ nosuch ], protocol: mcp"),
        FileUnreadable,
        7,
        37,
        "no program `nosuch` on `PATH`",
        "install it",
    );
    check(
        &upstream("command: [ ./a.txt ], protocol: mcp"),
        FileUnreadable,
        7,
        37,
        "not there, or is not exec",
        "folder",
    );
    check(&upstream("command: [ ./token.txt ], protocol: mcp"), FileUnreadable, 7, 37, "is not executable", "folder");
    check(
        &upstream("command: [ \"\" ], protocol: mcp"),
        BadValue,
        7,
        37,
        "not the name of a program",
        "a text of its own",
    );
    for (key, column) in [("env: { A: b }", 48), ("cwd: x", 48), ("children_max: 3", 57), ("idle_timeout: 3s", 57)] {
        check(&url(key), Conflict, 7, column, "without `command`", "remove it");
    }
    for (key, column) in [("headers: { a: b }", 72), ("connect_timeout: 1s", 80), ("tls: { ca: x }", 68)] {
        check(&shell(key), Conflict, 7, column, "not reached over the network", "");
    }
    check(&shell("cwd: absent"), FileUnreadable, 7, 68, "is not a folder", "configuration file's folder");
    check(&shell("env: { 1A: b }"), BadValue, 7, 70, "not the name of an environment variable", "letters");
    check(&shell("env: { A: \"${UNSET}\" }"), Secret, 7, 73, "`UNSET` is not set", "set `UNSET`");
    check(&shell("children_max: 0"), BadValue, 7, 77, "", "");
}

#[test]
fn a_program_has_what_it_is_given_and_the_documented_rest() {
    let program = |inside: &str| {
        let line = format!("upstreams: {{ payments: {{ command: [ sh, -c, x ], protocol: mcp, {inside} }} }}\n");
        match config(&text(&["upstreams"], &line)).upstreams.into_values().next().expect("one").place {
            Place::Program(program) => program,
            other @ Place::Url(_) => panic!("{other:?}"),
        }
    };
    let plain = program("env: { PATH: \"/nowhere:relative:/bin\" }");
    assert_eq!(
        (plain.program.to_str(), plain.arguments.as_slice()),
        (Some("/bin/sh"), ["-c", "x"].map(String::from).as_slice())
    );
    assert_eq!((plain.children_max, plain.idle_timeout.as_secs()), (16, 600));
    assert!(plain.folder.is_absolute());
    let full =
        program("env: { PATH: /bin, KEY: \"${PAYMENTS_TOKEN}\" }, cwd: policies, children_max: 3, idle_timeout: 5s");
    let environment: Vec<_> =
        full.environment.iter().map(|(name, value)| (name.as_str(), value.expose().as_str())).collect();
    assert_eq!(environment, [("KEY", "s3cr3t"), ("PATH", "/bin")]);
    assert!(full.folder.ends_with("policies"));
    assert_eq!((full.children_max, full.idle_timeout.as_secs()), (3, 5));
    assert!(!format!("{full:?}").contains("s3cr3t"));
}

#[test]
fn servers_share_a_path_only_where_their_tools_can_be_told_apart() {
    use Code::{Conflict, UnknownName};
    let two = |first: &str, second: &str, route: &str| {
        let upstreams = format!("upstreams: {{ a: {{ {first} }}, b: {{ {second} }} }}\n");
        text(&["upstreams", "routes"], &format!("{upstreams}routes: [ {{ path: /mcp, {route} }} ]\n"))
    };
    let mcp = |prefix: &str| format!("url: \"http://h\", protocol: mcp, tool_prefix: {prefix}");
    let says = |text: &str, code: Code, what: &str, hint: &str| {
        let found = load_from(&folder(), text).diagnostics;
        let fits = |one: &diagnostic::Diagnostic| {
            one.code == code && one.message.contains(what) && one.hint.as_deref().unwrap_or_default().contains(hint)
        };
        assert!(found.iter().any(fits), "{what}: {found:?}");
    };
    let both = "upstreams: [ a, b ]";
    says(
        &two(&mcp("a_"), "url: \"http://h\", protocol: mcp", both),
        Conflict,
        "no `tool_prefix`",
        "add `tool_prefix: b_`",
    );
    says(&two(&mcp("a_"), &mcp("a_b"), both), Conflict, "cannot be told apart", "none begins with the other");
    says(&two(&mcp("a_"), "url: \"http://h\"", both), Conflict, "no MCP server", "path of their own");
    says(&two(&mcp("a_"), &mcp("b_"), "upstreams: [ a, c ]"), UnknownName, "no upstream `c`", "");
    says(&two(&mcp("a_"), &mcp("b_"), "upstream: a, upstreams: [ a, b ]"), Conflict, "exclude each other", "keep one");
}
