//! Gates that no reviewer can open: found at load, because otherwise the first caller finds them.
//!
//! Whether a gate opens is asked of the quorum's own rule, with every reviewer voting. That nobody approves a call made
//! under their own identity is not considered: agents and reviewers are different credentials.

use std::collections::BTreeSet;

use super::PolicySource;
use crate::config::diagnostic::{Code, Diagnostic, nearest};
use crate::config::settings::ReviewerCredential;
use crate::domain::approval::{Slot, Vote, rules};
use crate::domain::identity::Channel;
use crate::domain::policy::PathSegment;
use crate::domain::policy::model::Approvers;
use crate::domain::time::Timestamp;

/// Every gate of the files that these reviewers could not open.
pub fn problems(files: &[PolicySource], reviewers: &[ReviewerCredential]) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for file in files {
        for (index, rule) in file.model.rules.iter().enumerate() {
            let Some(approvers) = rule.approval.as_ref().and_then(|approval| approval.approvers.as_ref()) else {
                continue;
            };
            let path = ["rules".into(), index.into(), "approval".into(), "approvers".into()];
            let gate = Gate { file, path: &path, reviewers };
            gate.check(approvers, &mut found);
        }
    }
    found
}

struct Gate<'a> {
    file: &'a PolicySource,
    path: &'a [PathSegment],
    reviewers: &'a [ReviewerCredential],
}

impl Gate<'_> {
    fn check(&self, approvers: &Approvers, found: &mut Vec<Diagnostic>) {
        let before = found.len();
        let mut slots = Vec::new();
        match &approvers.all_of {
            None => slots.extend(self.slot(&[], approvers.group.as_deref(), approvers.count, found)),
            Some(all) => {
                for (index, slot) in all.iter().enumerate() {
                    let at = ["all_of".into(), index.into()];
                    slots.extend(self.slot(&at, slot.group.as_deref(), slot.count, found));
                }
            }
        }
        // A slot for nobody is refused where the policy is compiled.
        let counted = slots.iter().all(|slot| slot.count > 0);
        if counted && found.len() == before && !rules::quorum(&slots, &self.everybody()) {
            let message = "no reviewers can fill all of these slots together: one person fills one slot";
            let hint = "add reviewers to the groups, or ask for fewer";
            found.push(self.file.document.at_key(self.path, Code::NoReviewer, message).hint(hint));
        }
    }

    /// One slot by itself: `None` after noting that it cannot be filled.
    fn slot(
        &self,
        at: &[PathSegment],
        group: Option<&str>,
        count: Option<u32>,
        found: &mut Vec<Diagnostic>,
    ) -> Option<Slot> {
        let place = |key: &str| [self.path, at, &[PathSegment::from(key)]].concat();
        let document = &self.file.document;
        let groups: BTreeSet<&str> =
            self.reviewers.iter().flat_map(|person| &person.reviewer.groups).map(String::as_str).collect();
        if let Some(name) = group.filter(|name| !groups.contains(name)) {
            let message = format!("no reviewer is in the group `{name}`: this gate could never be opened");
            let hint = match nearest(name, groups.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("add `{name}` to a reviewer's `groups`"),
            };
            found.push(document.at_value(&place("group"), Code::NoReviewer, message).hint(hint));
            return None;
        }
        let count = count.unwrap_or(1);
        let belongs = |person: &&ReviewerCredential| {
            group.is_none_or(|name| person.reviewer.groups.iter().any(|own| own == name))
        };
        let members = self.reviewers.iter().filter(belongs).count();
        if usize::try_from(count).map_or(true, |count| count > members) {
            let message = format!("{count} approvals are asked for, and {members} reviewers could give one");
            let hint = "ask for fewer, or add reviewers";
            found.push(document.at_value(&place("count"), Code::NoReviewer, message).hint(hint));
            return None;
        }
        Some(Slot { group: group.map(str::to_owned), count })
    }

    fn everybody(&self) -> Vec<Vote> {
        let vote = |person: &ReviewerCredential| Vote {
            by: person.reviewer.id.clone(),
            groups: person.reviewer.groups.clone(),
            at: Timestamp::from_millis(0),
            channel: Channel::Api,
            reason: None,
        };
        self.reviewers.iter().map(vote).collect()
    }
}
