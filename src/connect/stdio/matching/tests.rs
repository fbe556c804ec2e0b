use super::*;

fn message(text: &str) -> Message {
    Message::read(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn call(id: &str, token: Option<&str>) -> Message {
    let meta = token.map_or_else(String::new, |token| format!(r#","params":{{"_meta":{{"progressToken":{token}}}}}"#));
    message(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call"{meta}}}"#))
}

fn begin(matching: &mut Matching<u8>, request: &Message, post: u8) -> Result<Begun, IdInUse> {
    let Kind::Request { id, .. } = &request.kind else { panic!("{request:?}") };
    matching.begin(request, id, post)
}

fn route(matching: &mut Matching<u8>, text: &str, listening: bool) -> (Destination<u8>, String) {
    matching.route(&message(text), listening)
}

fn response(id: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#)
}

fn progress(token: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token}}}}}"#)
}

#[test]
fn answers_and_progress_find_their_requests_by_exact_ids() {
    let mut matching = Matching::new(Naming::Kept);
    for (post, id) in ["1", "\"1\"", "2"].into_iter().enumerate() {
        let token = format!("\"t{id}\"").replace("\"\"", "\"").replace("t\"1", "ts");
        begin(&mut matching, &call(id, Some(&token)), u8::try_from(post).expect("few")).expect("a new id");
    }
    assert_eq!(route(&mut matching, &progress("\"t1\""), false).0, Destination::Related(0));
    assert_eq!(route(&mut matching, &progress("\"ts\""), false).0, Destination::Related(1));
    assert_eq!(route(&mut matching, &progress("\"t3\""), false).0, Destination::Unrelated);
    assert_eq!(route(&mut matching, &response("\"1\""), false), (Destination::Answer(1), response("\"1\"")));
    assert_eq!(route(&mut matching, &response("\"1\""), false).0, Destination::Stray);
    assert_eq!(route(&mut matching, &progress("\"ts\""), false).0, Destination::Unrelated);
    assert_eq!(route(&mut matching, &response("1"), false).0, Destination::Answer(0));
    assert_eq!(route(&mut matching, &response("2"), false).0, Destination::Answer(2));
    assert!(matching.is_empty());
}

#[test]
fn an_id_is_free_again_only_after_its_answer() {
    let mut matching = Matching::new(Naming::Kept);
    let first = begin(&mut matching, &call("1", None), 0).expect("a new id").ticket;
    assert_eq!(begin(&mut matching, &call("1", None), 1), Err(IdInUse));
    assert_eq!(route(&mut matching, &response("1"), false).0, Destination::Answer(0));
    let second = begin(&mut matching, &call("1", None), 2).expect("free again").ticket;
    assert_eq!(matching.end(&first), None, "the first one's end takes nothing from the second");
    assert_eq!(matching.end(&second), Some(2));
}

#[test]
fn clients_that_count_alike_are_kept_apart() {
    let mut matching = Matching::new(Naming::Unique);
    let begun: Vec<Begun> =
        (0..3).map(|post| begin(&mut matching, &call("1", Some("\"t\"")), post).expect("renamed")).collect();
    let names: Vec<String> = begun.iter().map(|begun| begun.ticket.id.to_json()).collect();
    assert_eq!(names.iter().collect::<std::collections::BTreeSet<_>>().len(), 3);
    for (begun, name) in begun.iter().zip(&names) {
        let sent = message(&begun.line);
        assert_eq!(sent.token.map(|spot| spot.id.to_json()).as_ref(), Some(name));
    }
    assert_eq!(route(&mut matching, &progress(&names[1]), false), (Destination::Related(1), progress("\"t\"")));
    assert_eq!(route(&mut matching, &response(&names[2]), false), (Destination::Answer(2), response("1")));
    assert_eq!(
        route(&mut matching, &response("1"), false).0,
        Destination::Stray,
        "the client's own id means nothing here"
    );
    assert_eq!(route(&mut matching, &progress("\"t\""), false).0, Destination::Unrelated);
}

#[test]
fn a_subscription_is_named_as_its_client_names_it() {
    let mut matching = Matching::new(Naming::Unique);
    let name = begin(&mut matching, &call("1", None), 0).expect("new").ticket.id.to_json();
    let meta = |id: &str| format!(r#"{{"_meta":{{"io.modelcontextprotocol/subscriptionId":{id}}}}}"#);
    let changed = |id: &str| format!(r#"{{"jsonrpc":"2.0","method":"notifications/x","params":{}}}"#, meta(id));
    let ended = |id: &str| format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{}}}"#, meta(id));
    assert_eq!(route(&mut matching, &changed(&name), false), (Destination::Related(0), changed("1")));
    assert_eq!(route(&mut matching, &ended(&name), false), (Destination::Answer(0), ended("1")));
}

#[test]
fn what_the_child_asks_goes_where_it_is_read() {
    let ask = r#"{"jsonrpc":"2.0","id":"c","method":"sampling/createMessage"}"#;
    let take_back = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
    let mut matching = Matching::new(Naming::Kept);
    assert_eq!(route(&mut matching, ask, true).0, Destination::Unrelated);
    begin(&mut matching, &call("1", None), 1).expect("new");
    assert_eq!(route(&mut matching, ask, true).0, Destination::Related(1), "there is no doubt");
    begin(&mut matching, &call("2", None), 2).expect("new");
    assert_eq!(route(&mut matching, ask, true).0, Destination::Unrelated);
    assert_eq!(route(&mut matching, ask, false).0, Destination::Related(2), "the newest, as nobody else listens");
    assert_eq!(route(&mut matching, take_back, false).0, Destination::Related(2), "its id is the child's own");
    let mut shared = Matching::new(Naming::Unique);
    begin(&mut shared, &call("1", None), 1).expect("new");
    assert_eq!(route(&mut shared, ask, false).0, Destination::Unrelated, "no client of several is asked");
}
