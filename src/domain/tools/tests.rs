//! Digests, standing, diffs.

use super::diff::{CHANGES_MAX, Part, SHOWN_CHARACTERS_MAX, ShownValue, diff};
use super::*;
use crate::domain::audit::{Actor, EventKind};
use crate::domain::time::Timestamp;
use crate::domain::value::{Number, Value};

fn text(text: &str) -> Value<'_> {
    Value::String(text.into())
}

fn object<'a>(members: &[(&'a str, Value<'a>)]) -> Value<'a> {
    Value::Object(members.iter().map(|(key, value)| ((*key).into(), value.clone())).collect())
}

fn definition<'a>(description: &'a str, schema: Value<'a>) -> Value<'a> {
    object(&[("name", text("send_mail")), ("description", text(description)), ("inputSchema", schema)])
}

fn listing(entry: &Value<'_>) -> ListedTool {
    ListedTool::new("send_mail", entry)
}

fn digest(entry: &Value<'_>) -> DefinitionDigest {
    listing(entry).definition.digest
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_millis(second * 1000)
}

#[test]
fn a_digest_covers_every_member_but_what_no_model_is_told_and_no_order_of_keys() {
    let string = || object(&[("type", text("string"))]);
    let base =
        definition("Sends a mail.", object(&[("type", text("object")), ("properties", object(&[("to", string())]))]));
    let Value::Object(members) = &base else { panic!("an object") };
    let turned = Value::Object(members.iter().rev().cloned().collect());
    assert_eq!(digest(&base), digest(&turned));
    let with = |key: &'static str, value: Value<'static>| {
        let mut members = members.clone();
        members.push((key.into(), value));
        digest(&Value::Object(members))
    };
    for left_out in LEFT_OUT {
        assert_eq!(with(left_out, text("x")), digest(&base), "{left_out}");
    }
    for counted in ["title", "annotations", "outputSchema", "execution", "x-unknown", "Icons"] {
        assert_ne!(with(counted, text("x")), digest(&base), "{counted}");
    }
    let property =
        |name: &'static str| definition("Sends a mail.", object(&[("properties", object(&[(name, string())]))]));
    assert_ne!(digest(&property("icons")), digest(&property("_meta")), "a schema's own properties count");
    let list = |first, second| definition("x", object(&[("required", Value::Array(vec![text(first), text(second)]))]));
    assert_ne!(digest(&list("a", "b")), digest(&list("b", "a")), "the order of arrays counts");
    let number = |digits| definition("x", object(&[("maximum", Value::Number(Number::from_checked(digits)))]));
    assert_ne!(digest(&number("9007199254740993")), digest(&number("9007199254740992")));
}

#[test]
fn what_is_too_large_to_keep_is_kept_by_its_digest_and_a_beginning_that_says_so() {
    let long = "é".repeat(DEFINITION_BYTES_MAX);
    let (small, large) = (listing(&definition("é", Value::Null)), listing(&definition(&long, Value::Null)));
    assert!(small.definition.is_whole() && !large.definition.is_whole());
    assert!(large.definition.text.len() <= PREVIEW_BYTES && large.definition.text.len() > PREVIEW_BYTES - 4);
    assert!(large.definition.bytes > 2 * DEFINITION_BYTES_MAX as u64);
    let other = listing(&definition(&format!("{long}x"), Value::Null));
    assert_eq!(large.definition.text, other.definition.text);
    assert_ne!(large.definition.digest, other.definition.digest);
    let part = |definition: &'_ Definition| (definition.text.clone(), definition.bytes);
    let ((before, before_bytes), (after, after_bytes)) = (part(&large.definition), part(&other.definition));
    let diff = diff::Diff::of_parts(
        Some(Part { text: &before, bytes: before_bytes, is_whole: false }),
        Part { text: &after, bytes: after_bytes, is_whole: false },
    );
    assert!(!diff.is_whole());
    let hidden = diff.changes[0].after.as_ref().expect("it is there").more_characters;
    assert!(hidden > DEFINITION_BYTES_MAX, "{hidden}");
}

