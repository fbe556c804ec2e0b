use super::*;

#[tokio::test]
async fn a_child_that_crashes_in_a_call_is_lost_and_its_session_with_it() {
    let rig = Rig::new(&options(&[]));
    let id = rig.session().await;
    assert_eq!(lost(rig.send(post(&id, &call(1, "crash"))).await), LostReason::ClosedEarly);
    assert_eq!(rig.answer(post(&id, &call(2, "pid"))).await.status(), 404);
    let next = rig.session().await;
    assert!(!rig.call(&next, "pid").await.is_empty());
    rig.end().await;
}

#[tokio::test]
async fn a_child_that_crashes_in_the_middle_of_a_stream_breaks_it() {
    let rig = Rig::new(&options(&[]));
    let id = rig.session().await;
    let mut stream = rig.answer(post(&id, &call(1, "progress_then_crash"))).await;
    assert_eq!(stream.event().await["params"]["progress"], 1);
    let end = tokio::time::timeout(SOON, stream.0.body_mut().frame()).await.expect("in time");
    end.expect("not the end of the stream").expect_err("the answer is missing");
    rig.end().await;
}

#[tokio::test]
async fn a_program_that_cannot_start_was_sent_nothing() {
    let mut broken = options(&[]);
    broken.command.program = PathBuf::from("/nonexistent/program");
    let rig = Rig::new(&broken);
    assert_eq!(not_sent(rig.send(initialize()).await), NotSentReason::Start);
    assert_eq!(not_sent(rig.send(modern(&call(1, "pid"))).await), NotSentReason::Start);
    rig.end().await;
}

#[tokio::test]
async fn one_child_more_than_may_be_is_refused_until_another_has_ended() {
    let rig = Rig::new(&ProgramOptions { children_max: 2, ..options(&[]) });
    let sessions = (rig.session().await, rig.session().await);
    assert_eq!(not_sent(rig.send(initialize()).await), NotSentReason::ChildrenMax);
    assert_eq!(not_sent(rig.send(modern(&call(1, "pid"))).await), NotSentReason::ChildrenMax);
    let delete = request(Method::DELETE, &[("mcp-session-id", &sessions.0)], "");
    assert_eq!(rig.answer(delete).await.status(), 204);
    let third = rig.session().await;
    assert!(!rig.call(&third, "pid").await.is_empty());
    rig.end().await;
}

#[tokio::test]
async fn a_child_with_nothing_to_do_is_ended_and_one_that_is_listened_to_is_not() {
    let rig = Rig::new(&ProgramOptions { idle_timeout: Duration::from_millis(700), ..options(&[]) });
    let (idle, listened) = (rig.session().await, rig.session().await);
    let pids = (rig.call(&idle, "pid").await, rig.call(&listened, "pid").await);
    let listening = rig.answer(get(&listened)).await;
    until("the idle child ends", || !runs(&pids.0)).await;
    assert_eq!(rig.answer(post(&idle, &call(1, "pid"))).await.status(), 404);
    assert_eq!(rig.call(&listened, "pid").await, pids.1);
    drop(listening);
    until("the other one ends as well", || !runs(&pids.1)).await;
    rig.end().await;
}

#[tokio::test]
async fn a_flood_on_standard_output_costs_its_oldest_messages_and_stalls_nobody() {
    let rig = Rig::new(&options(&[]));
    let (flooding, other) = (rig.session().await, rig.session().await);
    let flood = rig.call(&flooding, "flood");
    let (said, answered) = tokio::join!(flood, rig.call(&other, "echo"));
    assert_eq!((said.as_str(), answered.as_str()), ("flooded", "{}"));
    let mut listening = rig.answer(get(&flooding)).await;
    let oldest = listening.event().await["params"]["data"].as_str().expect("text").to_owned();
    let number: usize = oldest.split(' ').next().and_then(|digits| digits.parse().ok()).expect("a number");
    // Twenty thousand were said; what is kept is bounded by number and by bytes.
    assert!(number >= 20_000 - mailbox::QUEUED_MESSAGES_MAX, "{number}");
    rig.end().await;
}

#[tokio::test]
async fn a_flood_on_standard_error_is_read_to_its_end() {
    let rig = Rig::new(&options(&[]));
    let id = rig.session().await;
    assert_eq!(rig.call(&id, "flood_stderr").await, "complained");
    assert_eq!(rig.call(&id, "echo").await, "{}");
    rig.end().await;
}

#[tokio::test]
async fn an_answer_over_the_limit_is_lost_at_once_and_the_child_goes_on() {
    let rig = Rig::new(&ProgramOptions { line_bytes_max: 64 * 1024, ..options(&[]) });
    let id = rig.session().await;
    let mut long = call(1, "long");
    long["params"]["arguments"]["bytes"] = 100_000.into();
    assert_eq!(lost(rig.send(post(&id, &long)).await), LostReason::TooLong);
    long["params"]["arguments"]["bytes"] = 50_000.into();
    assert_eq!(rig.answer(post(&id, &long)).await.text().await.len(), 50_000);
    long["params"]["arguments"]["filler"] = "x".repeat(100_000).into();
    assert_eq!(rig.answer(post(&id, &long)).await.status(), 413);
    rig.end().await;
}

