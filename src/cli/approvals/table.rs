//! Approvals for people at a terminal. Nothing that an agent wrote reaches it as anything but visible text, and what is
//! shortened says by how much.

use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::client::Failure;
use crate::domain::time::Timestamp;
use crate::web::text::{Shortened, visible};

/// How much of a summary a row shows.
const SUMMARY_CHARS_MAX: usize = 80;

/// What is shown of an approval, as the API says it.
#[derive(Debug, Deserialize)]
struct Approval {
    id: String,
    status: String,
    reason: Option<String>,
    kind: String,
    name: String,
    trace_id: Option<String>,
    rule: String,
    rule_reason: Option<String>,
    risk: String,
    payload_sha256: String,
    requested_at: Timestamp,
    decided_at: Option<Timestamp>,
    expires_at: Timestamp,
    outcome: Option<Outcome>,
    agent: String,
    summary: String,
    input: Box<RawValue>,
    payload_bytes: u64,
    upstream: Option<String>,
    method: Option<String>,
    target: Option<String>,
    release: Option<String>,
    policy_revision: String,
    stale_since: Option<String>,
    sla_at: Option<Timestamp>,
    sla: String,
    votes: Vec<Vote>,
    still_needed: Vec<Slot>,
    caller: Caller,
    decided_by: Option<DecidedBy>,
}

