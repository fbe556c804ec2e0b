//! Tool definitions: lists, acceptance, and the approvals that accept.

use std::sync::Arc;

use holdpoint::domain::approval::{Approval, Command, SubjectKind};
use holdpoint::domain::audit::{Event, verify_to};
use holdpoint::domain::tools::{
    Acceptor, CalledTool, DefinitionDigest, ListedTool, Page, ShownDefinition, StandingName, Tool,
};
use holdpoint::domain::value::Value;
use holdpoint::store::Store;
use holdpoint::store::tools::{AcceptTool, Listed, ListedUpstream, Listing, ToolAccepted, ToolFilter};

use super::samples::{approve, at, call, change, create, kind, reject, told_about, trail};

fn entry(name: &str, description: &str) -> ListedTool {
    let members = [("name", name), ("description", description)];
    let members = members.iter().map(|(key, value)| ((*key).into(), Value::String((*value).into())));
    ListedTool::new(name, &Value::Object(members.collect()))
}

fn listing(upstream: &str, page: Page, tools: &[(&str, &str)]) -> Listing {
    let tools = tools.iter().map(|(name, description)| entry(name, description)).collect();
    Listing { upstream: upstream.to_owned(), page, tools, tools_max: 3 }
}

/// Lists what must be taken: the tools as they stand then, how many changed, whether the baseline is open.
async fn list(store: &Arc<dyn Store>, page: Page, tools: &[(&str, &str)], second: i64) -> (Vec<Tool>, usize, bool) {
    match store.list_tools(listing("mail", page, tools), at(second)).await.expect("answers") {
        Listed::Known { tools, changes, baseline_open } => (tools, changes, baseline_open),
        Listed::Full => panic!("there is room"),
    }
}

fn wanted(tool: &Tool, digest: DefinitionDigest) -> AcceptTool {
    let (upstream, name) = (tool.upstream.clone(), tool.name.clone());
    AcceptTool { upstream, name, digest, reviewer: "alice".to_owned() }
}

fn showing(mut approval: Approval, tool: &Tool, whole: bool) -> Approval {
    if let SubjectKind::Call(call) = &mut approval.subject.kind {
        call.upstream.clone_from(&tool.upstream);
        let shown = Some(ShownDefinition { digest: tool.current.digest, whole });
        call.tool = Some(CalledTool { name: tool.name.clone(), shown });
    }
    approval
}

async fn told(store: &Arc<dyn Store>) -> Vec<String> {
    let records = trail(store).await;
    verify_to(store.audit_head().await.expect("reads"), records.clone()).expect("the trail is intact");
    records.iter().map(kind).collect()
}

pub(super) async fn a_list_is_compared_written_and_told_in_one(store: Arc<dyn Store>) {
    assert_eq!(store.listed_upstreams().await.expect("reads"), []);
    let (first, changes, open) = list(&store, Page::WHOLE, &[("a", "x"), ("b", "x")], 1).await;
    assert_eq!((changes, open), (2, false));
    assert!(first.iter().all(|tool| tool.standing() == StandingName::Accepted));
    assert_eq!(told(&store).await, ["tool_defined", "tool_defined"]);
    let (_, changes, _) = list(&store, Page::WHOLE, &[("b", "x")], 2).await;
    assert_eq!((changes, told(&store).await.len()), (0, 2), "what is known is no news");

    let (second, changes, _) = list(&store, Page::WHOLE, &[("a", "y"), ("b", "x"), ("c", "x")], 3).await;
    let standing: Vec<_> = second.iter().map(Tool::standing).collect();
    assert_eq!((standing, changes), (vec![StandingName::Changed, StandingName::Accepted, StandingName::New], 2));
    assert_eq!(told(&store).await[2..], ["tool_changed", "tool_defined"]);
    assert_eq!(store.tool("mail".into(), "a".into()).await.expect("reads").as_ref(), Some(&second[0]));
    assert_eq!(second[0].accepted_before(), Some(&first[0].current));
    assert_eq!(store.tool("other".into(), "a".into()).await.expect("reads"), None);
    let event: Event = serde_json::from_str(&trail(&store).await[2].event).expect("an event");
    assert_eq!(event.detail["digest"], second[0].current.digest.to_string());
    assert_eq!(event.detail["before"], first[0].current.digest.to_string());

    // Beyond the limit nothing of a list is written, not even what would fit.
    let before = told(&store).await.len();
    let beyond = store.list_tools(listing("mail", Page::WHOLE, &[("a", "z"), ("d", "x")]), at(4)).await;
    assert_eq!(beyond.expect("answers"), Listed::Full);
    assert_eq!(store.tool("mail".into(), "a".into()).await.expect("reads").as_ref(), Some(&second[0]));
    assert_eq!(told(&store).await.len(), before);
    // The limit is each upstream's own.
    let other = store.list_tools(listing("other", Page::WHOLE, &[("a", "x")]), at(4)).await.expect("answers");
    assert!(matches!(other, Listed::Known { changes: 1, .. }));
}