#[test]
fn the_first_list_is_the_baseline_and_later_definitions_stand_until_somebody_accepts_them() {
    let entry = |description| listing(&definition(description, Value::Null));
    let (tool, event) = listed(None, "mail", &entry("one"), true, at(1)).expect("news");
    assert_eq!(
        (tool.standing(), event.kind, &event.actor),
        (StandingName::Accepted, EventKind::ToolDefined, &Actor::Gateway)
    );
    assert_eq!(tool.accepted_by().map(|by| &by.who), Some(&Acceptor::Baseline));
    assert_eq!(listed(Some(&tool), "mail", &entry("one"), false, at(2)), None, "removed and returned unchanged");

    let (changed, event) = listed(Some(&tool), "mail", &entry("two"), false, at(3)).expect("news");
    assert_eq!((changed.standing(), changed.version, event.kind), (StandingName::Changed, 1, EventKind::ToolChanged));
    assert_eq!(changed.accepted_before(), Some(&tool.current));
    assert_eq!((changed.first_seen, changed.changed_at), (at(1), at(3)));
    // During the baseline as well: a definition that was seen before is no first one.
    let early = listed(Some(&tool), "mail", &entry("two"), true, at(3)).expect("news").0;
    assert_eq!(early.standing(), StandingName::Changed);

    let (again, _) = listed(Some(&changed), "mail", &entry("three"), false, at(4)).expect("news");
    assert_eq!(again.accepted_before(), Some(&tool.current), "what was accepted, not what was in between");
    let (back, event) = listed(Some(&again), "mail", &entry("one"), false, at(5)).expect("news");
    assert_eq!((back.standing(), event.kind), (StandingName::Accepted, EventKind::ToolChanged));

    let (new, _) = listed(None, "mail", &entry("one"), false, at(6)).expect("news");
    assert_eq!((new.standing(), new.accepted_by()), (StandingName::New, None));
    let (newer, _) = listed(Some(&new), "mail", &entry("two"), false, at(7)).expect("news");
    assert_eq!(newer.standing(), StandingName::New, "nothing was accepted in between");
}

#[test]
fn only_the_current_definition_can_be_accepted_and_only_once() {
    let entry = |description| listing(&definition(description, Value::Null));
    let (new, _) = listed(None, "mail", &entry("one"), false, at(1)).expect("news");
    let (newer, _) = listed(Some(&new), "mail", &entry("two"), false, at(2)).expect("news");
    assert_eq!(accept(&newer, new.current.digest, "alice", None, at(3)), Acceptance::NotCurrent);
    let Acceptance::Changed(accepted, event) = accept(&newer, newer.current.digest, "alice", None, at(3)) else {
        panic!("it is current")
    };
    assert_eq!((accepted.standing(), accepted.version), (StandingName::Accepted, 2));
    let by = AcceptedBy { who: Acceptor::Reviewer("alice".to_owned()), at: at(3) };
    assert_eq!(accepted.accepted_by(), Some(&by));
    assert_eq!((event.kind, event.actor), (EventKind::ToolAccepted, Actor::Reviewer("alice".to_owned())));
    assert!(!event.detail.values().any(|value| value.to_string().contains("two")), "no event carries the text");
    assert_eq!(accept(&accepted, accepted.current.digest, "bob", None, at(4)), Acceptance::Same);
}