#[derive(Debug, Deserialize)]
struct Outcome {
    state: String,
    upstream_status: Option<u16>,
    detail: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Vote {
    by: String,
}

#[derive(Debug, Deserialize)]
struct Slot {
    group: Option<String>,
    count: u32,
}

#[derive(Debug, Deserialize)]
struct Caller {
    waiting: u32,
    left_at: Option<Timestamp>,
}

#[derive(Debug, Deserialize)]
struct DecidedBy {
    kind: String,
    id: Option<String>,
    channel: Option<String>,
}

fn read(approval: &RawValue) -> Result<Approval, Failure> {
    serde_json::from_str(approval.get())
        .map_err(|error| Failure::answer(format!("the answer is not an approval as reviewers see it: {error}")))
}

/// A row each, under a head.
pub(super) fn rows(approvals: &[Box<RawValue>], now: Timestamp) -> Result<String, Failure> {
    if approvals.is_empty() {
        return Ok("no approvals\n".to_owned());
    }
    let head = ["ID", "AGE", "STATUS", "RISK", "SLA", "AGENT", "TOOL", "SUMMARY"].map(str::to_owned);
    let mut rows = vec![head];
    for approval in approvals {
        let approval = read(approval)?;
        let summary = Shortened::new(&approval.summary, SUMMARY_CHARS_MAX);
        let hidden = if summary.hidden == 0 { String::new() } else { format!("… ({} more)", summary.hidden) };
        rows.push([
            visible(&approval.id),
            age(now, approval.requested_at),
            visible(&approval.status),
            visible(&approval.risk),
            visible(&approval.sla),
            visible(&approval.agent),
            visible(&approval.name),
            summary.shown + &hidden,
        ]);
    }
    let widths: Vec<usize> =
        (0..8).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    Ok(text)
}

/// `12s`, `5m`, `3h`, `2d`.
fn age(now: Timestamp, then: Timestamp) -> String {
    let seconds = now.since(then).as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Everything about one approval.
pub(super) fn detail(approval: &RawValue) -> Result<String, Failure> {
    let approval = read(approval)?;
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        if !value.is_empty() {
            // Writing into a `String` cannot fail.
            let _ = writeln!(text, "{name:<14}{value}");
        }
    };
    let optional = |value: &Option<String>| value.as_deref().map_or_else(String::new, visible);
    let time = |at: Option<Timestamp>| at.map_or_else(String::new, |at| at.to_string());
    line("id", visible(&approval.id));
    line("status", visible(&approval.status));
    line("decided", decided_by(&approval));
    line("reason", optional(&approval.reason));
    line("outcome", outcome(&approval));
    line(&approval.kind, visible(&approval.name));
    line("summary", visible(&approval.summary));
    line("agent", visible(&approval.agent));
    line("request", request(&approval));
    line("release", optional(&approval.release));
    line("risk", visible(&approval.risk));
    line("rule", visible(&approval.rule));
    line("rule says", optional(&approval.rule_reason));
    line("policy", visible(&approval.policy_revision));
    line("rule changed", optional(&approval.stale_since));
    line("requested", approval.requested_at.to_string());
    line("sla", format!("{} {}", visible(&approval.sla), time(approval.sla_at)).trim_end().to_owned());
    line("expires", approval.expires_at.to_string());
    line("votes", approval.votes.iter().map(|vote| visible(&vote.by)).collect::<Vec<_>>().join(", "));
    line("still needed", needed(&approval));
    line("caller", caller(&approval.caller));
    line("trace", optional(&approval.trace_id));
    line("payload", format!("{} bytes, SHA-256 {}", approval.payload_bytes, visible(&approval.payload_sha256)));
    text.push_str("input\n");
    for input in indented(approval.input.get()).lines() {
        let _ = writeln!(text, "  {}", visible(input));
    }
    Ok(text)
}

fn decided_by(approval: &Approval) -> String {
    let Some(by) = &approval.decided_by else { return String::new() };
    let id = by.id.as_deref().map_or_else(String::new, |id| format!(" {}", visible(id)));
    let channel = by.channel.as_deref().map_or_else(String::new, |channel| format!(" ({})", visible(channel)));
    let at = approval.decided_at.map_or_else(String::new, |at| format!(", {at}"));
    format!("by {}{id}{channel}{at}", visible(&by.kind))
}

fn outcome(approval: &Approval) -> String {
    let Some(outcome) = &approval.outcome else { return String::new() };
    let status = outcome.upstream_status.map_or_else(String::new, |status| format!(", upstream status {status}"));
    let detail = outcome.detail.as_deref().map_or_else(String::new, |detail| format!(": {}", visible(detail)));
    format!("{}{status}{detail}", visible(&outcome.state))
}

fn request(approval: &Approval) -> String {
    match (&approval.upstream, &approval.method, &approval.target) {
        (Some(upstream), Some(method), Some(target)) => {
            format!("{} {} on {}", visible(method), visible(target), visible(upstream))
        }
        _ => String::new(),
    }
}

fn needed(approval: &Approval) -> String {
    let slot = |slot: &Slot| format!("{} of {}", slot.count, slot.group.as_deref().map_or("anybody".into(), visible));
    approval.still_needed.iter().map(slot).collect::<Vec<_>>().join(", ")
}

fn caller(caller: &Caller) -> String {
    match (caller.waiting, caller.left_at) {
        (0, Some(at)) => format!("left {at}"),
        (0, None) => "does not wait".to_owned(),
        (1, _) => "waits".to_owned(),
        (many, _) => format!("{many} wait"),
    }
}

/// What a decision came to.
pub(super) fn decided(approval: &RawValue) -> Result<String, Failure> {
    let approval = read(approval)?;
    let (id, status) = (visible(&approval.id), visible(&approval.status));
    let needed = needed(&approval);
    Ok(if needed.is_empty() {
        format!("{id} is {status}\n")
    } else {
        format!("{id} is {status}: the vote counts; still needed: {needed}\n")
    })
}

/// JSON with a line for each member, its tokens as they are: digits, order and escapes of whoever wrote it.
fn indented(json: &str) -> String {
    let mut text = String::with_capacity(json.len() * 2);
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    let mut rest = json.chars().filter(|c| !c.is_ascii_whitespace() || *c == ' ').peekable();
    let line = |text: &mut String, depth: usize| {
        text.push('\n');
        text.push_str(&"  ".repeat(depth));
    };
    while let Some(c) = rest.next() {
        if in_string {
            text.push(c);
            (in_string, escaped) = (escaped || c != '"', !escaped && c == '\\');
            continue;
        }
        match c {
            ' ' => {}
            '"' => {
                in_string = true;
                text.push(c);
            }
            '{' | '[' => {
                text.push(c);
                while rest.next_if_eq(&' ').is_some() {}
                match rest.next_if(|next| ['}', ']'].contains(next)) {
                    Some(end) => text.push(end),
                    None => {
                        depth += 1;
                        line(&mut text, depth);
                    }
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut text, depth);
                text.push(c);
            }
            ',' => {
                text.push(c);
                line(&mut text, depth);
            }
            ':' => text.push_str(": "),
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indenting_changes_nothing_but_white_space() {
        let json = r#"{"a":[1.10,{"b":"x, {\"}\\"}],"c":{},"d":[ ] ,"e" : 1e400}"#;
        let text = indented(json);
        let expected = "{\n  \"a\": [\n    1.10,\n    {\n      \"b\": \"x, {\\\"}\\\\\"\n    }\n  ],\n  \"c\": {},\n  \"d\": [],\n  \"e\": 1e400\n}";
        assert_eq!(text, expected);
        assert_eq!(indented("\"a b\""), "\"a b\"");
    }

    #[test]
    fn ages_are_short() {
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        for (seconds, want) in [(0, "0s"), (59, "59s"), (60, "1m"), (3600, "1h"), (90_000, "1d"), (-5, "0s")] {
            assert_eq!(age(at(seconds), at(0)), want);
        }
    }
}
