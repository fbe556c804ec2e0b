//! Pieces that several pages show: times, badges, inputs, who decided.

use std::time::Duration;

use maud::{Markup, html};

use crate::domain::approval::{Approval, Canceller, Execution, Risk, Settlement, SlaState, Slot, State, rules};
use crate::domain::time::Timestamp;
use crate::web::text::visible;

/// The deepest indentation of a shown input, in levels: deeper values stand no further to the right.
const INDENT_LEVELS_MAX: usize = 16;

/// A time, absolute and relative: `2026-01-31 12:00:00 UTC · 3 min ago`. The script keeps the relative part true.
pub(super) fn time(at: Timestamp, now: Timestamp) -> Markup {
    html! {
        time datetime=(at) { (absolute(at)) }
        " · "
        span data-since=(at.as_millis()) { (relative(at, now)) }
    }
}

/// `2026-01-31 12:00:00 UTC`
fn absolute(at: Timestamp) -> String {
    let text = at.to_string();
    match text.split_once('T').and_then(|(day, rest)| Some((day, rest.split_once('.')?.0))) {
        Some((day, time)) => format!("{day} {time} UTC"),
        None => text,
    }
}

/// `3 min ago`, `in 12 min`
pub(super) fn relative(at: Timestamp, now: Timestamp) -> String {
    if at > now { format!("in {}", span(at.since(now))) } else { format!("{} ago", span(now.since(at))) }
}