#[tokio::test]
async fn lines_that_are_no_messages_are_passed_over() {
    let rig = Rig::new(&options(&[]));
    let id = rig.session().await;
    assert_eq!(rig.call(&id, "noise").await, "heard");
    rig.end().await;
}

#[tokio::test]
async fn what_a_child_never_began_to_read_is_told_apart_from_what_it_may_have_read() {
    let rig = Rig::new(&options(&[]));
    let id = rig.session().await;
    assert_eq!(rig.call(&id, "deaf").await, "deaf");
    // More than a pipe holds: it is begun and never whole.
    let mut long = call(2, "echo");
    long["params"]["arguments"]["filler"] = "x".repeat(1_000_000).into();
    let begun = rig.program.send(post(&id, &long), Duration::from_secs(2));
    let behind = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        rig.program.send(post(&id, &call(3, "echo")), Duration::from_millis(500)).await.map(Answer)
    };
    let (begun, behind) = tokio::join!(begun, behind);
    assert!(matches!(begun, Err(SendError::TimedOut)), "{begun:?}");
    assert_eq!(not_sent(behind), NotSentReason::TimedOut);
    rig.end().await;
}

#[tokio::test]
async fn a_child_knows_its_own_environment_and_folder_and_no_other() {
    let mut options = options(&[("SECRET", "s3cr3t")]);
    let folder = tempfile::tempdir().expect("a folder");
    options.command.folder = folder.path().canonicalize().expect("a path");
    assert!(!format!("{options:?}").contains("s3cr3t"));
    let rig = Rig::new(&options);
    let id = rig.session().await;
    let known: Value = serde_json::from_str(&rig.call(&id, "environment").await).expect("JSON");
    let mut names: Vec<&str> = known.as_object().expect("an object").keys().map(String::as_str).collect();
    names.retain(|name| *name != "LC_CTYPE");
    names.sort_unstable();
    assert_eq!(names, ["PATH", "SECRET"], "Python adds `LC_CTYPE` by itself");
    assert_eq!(rig.call(&id, "folder").await, options.command.folder.display().to_string());
    rig.end().await;
}

#[tokio::test]
async fn what_a_child_started_ends_with_it() {
    let rig = Rig::new(&options(&[]));
    let id = rig.session().await;
    let grandchild = rig.call(&id, "grandchild").await;
    assert!(runs(&grandchild));
    assert_eq!(lost(rig.send(post(&id, &call(1, "crash"))).await), LostReason::ClosedEarly);
    until("the grandchild ends", || !runs(&grandchild)).await;
    rig.end().await;
}

#[tokio::test]
async fn a_child_that_ignores_every_request_to_end_is_killed() {
    let rig = Rig::new(&options(&[]));
    let id = rig.session().await;
    let pid = rig.call(&id, "stubborn").await;
    rig.end().await;
    assert!(!runs(&pid));
}

#[tokio::test]
async fn going_down_waits_for_the_answer_under_way() {
    let rig = Rig::new(&options(&[]));
    let id = rig.session().await;
    let mut stream = rig.answer(post(&id, &call(1, "ask"))).await;
    let asked = stream.event().await;
    rig.drain.cancel();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let reply = json!({"jsonrpc": "2.0", "id": asked["id"], "result": {}});
    assert_eq!(rig.answer(post(&id, &reply)).await.status(), 202);
    assert_eq!(stream.event().await["id"], 1);
    drop(stream);
    rig.end().await;
}

#[tokio::test]
async fn a_program_that_did_not_change_outlives_a_reload_and_one_that_did_or_is_gone_ends() {
    let (tracker, drain) = (TaskTracker::new(), CancellationToken::new());
    let programs = Programs::new(tracker.clone(), drain.clone());
    let rig = Rig { program: programs.program("tools", &options(&[])), tracker, drain };
    let id = rig.session().await;
    let pid = rig.call(&id, "pid").await;
    let same = Rig {
        program: programs.program("tools", &options(&[])),
        tracker: rig.tracker.clone(),
        drain: rig.drain.clone(),
    };
    programs.retain(&["tools"]);
    assert_eq!(same.call(&id, "pid").await, pid);
    let other = programs.program("tools", &options(&[("NEW", "1")]));
    let other = Rig { program: other, tracker: rig.tracker.clone(), drain: rig.drain.clone() };
    until("the replaced one ends", || !runs(&pid)).await;
    let next = other.session().await;
    let pid = other.call(&next, "pid").await;
    programs.retain(&[]);
    until("the removed one ends", || !runs(&pid)).await;
    rig.end().await;
}