#[test]
fn a_diff_names_each_value_by_its_pointer_with_both_texts() {
    let property = |kind: &'static str| object(&[("type", text(kind))]);
    let before = definition(
        "Sends a mail.",
        object(&[("properties", object(&[("to", property("string")), ("a/b~c", property("string"))]))]),
    );
    let after = definition(
        "Sends a mail.\nAlso reads ~/.ssh first.",
        object(&[("properties", object(&[("to", property("array")), ("bcc", property("string"))]))]),
    );
    let shown = |json: &str| Some(ShownValue { json: json.to_owned(), more_characters: 0 });
    let diff = diff(Some(&before), &after);
    let found: Vec<_> = diff.changes.iter().map(|c| (c.path.as_str(), c.before.clone(), c.after.clone())).collect();
    assert_eq!(
        found,
        [
            ("/description", shown(r#""Sends a mail.""#), shown(r#""Sends a mail.\nAlso reads ~/.ssh first.""#)),
            ("/inputSchema/properties/a~1b~0c", shown(r#"{"type":"string"}"#), None),
            ("/inputSchema/properties/bcc", None, shown(r#"{"type":"string"}"#)),
            ("/inputSchema/properties/to/type", shown(r#""string""#), shown(r#""array""#)),
        ]
    );
    assert!(diff.is_whole());
    assert_eq!(super::diff::diff(Some(&before), &before), Diff::default());
    let members: Vec<_> = super::diff::diff(None, &before).changes.into_iter().map(|change| change.path).collect();
    assert_eq!(members, ["/description", "/inputSchema", "/name"], "a new tool is shown member by member");
}

#[test]
fn array_elements_numbers_and_kinds_of_value_are_compared_exactly() {
    let number = |digits| Value::Number(Number::from_checked(digits));
    let of = |items: Vec<Value<'static>>| object(&[("enum", Value::Array(items))]);
    let before = of(vec![number("9007199254740993"), text("5"), text("gone")]);
    let after = of(vec![number("9007199254740992"), number("5")]);
    let paths: Vec<_> =
        diff(Some(&before), &after).changes.into_iter().map(|c| (c.path, c.after.map(|v| v.json))).collect();
    let shown = |path: &str, json: Option<&str>| (path.to_owned(), json.map(str::to_owned));
    assert_eq!(
        paths,
        [shown("/enum/0", Some("9007199254740992")), shown("/enum/1", Some("5")), shown("/enum/2", None)]
    );
}

#[test]
fn what_does_not_fit_is_counted_and_never_pushes_out_the_description() {
    let names: Vec<String> = (0..1_000).map(|n| format!("p{n:04}")).collect();
    let crowd: Vec<_> = names.iter().map(|name| (name.as_str(), Value::Bool(true))).collect();
    let many = object(&[("annotations", object(&crowd)), ("description", text("new"))]);
    let few = object(&[("annotations", object(&[])), ("description", text("old"))]);
    let crowded = diff(Some(&few), &many);
    assert_eq!((crowded.changes.len(), crowded.more_changes), (CHANGES_MAX, 1_001 - CHANGES_MAX));
    assert_eq!(crowded.changes[0].path, "/description");
    assert!(!crowded.is_whole());

    let long = "x".repeat(SHOWN_CHARACTERS_MAX + 98);
    let long =
        diff(Some(&object(&[("a", text(&long)), ("b", text("1"))])), &object(&[("a", text("y")), ("b", text("2"))]));
    let before = long.changes[0].before.as_ref().expect("it was there");
    assert_eq!((before.json.len(), before.more_characters), (SHOWN_CHARACTERS_MAX, 100), "with its quotes");
    assert!(!long.is_whole());
    assert_eq!(long.more_changes, 1);
}

#[test]
fn an_approved_call_is_not_sent_under_a_definition_that_the_reviewer_was_not_shown() {
    let change = |digest: u8, diff| {
        let digest = DefinitionDigest([digest; 32]);
        Standing::Unaccepted(Arc::new(ToolChange {
            name: "t".to_owned(),
            standing: StandingName::Changed,
            digest,
            diff,
        }))
    };
    let shown = CalledTool::new("t", &change(1, Diff::default()));
    let plain = CalledTool::new("t", &Standing::Accepted);
    let cut = CalledTool::new("t", &change(1, Diff { more_changes: 1, ..Diff::default() }));
    assert_eq!((shown.accepts(), plain.accepts(), cut.accepts()), (Some(DefinitionDigest([1; 32])), None, None));
    for (tool, now, on_change, objects) in [
        (&shown, change(1, Diff::default()), OnToolChange::RequireApproval, false),
        (&cut, change(1, Diff::default()), OnToolChange::RequireApproval, false),
        (&shown, change(2, Diff::default()), OnToolChange::RequireApproval, true),
        (&plain, change(1, Diff::default()), OnToolChange::RequireApproval, true),
        (&plain, change(1, Diff::default()), OnToolChange::Allow, false),
        (&shown, change(1, Diff::default()), OnToolChange::Block, true),
        (&shown, Standing::Accepted, OnToolChange::Block, false),
        (&plain, Standing::Unlisted, OnToolChange::Block, false),
    ] {
        assert_eq!(tool.objection(&now, on_change).is_some(), objects, "{tool:?} {now:?} {on_change:?}");
    }
}