/// A span in its largest unit, rounded down: `45 s`, `3 min`, `5 h`, `2 d`. The script says it in the same way.
fn span(span: Duration) -> String {
    match span.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3_600 => format!("{} min", seconds / 60),
        seconds @ 3_600..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

/// How much harm a call could do, in words.
pub(super) fn risk(risk: Risk) -> Markup {
    html! { span class={ "badge risk-" (risk.as_str()) } { "risk " (risk.as_str()) } }
}

/// The SLA badge: a symbol, a word and a colour, and while it is pending the time that is left.
pub(super) fn sla(approval: &Approval, now: Timestamp) -> Markup {
    let state = rules::sla_state(approval, now);
    let (class, symbol, word) = match state {
        SlaState::Ok => ("ok", "●", "in time"),
        SlaState::DueSoon => ("due-soon", "◐", "due soon"),
        SlaState::Breached => ("breached", "▲", "breached"),
        SlaState::Expired => ("expired", "✕", "expired"),
    };
    let pending = approval.state == State::Pending;
    let (deadline, what) = match approval.terms.sla_at {
        Some(sla_at) if now < sla_at => (sla_at, "due"),
        Some(_) | None => (approval.terms.expires_at, "expires"),
    };
    let due_soon_at = approval.terms.sla_at.map(|sla_at| rules::due_soon_from(approval.created_at, sla_at).as_millis());
    html! {
        span class={ "badge sla sla-" (class) }
            data-created=[pending.then_some(approval.created_at.as_millis())]
            data-due-soon=[due_soon_at.filter(|_| pending)]
            data-sla=[approval.terms.sla_at.filter(|_| pending).map(Timestamp::as_millis)]
            data-expires=[pending.then_some(approval.terms.expires_at.as_millis())] {
            span.symbol aria-hidden="true" { (symbol) }
            " " span.word { (word) }
            @if pending && state != SlaState::Expired {
                " · " span.left { (what) " " (relative(deadline, now)) }
            }
        }
    }
}

/// Whether somebody still waits, and what approving would do if not.
pub(super) fn caller(approval: &Approval, now: Timestamp) -> Markup {
    let pending = approval.state == State::Pending;
    let detached = approval.call().is_some_and(|call| call.release == crate::domain::approval::ReleaseMode::Detached);
    html! {
        @match (approval.call(), approval.caller.waiting, approval.caller.left_at) {
            (None, _, _) => "acts by itself once approved",
            (Some(_), 1.., _) => "waiting",
            (Some(_), 0, _) if detached => "not waiting; the gateway sends the call once approved",
            // Nobody walked away from what was still open.
            (Some(_), 0, Some(left_at)) if approval.state.closed_at().is_some_and(|closed_at| left_at >= closed_at) => {
                "no longer waiting"
            }
            (Some(_), 0, Some(left_at)) => {
                "caller left " span data-since=(left_at.as_millis()) { (relative(left_at, now)) }
                @if pending { "; approving lets its retry through" }
            }
            (Some(_), 0, None) => { "not waiting" @if pending { "; approving lets its retry through" } }
        }
    }
}

/// Who decided what: `approved by bob, 4 s ago`.
pub(super) fn decision(state: &State, now: Timestamp) -> Markup {
    html! {
        @match state {
            State::Pending => "pending",
            State::Approved(decision) => { "approved by " (visible(&decision.by)) ", " (since(decision.at, now)) }
            State::Rejected(decision) => { "rejected by " (visible(&decision.by)) ", " (since(decision.at, now)) }
            State::Expired { at } => { "expired undecided, " (since(*at, now)) }
            State::Cancelled { by: Canceller::Agent, at, .. } => { "withdrawn by its caller, " (since(*at, now)) }
            State::Cancelled { by: Canceller::Policy, at, .. } => { "closed because policy blocks it now, " (since(*at, now)) }
            State::Cancelled { by: Canceller::Operator, at, .. } => { "closed by an operator, " (since(*at, now)) }
        }
    }
}

fn since(at: Timestamp, now: Timestamp) -> Markup {
    html! { span data-since=(at.as_millis()) { (relative(at, now)) } }
}

/// What became of the call.
pub(super) fn outcome(execution: &Execution) -> Markup {
    html! {
        @match execution {
            Execution::None => "no call of the gateway's",
            Execution::Held => "not sent",
            Execution::Releasing { .. } => "being sent",
            Execution::Succeeded { status, .. } => { "sent; the upstream answered " (status) }
            Execution::Failed { reason, .. } => { "not sent: " (visible(reason)) }
            Execution::Unknown { reason, .. } => { strong { "unknown: it may have run" } " (" (visible(reason)) ")" }
            Execution::Resolved { outcome, by, note, .. } => {
                @match outcome {
                    Settlement::Committed => "found to have run",
                    Settlement::NotCommitted => "found not to have run",
                }
                ", says " (visible(by)) ": " (visible(note))
            }
        }
    }
}

/// `2 of finance, 1 of anybody`
pub(super) fn slots(slots: &[Slot]) -> String {
    let named = slots.iter().map(|slot| {
        let group = slot.group.as_deref().map_or_else(|| "any group".to_owned(), visible);
        format!("{} of {group}", slot.count)
    });
    named.collect::<Vec<_>>().join(", ")
}

/// JSON text over several lines for reading: only white space between its tokens is changed, digits and order stay as sent,
/// and within each line nothing is hidden.
pub(super) fn readable_json(text: &str) -> String {
    let (mut lines, mut line, mut depth) = (Vec::new(), String::new(), 0_usize);
    let mut chars = text.chars().peekable();
    let indent = |depth: usize| "  ".repeat(depth.min(INDENT_LEVELS_MAX));
    let (mut in_string, mut escaped) = (false, false);
    while let Some(c) = chars.next() {
        if in_string {
            line.push(c);
            in_string = escaped || c != '"';
            escaped = c == '\\' && !escaped;
            continue;
        }
        match c {
            ' ' | '\n' | '\r' | '\t' => {}
            '{' | '[' => {
                line.push(c);
                while chars.next_if(|next| matches!(next, ' ' | '\n' | '\r' | '\t')).is_some() {}
                if let Some(end) = chars.next_if(|next| matches!(next, '}' | ']')) {
                    line.push(end);
                    continue;
                }
                depth += 1;
                lines.push(std::mem::replace(&mut line, indent(depth)));
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                lines.push(std::mem::replace(&mut line, indent(depth)));
                line.push(c);
            }
            ',' => {
                line.push(c);
                lines.push(std::mem::replace(&mut line, indent(depth)));
            }
            ':' => line.push_str(": "),
            '"' => {
                line.push(c);
                in_string = true;
            }
            c => line.push(c),
        }
    }
    lines.push(line);
    lines.iter().map(|line| visible(line)).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    #[test]
    fn times_read_as_people_say_them() {
        for (from, want) in [
            (1_000, "0 s ago"),
            (996, "4 s ago"),
            (1_000 - 185, "3 min ago"),
            (1_000 - 7_300, "2 h ago"),
            (1_000 - 259_200, "3 d ago"),
            (1_720, "in 12 min"),
        ] {
            assert_eq!(relative(at(from), at(1_000)), want);
        }
        assert_eq!(absolute(at(1_767_225_600)), "2026-01-01 00:00:00 UTC");
    }

    #[test]
    fn json_is_laid_out_without_touching_what_it_says() {
        let text =
            "{\"amount\":9007199254740993.10,\"to\":\"a,b:{\\\"\\\\\",\"list\":[1 , [ ] ,{}],\"bidi\":\"x\u{202e}y\"}";
        let shown = readable_json(text);
        assert_eq!(
            shown,
            "{\n  \"amount\": 9007199254740993.10,\n  \"to\": \"a,b:{\\\"\\\\\",\n  \"list\": [\n    1,\n    [],\n    {}\n  ],\n  \
             \"bidi\": \"x\\u{202e}y\"\n}"
        );
    }

    #[test]
    fn text_that_is_no_json_is_shown_as_well() {
        assert_eq!(readable_json("]]}}\"open"), "\n]\n]\n}\n}\"open");
        assert_eq!(readable_json(""), "");
    }
}
