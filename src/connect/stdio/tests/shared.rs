use super::*;

fn discover() -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {"_meta": {}}})
}

#[tokio::test]
async fn clients_that_count_alike_share_a_child_and_get_their_own_answers() {
    let rig = Rig::new(&options(&[]));
    let pid = rig.answer(modern(&call(1, "pid"))).await.text().await;
    let calls = (0..20).map(|number| {
        let mut message = call(1, if number % 2 == 0 { "progress" } else { "echo" });
        message["params"]["arguments"]["number"] = number.into();
        let rig = &rig;
        async move { (number, rig.answer(modern(&message)).await) }
    });
    for (number, answer) in futures_util::future::join_all(calls).await {
        if number % 2 == 0 {
            let events = answer.events().await;
            assert_eq!(events.len(), 3, "{events:?}");
            assert!(events[..2].iter().all(|event| event["params"]["progressToken"] == "token of 1"), "{events:?}");
            assert_eq!(events[2]["id"], 1);
        } else {
            let value = answer.json().await.1;
            assert_eq!(value["id"], 1);
            let text = value["result"]["content"][0]["text"].as_str().expect("text").to_owned();
            assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON")["number"], number);
        }
    }
    assert_eq!(rig.answer(modern(&call(1, "pid"))).await.text().await, pid);
    let told = rig.answer(modern(&call("s", "subscribe"))).await.events().await;
    let named = |meta: &Value| meta["_meta"]["io.modelcontextprotocol/subscriptionId"].clone();
    assert_eq!((named(&told[0]["params"]), named(&told[1]["result"])), ("s".into(), "s".into()), "{told:?}");
    rig.end().await;
}

#[tokio::test]
async fn leaving_a_call_cancels_that_one_and_no_other() {
    let rig = Rig::new(&options(&[]));
    let left = rig.program.send(modern(&call(1, "silent")), Duration::from_millis(500)).await;
    assert!(matches!(left, Err(SendError::TimedOut)), "{left:?}");
    let seen: Vec<String> =
        serde_json::from_str(&rig.answer(modern(&call(1, "seen"))).await.text().await).expect("a list");
    let seen: Vec<Value> = seen.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(seen.len(), 3, "{seen:?}");
    assert_eq!(seen[1]["method"], "notifications/cancelled");
    assert_eq!(seen[1]["params"]["requestId"], seen[0]["id"]);
    assert_ne!(seen[1]["params"]["requestId"], seen[2]["id"]);
    rig.end().await;
}

#[tokio::test]
async fn only_requests_that_name_their_revision_twice_alike_are_taken() {
    let rig = Rig::new(&options(&[]));
    let mut other = modern(&call(1, "pid"));
    other.headers_mut().insert("mcp-protocol-version", "2025-11-25".parse().expect("a header"));
    let (status, value) = rig.answer(other).await.json().await;
    assert_eq!((status, &value["error"]["code"]), (400, &json!(-32020)));
    let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}});
    let result = json!({"jsonrpc": "2.0", "id": 1, "result": {}});
    for message in [cancel, result] {
        let answer = rig.answer(modern(&message)).await;
        assert_eq!(answer.status(), 400, "{message}");
    }
    rig.end().await;
}

#[tokio::test]
async fn no_client_of_a_shared_child_is_asked_anything_and_the_child_is_told_so() {
    let rig = Rig::new(&options(&[]));
    let text = rig.answer(modern(&call(1, "ask"))).await.text().await;
    assert!(text.contains("-32601"), "{text}");
    rig.end().await;
}

#[tokio::test]
async fn a_program_that_speaks_the_revision_answers_the_probe_itself() {
    let rig = Rig::new(&options(&[("MODERN", "1")]));
    let (status, value) = rig.answer(modern(&discover())).await.json().await;
    assert_eq!((status, &value["result"]["resultType"]), (200, &json!("complete")));
    let unknown = json!({"jsonrpc": "2.0", "id": 1, "method": "no/such", "params": {"_meta": {}}});
    assert_eq!(rig.answer(modern(&unknown)).await.status(), 404);
    rig.end().await;
}

#[tokio::test]
async fn a_program_of_older_revisions_fails_the_probe_and_takes_sessions() {
    for kind in ["0", "dies", "mute"] {
        let rig = Rig::new(&options(&[("MODERN", kind)]));
        for _ in 0..2 {
            let (status, value) = rig.answer(modern(&discover())).await.json().await;
            assert_eq!((status, &value["error"]["code"]), (404, &json!(-32601)), "{kind}");
        }
        let session = rig.session().await;
        assert!(!rig.call(&session, "pid").await.is_empty());
        rig.end().await;
    }
}

#[tokio::test]
async fn a_shared_child_that_crashed_is_started_again_after_a_pause() {
    let rig = Rig::new(&options(&[]));
    let first = rig.answer(modern(&call(1, "pid"))).await.text().await;
    assert_eq!(lost(rig.send(modern(&call(1, "crash"))).await), LostReason::ClosedEarly);
    let second = rig.answer(modern(&call(1, "pid"))).await.text().await;
    assert_ne!(first, second);
    // The pause doubles; soon it is longer than a request waits for.
    assert_eq!(lost(rig.send(modern(&call(1, "crash"))).await), LostReason::ClosedEarly);
    _ = rig.send(modern(&call(1, "crash"))).await;
    assert_eq!(not_sent(rig.send(modern(&call(1, "pid"))).await), NotSentReason::Restarting);
    rig.end().await;
}
