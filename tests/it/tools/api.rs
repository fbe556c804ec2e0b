//! Tool definitions over the API.

use serde_json::{Value, json};

use super::Tools;

fn names(list: &Value) -> Vec<String> {
    let tools = list["tools"].as_array().expect("a list of tools");
    let name =
        |tool: &Value| format!("{}/{}", tool["upstream"].as_str().unwrap_or("?"), tool["name"].as_str().unwrap_or("?"));
    tools.iter().map(name).collect()
}

#[test]
fn tools_are_listed_by_standing_and_upstream_page_by_page() {
    let tools = Tools::start();
    tools.list("mail", &[("a", "x"), ("b", "x"), ("files/read", "x")]);
    tools.list("asks", &[("a", "x")]);
    tools.list("mail", &[("a", "y"), ("c", "x")]);
    let bob = tools.reviewer("bob");
    let list = |query: &str| bob.call("GET", &format!("/v1/tools{query}")).send().expect(200, "").json();
    let all = list("");
    assert_eq!(names(&all), ["asks/a", "mail/a", "mail/b", "mail/c", "mail/files/read"]);
    assert_eq!((&all["unaccepted"], &all["next_cursor"]), (&json!(2), &Value::Null));
    assert_eq!(all["tools"][0]["accepted_by"]["kind"], "baseline");
    assert_eq!(all["tools"][3]["accepted_by"], Value::Null);
    assert_eq!(names(&list("?standing=changed")), ["mail/a"]);
    assert_eq!(names(&list("?standing=new,changed")), ["mail/a", "mail/c"]);
    assert_eq!(names(&list("?upstream=asks")), ["asks/a"]);
    let mut seen = Vec::new();
    let mut query = "?limit=2".to_owned();
    loop {
        let page = list(&query);
        seen.extend(names(&page));
        match page["next_cursor"].as_str() {
            Some(cursor) => query = format!("?limit=2&cursor={}", cursor.replace('/', "%2F")),
            None => break,
        }
    }
    assert_eq!(seen, names(&all));
    for wrong in ["?standing=odd", "?limit=0", "?cursor=x", "?colour=red"] {
        bob.call("GET", &format!("/v1/tools{wrong}")).send().expect(400, "invalid_request");
    }
    // A name with a slash is one segment, escaped.
    let read = bob.call("GET", "/v1/tools/mail/files%2Fread").send().expect(200, "").json();
    assert_eq!(read["name"], "files/read");
}

#[test]
fn a_tool_is_shown_with_both_definitions_and_what_is_different() {
    let tools = Tools::start();
    let long = "y".repeat(70_000);
    tools.list("mail", &[("a", "x"), ("b", "x")]);
    tools.list("mail", &[("a", "y"), ("b", &long)]);
    let tool = tools.tool("mail", "a");
    assert_eq!(tool["accepted"]["definition"]["description"], "x");
    assert_eq!(tool["current"]["definition"]["description"], "y");
    assert_eq!(tool["current"]["digest"], tool["digest"]);
    assert_ne!(tool["accepted"]["digest"], tool["digest"]);
    let change = json!([{ "path": "/description", "before": { "json": "\"x\"" }, "after": { "json": "\"y\"" } }]);
    assert_eq!(tool["diff"]["changes"], change);
    // What is too large is kept by its digest, and says how large it was.
    let large = tools.tool("mail", "b");
    assert!(large["current"]["bytes"].as_u64().is_some_and(|bytes| bytes > 70_000), "{large}");
    assert_eq!(large["current"]["definition"], Value::Null);
    assert!(large["current"]["beginning"].as_str().is_some_and(|text| (4_000..=4_096).contains(&text.len())));
    assert!(large["diff"]["changes"][0]["after"]["more_characters"].as_u64().is_some_and(|more| more > 60_000));
    tools.reviewer("bob").call("GET", "/v1/tools/mail/absent").send().expect(404, "not_found");
    tools.reviewer("bob").call("GET", "/v1/tools/absent/a").send().expect(404, "not_found");
}

#[test]
fn an_admin_accepts_exactly_the_definition_that_was_looked_at() {
    let tools = Tools::start();
    tools.list("mail", &[("a", "x")]);
    tools.list("mail", &[("a", "y")]);
    let seen = tools.tool("mail", "a")["digest"].clone();
    let accept =
        |who: &str, body: &Value| tools.reviewer(who).call("POST", "/v1/tools/mail/a/accept").json(body).send();
    accept("bob", &json!({ "digest": seen })).expect(403, "forbidden");
    accept("alice", &json!({ "digest": "not a digest" })).expect(400, "invalid_request");
    accept("alice", &json!({})).expect(400, "invalid_request");
    tools.list("mail", &[("a", "z")]);
    let present = tools.tool("mail", "a")["digest"].clone();
    let refused = accept("alice", &json!({ "digest": seen })).expect(409, "definition_changed").json();
    assert_eq!(refused["digest"], present, "it says which one stands");
    assert_eq!(tools.standing("mail", "a"), "changed");
    let accepted = accept("alice", &json!({ "digest": present })).expect(200, "").json();
    assert_eq!((&accepted["standing"], &accepted["accepted_by"]["id"]), (&json!("accepted"), &json!("alice")));
    assert_eq!(accepted["diff"], Value::Null);
    let trail = tools.reviewer("alice").trail().len();
    accept("alice", &json!({ "digest": present })).expect(200, "");
    assert_eq!(tools.reviewer("alice").trail().len(), trail, "once is enough");
    assert_eq!(tools.reviewer("alice").events(None).iter().filter(|kind| *kind == "tool_accepted").count(), 1);
    let alice = tools.reviewer("alice");
    let absent = alice.call("POST", "/v1/tools/mail/absent/accept").json(&json!({ "digest": present }));
    absent.send().expect(404, "not_found");
}