pub(super) async fn a_baseline_is_open_until_the_first_list_was_read_to_its_end(store: Arc<dyn Store>) {
    let (first, next, last) = (
        Page { continues: false, more: true },
        Page { continues: true, more: true },
        Page { continues: true, more: false },
    );
    let known = async |open| {
        let upstream = ListedUpstream { name: "mail".to_owned(), baseline_open: open };
        assert_eq!(store.listed_upstreams().await.expect("reads"), [upstream]);
    };
    list(&store, first, &[("a", "x")], 1).await;
    known(true).await;
    let (tools, _, open) = list(&store, next, &[("b", "x")], 2).await;
    assert_eq!((tools[0].standing(), open), (StandingName::Accepted, true));
    let (_, _, open) = list(&store, last, &[], 3).await;
    assert!(!open);
    known(false).await;
    let (tools, ..) = list(&store, last, &[("c", "x")], 4).await;
    assert_eq!(tools[0].standing(), StandingName::New);
}

pub(super) async fn a_definition_is_accepted_once_and_only_while_it_is_current(store: Arc<dyn Store>) {
    list(&store, Page::WHOLE, &[("a", "x")], 1).await;
    let (tools, ..) = list(&store, Page::WHOLE, &[("a", "y")], 2).await;
    let accept = async |digest| store.accept_tool(wanted(&tools[0], digest), at(5)).await.expect("answers");
    let stale = entry("a", "x").definition.digest;
    assert_eq!(accept(stale).await, ToolAccepted::NotCurrent(tools[0].clone()));
    let ToolAccepted::Changed(accepted) = accept(tools[0].current.digest).await else { panic!("it is current") };
    let by = accepted.accepted_by().expect("somebody");
    assert_eq!((&by.who, by.at), (&Acceptor::Reviewer("alice".to_owned()), at(5)));
    assert_eq!(accept(tools[0].current.digest).await, ToolAccepted::Same(accepted.clone()));
    assert_eq!(store.tool("mail".into(), "a".into()).await.expect("reads"), Some(accepted));
    assert_eq!(told(&store).await, ["tool_defined", "tool_changed", "tool_accepted"]);
    let absent = AcceptTool { name: "absent".to_owned(), ..wanted(&tools[0], stale) };
    assert_eq!(store.accept_tool(absent, at(5)).await.expect("answers"), ToolAccepted::Missing);
}

pub(super) async fn approving_a_call_accepts_the_definition_that_it_showed_whole(store: Arc<dyn Store>) {
    list(&store, Page::WHOLE, &[("a", "x")], 1).await;
    let (tools, ..) = list(&store, Page::WHOLE, &[("a", "y")], 2).await;
    let standing = async || store.tool("mail".into(), "a".into()).await.expect("reads").expect("is there").standing();
    let decide = async |approval: Approval, command: Command| change(&store, approval.id, command, 4).await;

    let rejected = create(&store, showing(call(3), &tools[0], true)).await;
    decide(rejected, reject("alice")).await;
    let cut = create(&store, showing(call(3), &tools[0], false)).await;
    decide(cut, approve("alice")).await;
    assert_eq!(standing().await, StandingName::Changed, "a rejection, and what was not shown whole");

    // Parked under one definition, approved when another one stands.
    let late = create(&store, showing(call(3), &tools[0], true)).await;
    list(&store, Page::WHOLE, &[("a", "z")], 3).await;
    decide(late, approve("alice")).await;
    assert_eq!(standing().await, StandingName::Changed);

    let (tools, ..) = list(&store, Page::WHOLE, &[("a", "y")], 3).await;
    let shown = create(&store, showing(call(3), &tools[0], true)).await;
    let again = create(&store, showing(call(3), &tools[0], true)).await;
    decide(shown.clone(), approve("alice")).await;
    assert_eq!(standing().await, StandingName::Accepted);
    assert_eq!(told_about(&store, shown.id).await, ["approval_created", "approval_approved", "tool_accepted"]);
    decide(again.clone(), approve("bob")).await;
    assert_eq!(
        told_about(&store, again.id).await,
        ["approval_created", "approval_approved"],
        "it was accepted already"
    );
}

