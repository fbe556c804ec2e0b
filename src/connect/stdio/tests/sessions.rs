use super::*;

#[tokio::test]
async fn a_session_has_a_child_of_its_own_until_it_is_deleted() {
    let rig = Rig::new(&options(&[]));
    let (one, two) = (rig.session().await, rig.session().await);
    assert!(one.len() >= 32 && one.bytes().all(|byte| byte.is_ascii_hexdigit()) && one != two, "{one} {two}");
    let (pid_one, pid_two) = (rig.call(&one, "pid").await, rig.call(&two, "pid").await);
    assert_ne!(pid_one, pid_two);
    assert_eq!(rig.call(&one, "pid").await, pid_one);
    let delete = |id: &str| request(Method::DELETE, &[("mcp-session-id", id)], "");
    assert_eq!(rig.answer(delete(&one)).await.status(), 204);
    for gone in [delete(&one), post(&one, &call(1, "pid")), get(&one)] {
        assert_eq!(rig.answer(gone).await.status(), 404);
    }
    until("the child ends", || !runs(&pid_one)).await;
    assert!(runs(&pid_two), "the other session is untouched");
    assert_eq!(rig.call(&two, "pid").await, pid_two);
    rig.end().await;
    assert!(!runs(&pid_two));
}

#[tokio::test]
async fn requests_that_fit_no_session_are_refused_as_the_protocol_says() {
    let rig = Rig::new(&options(&[]));
    let id = rig.session().await;
    let body = call(1, "pid").to_string();
    let with = |headers: &[(&str, &str)]| request(Method::POST, headers, &body);
    let cases = [
        (with(&[("accept", BOTH)]), 400),
        (with(&[("accept", BOTH), ("mcp-session-id", "0000")]), 404),
        (with(&[("accept", BOTH), ("mcp-session-id", &id), ("mcp-session-id", &id)]), 400),
        (with(&[("accept", BOTH), ("mcp-session-id", &id), ("mcp-protocol-version", "1999-01-01")]), 400),
        (with(&[("accept", BOTH), ("mcp-session-id", &id), ("mcp-protocol-version", "2025-11-25")]), 200),
        (with(&[("accept", "application/json"), ("mcp-session-id", &id)]), 406),
        (with(&[("accept", "text/*;q=0.5, */*"), ("mcp-session-id", &id)]), 200),
        (with(&[("mcp-session-id", &id)]), 200),
        (request(Method::POST, &[("mcp-session-id", &id)], "[]"), 400),
        (request(Method::POST, &[("mcp-session-id", &id)], "{"), 400),
        (request(Method::PUT, &[("mcp-session-id", &id)], &body), 405),
        (request(Method::GET, &[("accept", "application/json"), ("mcp-session-id", &id)], ""), 406),
        (request(Method::GET, &[("accept", "text/event-stream")], ""), 400),
        (request(Method::GET, &[("mcp-protocol-version", MODERN)], ""), 405),
        (request(Method::DELETE, &[("mcp-protocol-version", MODERN)], ""), 405),
    ];
    for (index, (request, status)) in cases.into_iter().enumerate() {
        assert_eq!(rig.answer(request).await.status(), status, "case {index}");
    }
    let mut twice = initialize();
    twice.headers_mut().insert("mcp-session-id", id.parse().expect("a header"));
    assert_eq!(rig.answer(twice).await.status(), 400);
    let mut elsewhere = initialize();
    *elsewhere.uri_mut() = "http://localhost/other".parse().expect("a URI");
    assert_eq!(rig.answer(elsewhere).await.status(), 404);
    rig.end().await;
}

#[tokio::test]
async fn an_answer_that_comes_alone_is_json_and_one_after_progress_is_the_end_of_a_stream() {
    let rig = Rig::new(&options(&[]));
    let id = rig.session().await;
    let plain = rig.answer(post(&id, &call("a", "echo"))).await;
    assert_eq!(plain.kind(), "application/json");
    assert_eq!(plain.json().await.1["id"], "a");
    let events = rig.answer(post(&id, &call(7, "progress"))).await.events().await;
    let told: Vec<_> = events.iter().map(|event| (&event["params"]["progress"], &event["id"])).collect();
    assert_eq!(told, [(&json!(1), &Value::Null), (&json!(2), &Value::Null), (&Value::Null, &json!(7))]);
    assert!(events[..2].iter().all(|event| event["params"]["progressToken"] == "token of 7"), "{events:?}");
    rig.end().await;
}

