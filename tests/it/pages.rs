//! Who may do what on the reviewers' page, over its whole table: every page and form, every kind of visitor, and the record that each
//! leaves in the trail. A new page is not in the matrix until it has a row here, and without one the test fails.

use holdpoint::dashboard::PAGES;
use serde_json::json;

use crate::dashboard::{encode, hidden, sign_in};
use crate::support::origin::Manner;
use crate::support::people::{Call, token};
use crate::support::rig::{Rig, gate_delete};

/// Who visits: nobody, an agent with its token, and reviewers: outside the group that decides, in it, and an admin in it. The admin is
/// last: what only an admin may do is still to be done by then.
const VISITORS: [&str; 5] = ["", "bot", "carol", "bob", "alice"];

/// A page or form.
struct Row {
    method: &'static str,
    path: &'static str,
    /// What each visitor is answered.
    answers: [u16; 5],
    /// The one record that each visit leaves; "": none.
    records: [&'static str; 5],
}

const fn row(method: &'static str, path: &'static str, answers: [u16; 5], records: [&'static str; 5]) -> Row {
    Row { method, path, answers, records }
}

const NONE: [&str; 5] = [""; 5];

const APPROVED: &str = "approval_approved";
const RESOLVED: &str = "release_resolved";

const ROWS: &[Row] = &[
    row("GET", "/", [303; 5], NONE),
    row("GET", "/dashboard", [303; 5], NONE),
    row("GET", "/dashboard/approvals", [303, 303, 200, 200, 200], NONE),
    row("GET", "/dashboard/approvals/{id}", [303, 303, 200, 200, 200], NONE),
    row("POST", "/dashboard/approvals/{id}/decide", [401, 401, 403, 303, 303], ["", "", "", APPROVED, APPROVED]),
    // Whoever found out says so: it approves nothing, and nothing is sent for it.
    row("POST", "/dashboard/approvals/{id}/resolve", [401, 401, 303, 303, 303], ["", "", RESOLVED, RESOLVED, RESOLVED]),
    row("POST", "/dashboard/bulk/review", [401, 401, 200, 200, 200], NONE),
    // The page says of each what became of it: of one that the visitor may not decide, that nothing did.
    row("POST", "/dashboard/bulk/decide", [401, 401, 200, 200, 200], ["", "", "", APPROVED, APPROVED]),
    row("GET", "/dashboard/tools", [303, 303, 200, 200, 200], NONE),
    row("POST", "/dashboard/tools/accept", [401, 401, 403, 403, 303], ["", "", "", "", "tool_accepted"]),
    row("GET", "/dashboard/sign-in", [200; 5], NONE),
    row("POST", "/dashboard/sign-in", [401, 401, 303, 303, 303], ["", "", "signed_in", "signed_in", "signed_in"]),
    row("POST", "/dashboard/sign-out", [401, 401, 303, 303, 303], ["", "", "signed_out", "signed_out", "signed_out"]),
    // A link that nobody was given: looking at one tells nothing, and it signs nobody in.
    row("GET", "/dashboard/once/{token}", [200; 5], NONE),
    row("POST", "/dashboard/once/{token}", [401; 5], NONE),
    row("GET", "/dashboard/assets/{name}", [404; 5], NONE),
];

/// A gate that one group decides, and a tool whose definition has changed.
fn rig() -> Rig {
    Rig::with(|home| {
        crate::tools::seed(&home);
        home.key("limits: { pending_per_agent_max: 500 }")
            .policy(&gate_delete("hold: 50ms, approvers: { group: ops, count: 1 }"))
    })
}

/// An approval that the form is about: of a call that waits for a decision, or of one whose outcome nobody knows.
fn approval(rig: &Rig, number: usize, unknown: bool) -> String {
    let call = rig.bot().post("/tools/delete_repo", &json!({ "number": number }));
    let id = call.send().expect(503, "approval_pending").approval();
    if unknown {
        rig.alice().approve(&id);
        rig.origin.behave(Manner::Close);
        call.send().expect(502, "outcome_unknown");
        rig.until_outcome(&id, "unknown");
    }
    rig.until_caller_left(&id);
    id
}

/// What the form of a page says, but for the token of its session.
fn fields(rig: &Rig, path: &str, visitor: &str, id: &str) -> Vec<(&'static str, String)> {
    let text = |text: &str| text.to_owned();
    match path.trim_start_matches("/dashboard/") {
        "approvals/{id}/decide" => {
            let hash = rig.alice().approval(id)["payload_sha256"].as_str().expect("a hash").to_owned();
            vec![("payload_sha256", hash), ("decision", text("approved"))]
        }
        "approvals/{id}/resolve" => vec![("outcome", text("committed")), ("note", text("Seen."))],
        "bulk/review" => vec![("item", text(id))],
        "bulk/decide" => vec![("item", text(id)), ("decision", text("approved"))],
        "tools/accept" => {
            vec![("upstream", text("mail")), ("name", text("send")), ("digest", crate::tools::seeded_digest())]
        }
        "sign-in" => vec![("token", token(visitor))],
        _ => Vec::new(),
    }
}

/// Visits a page as somebody, with a form as good as theirs can be; the answer, and the kinds of the records that it left.
fn visit(rig: &Rig, row: &Row, visitor: &str, id: &str) -> (u16, Vec<String>) {
    let call = Call::new(rig.gateway.admin, row.method, &row.path.replace("{id}", id));
    let (call, csrf) = match visitor {
        "" => (call, "guess".to_owned()),
        "bot" => (call.bearer(&token(visitor)), "guess".to_owned()),
        reviewer => {
            let cookie = sign_in(rig, reviewer);
            let home = Call::new(rig.gateway.admin, "GET", "/dashboard/approvals").header("cookie", &cookie).send();
            (call.header("cookie", &cookie), hidden(&home.text(), "csrf"))
        }
    };
    let call = if row.method == "POST" {
        let fields = [vec![("csrf", csrf)], fields(rig, row.path, visitor, id)].concat();
        let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
        let call =
            call.header("origin", "http://localhost").header("content-type", "application/x-www-form-urlencoded");
        call.body(fields.join("&"))
    } else {
        call
    };
    let before = rig.alice().trail().len();
    let status = call.send().status;
    (status, rig.alice().events(None).split_off(before))
}

#[test]
fn every_page_admits_exactly_the_visitors_that_its_row_names_and_leaves_the_record_that_it_names() {
    let rig = rig();
    let (untouched, mut number) = (approval(&rig, 0, false), 0);
    for page in PAGES {
        let row = ROWS.iter().find(|row| (row.method, row.path) == (page.method.as_str(), page.path));
        let row = row.unwrap_or_else(|| panic!("{} {} has no row in the matrix", page.method, page.path));
        for (place, visitor) in VISITORS.iter().enumerate() {
            let id = if row.records.iter().any(|kind| [APPROVED, RESOLVED].contains(kind)) {
                number += 1;
                approval(&rig, number, row.path.ends_with("/resolve"))
            } else {
                untouched.clone()
            };
            let standing = rig.alice().approval(&id);
            let (status, records) = visit(&rig, row, visitor, &id);
            let wanted: Vec<&str> = Some(row.records[place]).filter(|kind| !kind.is_empty()).into_iter().collect();
            assert_eq!(status, row.answers[place], "{} {} by `{visitor}`", row.method, row.path);
            assert_eq!(records, wanted, "{} {} by `{visitor}`", row.method, row.path);
            let changes = [APPROVED, RESOLVED].contains(&row.records[place]);
            assert_eq!(rig.alice().approval(&id) != standing, changes, "{} {} by `{visitor}`", row.method, row.path);
        }
    }
    assert_eq!(ROWS.len(), PAGES.len(), "a row is of no page");
}