pub(super) async fn pages_of_tools_hold_everything_once_in_order(store: Arc<dyn Store>) {
    list(&store, Page::WHOLE, &[("b", "x"), ("a", "x")], 1).await;
    store.list_tools(listing("calendar", Page::WHOLE, &[("c", "x")]), at(1)).await.expect("answers");
    list(&store, Page::WHOLE, &[("b", "y"), ("d", "x")], 2).await;
    let read = async |filter: ToolFilter, after, limit| {
        let page = store.tools(filter, after, limit).await.expect("reads");
        let names: Vec<_> = page.tools.iter().map(|tool| format!("{}/{}", tool.upstream, tool.name)).collect();
        (names, page.next)
    };
    let (all, end) = read(ToolFilter::default(), None, 10).await;
    assert_eq!((all, end), (["calendar/c", "mail/a", "mail/b", "mail/d"].map(str::to_owned).to_vec(), None));
    let (first, next) = read(ToolFilter::default(), None, 3).await;
    assert_eq!((first.len(), next.clone()), (3, Some(("mail".to_owned(), "b".to_owned()))));
    assert_eq!(read(ToolFilter::default(), next, 3).await, (vec!["mail/d".to_owned()], None));
    let of =
        |standings: &[StandingName]| ToolFilter { upstream: Some("mail".to_owned()), standings: standings.to_vec() };
    assert_eq!(read(of(&[StandingName::Changed]), None, 9).await.0, ["mail/b"]);
    assert_eq!(read(of(&[StandingName::New, StandingName::Accepted]), None, 9).await.0, ["mail/a", "mail/d"]);
}

#[tokio::test]
async fn a_store_of_the_first_schema_is_brought_up_to_date_and_keeps_what_it_holds() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let path = folder.path().join("holdpoint.db");
    let store = super::sqlite::open(&path);
    let parked = create(&store, call(0)).await;
    drop(store);
    let raw = rusqlite::Connection::open(&path).expect("opens");
    let back = "DROP TABLE tools; DROP TABLE tool_upstreams; DROP INDEX requests_sealed_by; \
                DROP INDEX results_sealed_by; PRAGMA user_version = 1;";
    raw.execute_batch(back).expect("is as the first version left it");
    drop(raw);
    let store = super::sqlite::open(&path);
    assert_eq!(store.approval(parked.id).await.expect("reads"), Some(parked));
    let (tools, ..) = list(&store, Page::WHOLE, &[("a", "x")], 1).await;
    drop(store);
    let store = super::sqlite::open(&path);
    assert_eq!(store.tool("mail".into(), "a".into()).await.expect("reads").as_ref(), tools.first());
}

#[tokio::test]
async fn the_schema_lets_nobody_forget_a_tool_or_turn_it_back() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let path = folder.path().join("holdpoint.db");
    let store = super::sqlite::open(&path);
    list(&store, Page::WHOLE, &[("a", "x")], 1).await;
    list(&store, Page::WHOLE, &[("a", "y")], 2).await;
    drop(store);
    let raw = rusqlite::Connection::open(&path).expect("opens");
    for (forged, why) in [
        ("DELETE FROM tools", "tools are kept"),
        ("UPDATE tools SET version = 0", "forward only"),
        ("UPDATE tools SET name = 'b', version = version + 1", "forward only"),
        ("UPDATE tools SET standing = 'trusted', version = version + 1", "CHECK"),
    ] {
        let refused = raw.execute(forged, []).expect_err(forged).to_string();
        assert!(refused.contains(why), "{forged}: {refused}");
    }
    // A forged acceptance disagrees with the body beside it, and is not served.
    raw.execute("UPDATE tools SET standing = 'accepted', version = version + 1", [])
        .expect("the schema alone cannot know");
    drop(raw);
    let store = super::sqlite::open(&path);
    assert!(store.tool("mail".into(), "a".into()).await.is_err());
}