#[tokio::test]
async fn what_the_child_asks_reaches_the_client_and_the_reply_the_child() {
    let rig = Rig::new(&options(&[]));
    let id = rig.session().await;
    let mut stream = rig.answer(post(&id, &call(1, "ask"))).await;
    let asked = stream.event().await;
    assert_eq!(asked["method"], "sampling/createMessage");
    let reply = json!({"jsonrpc": "2.0", "id": asked["id"], "result": {"said": "so"}});
    assert_eq!(rig.answer(post(&id, &reply)).await.status(), 202);
    assert_eq!(stream.event().await["result"]["content"][0]["text"], r#"{"said": "so"}"#);
    rig.end().await;
}

#[tokio::test]
async fn what_belongs_to_no_request_goes_to_the_one_who_listens() {
    let rig = Rig::new(&options(&[]));
    let id = rig.session().await;
    assert_eq!(rig.call(&id, "log").await, "logged");
    let mut listening = rig.answer(get(&id)).await;
    assert_eq!(listening.event().await["params"]["data"], "unrelated", "it waited");
    assert_eq!(rig.answer(get(&id)).await.status(), 409);
    assert_eq!(rig.call(&id, "log").await, "logged");
    assert_eq!(listening.event().await["params"]["data"], "unrelated");
    drop(listening);
    assert_eq!(rig.answer(get(&id)).await.status(), 200, "the place is free again");
    rig.end().await;
}

#[tokio::test]
async fn the_child_reads_the_clients_bytes_in_one_line() {
    let rig = Rig::new(&options(&[]));
    let id = rig.session().await;
    let odd = "{ \"jsonrpc\":\"2.0\",\n \"id\" : 5, \"method\":\"tools/call\",\"params\":{\"name\":\"seen\", \"n\":1.00e2,\"s\":\"\\u00e9\"}}";
    let request = request(Method::POST, &[("mcp-session-id", &id)], odd);
    let seen: Vec<String> = serde_json::from_str(&rig.answer(request).await.text().await).expect("a list");
    assert_eq!(seen.last(), Some(&odd.replace('\n', " ")));
    rig.end().await;
}

#[tokio::test]
async fn an_id_that_is_in_use_is_refused_and_its_number_and_text_are_two() {
    let rig = Rig::new(&options(&[]));
    let id = rig.session().await;
    let waiting = rig.program.send(post(&id, &call(1, "silent")), Duration::from_secs(2));
    let others = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let again = rig.answer(post(&id, &call(1, "pid"))).await.status();
        let text = rig.answer(post(&id, &call("1", "pid"))).await.status();
        (again.as_u16(), text.as_u16())
    };
    let (waited, statuses) = tokio::join!(waiting, others);
    assert!(matches!(waited, Err(SendError::TimedOut)), "it was read: {waited:?}");
    assert_eq!(statuses, (400, 200));
    assert!(!rig.call(&id, "pid").await.is_empty(), "the id is free once nobody waits");
    rig.end().await;
}

#[tokio::test]
async fn leaving_a_call_tells_the_child_of_a_session_nothing() {
    let rig = Rig::new(&options(&[]));
    let id = rig.session().await;
    let left = rig.program.send(post(&id, &call(1, "silent")), Duration::from_millis(300)).await;
    assert!(matches!(left, Err(SendError::TimedOut)), "{left:?}");
    assert!(!rig.call(&id, "seen").await.contains("cancelled"));
    rig.end().await;
}

#[tokio::test]
async fn a_child_that_refuses_to_begin_leaves_no_session_behind() {
    let rig = Rig::new(&ProgramOptions { children_max: 1, ..options(&[("REFUSES", "1")]) });
    for _ in 0..2 {
        let answer = rig.answer(initialize()).await;
        assert!(!answer.0.headers().contains_key("mcp-session-id"));
        assert_eq!(answer.json().await.1["error"]["message"], "refused");
    }
    rig.end().await;
}
