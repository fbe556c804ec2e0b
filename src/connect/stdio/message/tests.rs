use super::*;

fn read(text: &str) -> Message {
    Message::read(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn id_of(text: &str) -> Option<Id> {
    match read(text).kind {
        Kind::Request { id, .. } => Some(id.id),
        Kind::Response { id, .. } => id.map(|spot| spot.id),
        Kind::Notification { .. } => None,
    }
}

#[test]
fn each_kind_is_told_by_what_it_holds() {
    let kind = |rest: &str| read(&format!(r#"{{"jsonrpc":"2.0",{rest}}}"#)).kind;
    assert!(matches!(kind(r#""id":1,"method":"a""#), Kind::Request { method, .. } if method == "a"));
    assert_eq!(kind(r#""method":"a""#), Kind::Notification { method: "a".to_owned() });
    assert!(matches!(kind(r#""id":1,"result":null"#), Kind::Response { id: Some(_), error: None }));
    assert!(matches!(kind(r#""id":1,"error":{"code":-5}"#), Kind::Response { id: Some(_), error: Some(-5) }));
    assert!(matches!(kind(r#""id":null,"error":{"code":-5}"#), Kind::Response { id: None, error: Some(-5) }));
}

#[test]
fn numbers_and_texts_are_different_ids() {
    let request = |id: &str| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"a"}}"#);
    assert_ne!(id_of(&request("1")), id_of(&request("\"1\"")));
    assert_eq!(id_of(&request(r#""\u0061""#)), id_of(&request("\"a\"")));
    assert_eq!(id_of(&request("-12")), Some(Id::Number("-12".into())));
    for id in ["\"a\\\"b\\u0000\"", "123456789012345678901234567890", "-1"] {
        let text = id_of(&request(id)).expect("an id").to_json();
        assert_eq!(id_of(&request(&text)), id_of(&request(id)), "{id}");
    }
    for id in ["1.5", "1e2", "null", "true", "{}", "[1]"] {
        assert!(Message::read(request(id).as_bytes()).is_err(), "{id}");
    }
}

#[test]
fn what_is_no_single_message_is_refused() {
    for (text, expected) in [
        ("", Malformed::NotJson),
        ("{", Malformed::NotJson),
        ("hello", Malformed::NotJson),
        (r#"{"jsonrpc":"2.0","method":"a"} {}"#, Malformed::NotJson),
        ("[]", Malformed::Batch),
        (r#" [{"jsonrpc":"2.0","method":"a"}]"#, Malformed::Batch),
    ] {
        assert_eq!(Message::read(text.as_bytes()), Err(expected), "{text}");
    }
    assert_eq!(Message::read(b"{\"jsonrpc\":\"2.0\",\"method\":\"\xff\"}"), Err(Malformed::NotJson));
    for text in [
        r#"{"jsonrpc":"1.0","method":"a"}"#,
        r#"{"method":"a"}"#,
        r#"{"jsonrpc":"2.0"}"#,
        r#"{"jsonrpc":"2.0","id":1}"#,
        r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"a"}"#,
        r#"{"jsonrpc":"2.0","method":"a","method":"b"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"a","result":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"a","params":{"_meta":{"progressToken":1,"progressToken":2}}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"a","params":{"_meta":{"progressToken":1.5}}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"a","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":1}}}"#,
    ] {
        assert!(matches!(Message::read(text.as_bytes()), Err(Malformed::Shape(_))), "{text}");
    }
}

#[test]
fn a_message_becomes_one_line_that_means_the_same() {
    let message = read("{\r\n  \"jsonrpc\": \"2.0\",\n  \"method\": \"a\",\n \"params\": {\"x\": \"a\\nb\"}\n}\n");
    assert!(!message.line.contains(['\r', '\n']), "{}", message.line);
    let value: serde_json::Value = serde_json::from_str(&message.line).expect("JSON");
    assert_eq!(value["params"]["x"], "a\nb");
}

#[test]
fn ids_and_tokens_are_exchanged_and_every_other_byte_stays() {
    let text = r#"{ "id" : 7,"jsonrpc":"2.0","method":"a","params":{"x":[1e400, 7,"7"],"_meta":{"progressToken" :"7" , "y":1}}}"#;
    let message = read(text);
    let Kind::Request { id, .. } = &message.kind else { panic!("{message:?}") };
    let token = message.token.as_ref().expect("a token");
    let sent = message.exchanged(vec![(&token.at, "\"t\"".to_owned()), (&id.at, "\"i\"".to_owned())]);
    let expected =
        text.replace(r#""id" : 7"#, r#""id" : "i""#).replace(r#""progressToken" :"7""#, r#""progressToken" :"t""#);
    assert_eq!(sent, expected);
}

#[test]
fn only_members_that_speak_of_a_request_are_mentions() {
    let mentions = |text: &str| read(text).mentions.into_iter().map(|(kind, spot)| (kind, spot.id)).collect::<Vec<_>>();
    let one = Id::Number("1".into());
    let progress = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"requestId":2}}"#;
    assert_eq!(mentions(progress), [(Mention::Token, one.clone())]);
    let cancelled =
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"progressToken":2,"requestId":1}}"#;
    assert_eq!(mentions(cancelled), [(Mention::Request, one.clone())]);
    let other = r#"{"jsonrpc":"2.0","method":"notifications/x","params":{"progressToken":2,"requestId":1}}"#;
    assert_eq!(mentions(other), []);
    let subscribed = r#"{"jsonrpc":"2.0","id":5,"result":{"_meta":{"io.modelcontextprotocol/subscriptionId":1}}}"#;
    assert_eq!(mentions(subscribed), [(Mention::Request, one)]);
}

#[test]
fn the_answer_to_whom_shows_in_the_beginning_of_a_long_line() {
    let one = Some(Id::Number("1".into()));
    assert_eq!(answered_by(br#"{"jsonrpc":"2.0","id":1,"result":{"content":"xxxx"#), one);
    assert_eq!(answered_by(br#"{"id":1,"error":{"#), one);
    assert_eq!(answered_by(br#"{"jsonrpc":"2.0","id":1,"method":"a","params":{"x"#), None);
    assert_eq!(answered_by(br#"{"jsonrpc":"2.0","result":{"id":1,"content":"xxxx"#), None);
    assert_eq!(answered_by(b"\xff\xff"), None);
    assert_eq!(answered_by(b""), None);
}
