//! One rule at a time: limits, conflicts, defaults.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::{
    APPROVALS_MAX, Compiler, GLOB_BYTES_MAX, ID_BYTES_MAX, LIST_MAX, PathSegment, PolicyFile, REGEX_SOURCE_BYTES_MAX,
    RESERVED_LABELS, TEXT_BYTES_MAX,
};
use crate::domain::approval::Slot;
use crate::domain::duration;
use crate::domain::policy::condition::compile_pattern;
use crate::domain::policy::glob::Glob;
use crate::domain::policy::matcher::ToolPattern;
use crate::domain::policy::model::{self, Action, DurationText, Globs, Match};
use crate::domain::policy::rule::{ApprovalSettings, Field, Filter, Rule};
use crate::domain::policy::summary::Summary;
use crate::domain::tools::{Annotations, TOOL_CHANGE_RULE};

/// Where in the files something stands.
#[derive(Clone)]
struct Place<'f> {
    file: &'f str,
    path: Vec<PathSegment>,
}

impl Place<'_> {
    fn key(&self, key: &str) -> Self {
        let mut path = self.path.clone();
        path.push(PathSegment::Key(key.to_owned()));
        Self { file: self.file, path }
    }

    fn index(&self, index: usize) -> Self {
        let mut path = self.path.clone();
        path.push(PathSegment::Index(index));
        Self { file: self.file, path }
    }
}

/// What a rule without an id is called: the text of its match, told apart from what stands for no rule.
fn label_of(matches: &Match) -> String {
    let text = matches.text();
    if RESERVED_LABELS.contains(&text.as_str()) { format!("match: {text}") } else { text }
}

impl Compiler {
    fn at(&mut self, place: &Place<'_>, message: impl Into<String>, hint: Option<&str>) {
        self.error(place.file, &place.path, message, hint);
    }

    /// Compiles one rule. When it has errors they are recorded and what comes back is never used.
    pub(super) fn rule(&mut self, file: &PolicyFile, position: usize, rule: &model::Rule) -> Rule {
        let place = Place { file: &file.name, path: Vec::new() }.key("rules").index(position);
        self.check_id(&place, rule);
        if let Some(reason) = &rule.reason {
            self.check_length(&place.key("reason"), reason, TEXT_BYTES_MAX);
        }
        let (tools, filters) = self.patterns(&place.key("match"), &rule.matches);
        let annotations = self.annotations(&place.key("match").key("annotations"), rule);
        let condition = rule.when.as_deref().and_then(|source| match self.condition(source) {
            Ok(condition) => Some(condition),
            Err(problems) => {
                for problem in problems {
                    let column = problem.column.map_or_else(String::new, |column| format!("column {column}: "));
                    self.at(&place.key("when"), format!("{column}{}", problem.message), problem.hint.as_deref());
                }
                None
            }
        });
        let approval = match &rule.approval {
            None => ApprovalSettings::default(),
            Some(approval) => {
                if rule.action != Action::RequireApproval {
                    let message = format!("`approval` has no effect with `action: {}`", rule.action.as_str());
                    let hint = "remove it, or write `action: require_approval`";
                    self.at(&place.key("approval"), message, Some(hint));
                }
                self.approval(&place.key("approval"), approval)
            }
        };
        let mode = rule.mode.or(file.model.mode).unwrap_or_default();
        let written = serde_json::to_vec(&(rule, mode)).unwrap_or_default();
        Rule {
            id: rule.id.clone(),
            label: rule.id.clone().unwrap_or_else(|| label_of(&rule.matches)),
            file: file.name.clone(),
            position,
            action: rule.action,
            reason: rule.reason.clone(),
            risk: rule.risk.unwrap_or_default(),
            mode,
            tools,
            filters,
            annotations,
            condition,
            approval,
            digest: Sha256::digest(&written).into(),
        }
    }

    fn check_id(&mut self, place: &Place<'_>, rule: &model::Rule) {
        let Some(id) = &rule.id else { return };
        let place = place.key("id");
        if id.is_empty() || id.chars().any(char::is_control) {
            self.at(&place, "an `id` needs at least one character and no control characters", None);
        }
        if RESERVED_LABELS.contains(&id.as_str()) {
            let message = format!("the id `{id}` is what decisions without a rule are recorded under");
            self.at(&place, message, Some("give the rule another id: `default` and `api` are reserved"));
        }
        self.check_length(&place, id, ID_BYTES_MAX);
        if id == TOOL_CHANGE_RULE {
            let hint = "give the rule another id; the gateway parks calls of changed tools under this one";
            self.at(&place, format!("the id `{id}` is reserved"), Some(hint));
        }
        if let Some(other) = self.ids.insert(id.clone(), place.file.to_owned()) {
            let whose = if other == place.file { "in this file".to_owned() } else { format!("in `{other}`") };
            self.at(&place, format!("the id `{id}` is already used {whose}"), Some("give every rule an id of its own"));
        }
    }

    fn check_length(&mut self, place: &Place<'_>, text: &str, bytes_max: usize) {
        if text.len() > bytes_max {
            self.at(place, format!("the text has {} bytes, more than {bytes_max}", text.len()), None);
        }
    }

    fn patterns(&mut self, place: &Place<'_>, matches: &Match) -> (ToolPattern, Vec<Filter>) {
        let object = match matches {
            Match::Tools(globs) => return (ToolPattern::Globs(self.globs(place, globs)), Vec::new()),
            Match::Object(object) => object,
        };
        let tools = match (&object.tool, &object.tool_regex) {
            (Some(_), Some(_)) => {
                let hint = "keep one of them, or write two rules";
                self.at(&place.key("tool_regex"), "`tool` and `tool_regex` exclude each other", Some(hint));
                ToolPattern::Any
            }
            (Some(globs), None) => ToolPattern::Globs(self.globs(&place.key("tool"), globs)),
            (None, Some(source)) => self.tool_regex(&place.key("tool_regex"), source),
            (None, None) => ToolPattern::Any,
        };
        let fields = [
            (Field::Upstream, &object.upstream),
            (Field::Agent, &object.agent),
            (Field::Method, &object.method),
            (Field::Path, &object.path),
        ];
        let mut filters = Vec::new();
        for (field, globs) in fields {
            if let Some(globs) = globs {
                filters.push(Filter { field, any_of: self.globs(&place.key(field.name()), globs) });
            }
        }
        let bare = filters.is_empty() && object.tool.is_none() && object.tool_regex.is_none();
        if bare && object.annotations.is_none() {
            self.at(place, "an empty `match` says nothing", Some("write `match: \"*\"` to match every call"));
        }
        (tools, filters)
    }

    /// What a server says of its tools may tighten and never loosen.
    fn annotations(&mut self, place: &Place<'_>, rule: &model::Rule) -> Option<Annotations> {
        let Match::Object(object) = &rule.matches else { return None };
        let wanted = object.annotations?;
        if wanted.is_empty() {
            self.at(place, "no annotation is named", Some("write for example `{ readOnlyHint: false }`"));
        }
        if matches!(rule.action, Action::Allow | Action::Audit) {
            let message = format!(
                "`annotations` with `action: {}` would let calls through on the server's word",
                rule.action.as_str()
            );
            self.at(
                place,
                message,
                Some("match tools by name to let them through; annotations go with `block` and `require_approval`"),
            );
        }
        Some(wanted)
    }

    fn globs(&mut self, place: &Place<'_>, globs: &Globs) -> Vec<Glob> {
        if globs.any_of.is_empty() {
            self.at(place, "an empty list matches no call", Some("list at least one glob, or remove the rule"));
        }
        if globs.any_of.len() > LIST_MAX {
            self.at(place, format!("{} globs, more than {LIST_MAX}", globs.any_of.len()), Some("split the rule"));
        }
        for (index, glob) in globs.any_of.iter().enumerate() {
            if glob.len() > GLOB_BYTES_MAX {
                let place = if globs.listed { place.index(index) } else { place.clone() };
                self.at(&place, format!("the glob has {} bytes, more than {GLOB_BYTES_MAX}", glob.len()), None);
            }
        }
        globs.any_of.iter().map(|glob| Glob::new(glob)).collect()
    }

    fn tool_regex(&mut self, place: &Place<'_>, source: &str) -> ToolPattern {
        self.check_length(place, source, REGEX_SOURCE_BYTES_MAX);
        // The source alone first: `a)|(b` must not become valid by being wrapped.
        match compile_pattern(source) {
            Ok(_) => ToolPattern::Regex(format!(r"\A(?:{source})\z")),
            Err(message) => {
                self.at(place, message, None);
                ToolPattern::Any
            }
        }
    }

    fn approval(&mut self, place: &Place<'_>, approval: &model::Approval) -> ApprovalSettings {
        let defaults = ApprovalSettings::default();
        let or = |text: Option<DurationText>, default: Duration| text.map_or(default, |text| text.0);
        let mut settings = ApprovalSettings {
            approvers: self.approvers(&place.key("approvers"), approval.approvers.as_ref()),
            sla: approval.sla.map(|sla| sla.0),
            expires_in: or(approval.expires_in, defaults.expires_in),
            hold: or(approval.hold, defaults.hold),
            release: approval.release.unwrap_or_default(),
            grant_ttl: or(approval.grant_ttl, defaults.grant_ttl),
            reject_memory: or(approval.reject_memory, defaults.reject_memory),
            result_ttl: or(approval.result_ttl, defaults.result_ttl),
            ..defaults
        };
        if settings.expires_in.is_zero() {
            self.at(&place.key("expires_in"), "an approval that expires at once can never be given", None);
        }
        if let Some(sla) = settings.sla
            && sla > settings.expires_in
        {
            let expires_in = duration::format(settings.expires_in);
            let message = format!("`sla: {}` is after `expires_in: {expires_in}`", duration::format(sla));
            self.at(&place.key("sla"), message, Some("make `sla` shorter, or set a longer `expires_in`"));
        }
        if let Some(template) = &approval.summary {
            let place = place.key("summary");
            self.check_length(&place, template, TEXT_BYTES_MAX);
            match Summary::compile(template) {
                Ok(summary) => settings.summary = Some(summary),
                Err(message) => self.at(&place, message, None),
            }
        }
        if approval.redact.len() > LIST_MAX {
            self.at(&place.key("redact"), format!("{} pointers, more than {LIST_MAX}", approval.redact.len()), None);
        }
        for (index, pointer) in approval.redact.iter().enumerate() {
            if let Err(message) = settings.redaction.add(pointer) {
                self.at(&place.key("redact").index(index), message, None);
            }
        }
        settings
    }

    fn approvers(&mut self, place: &Place<'_>, approvers: Option<&model::Approvers>) -> Vec<Slot> {
        let Some(approvers) = approvers else { return ApprovalSettings::default().approvers };
        let slots = match &approvers.all_of {
            None => vec![(place.clone(), approvers.group.clone(), approvers.count)],
            Some(slots) => {
                if approvers.group.is_some() || approvers.count.is_some() {
                    let hint = "move `group` and `count` into a slot of `all_of`";
                    self.at(place, "`all_of` excludes `group` and `count` beside it", Some(hint));
                }
                if slots.is_empty() {
                    self.at(&place.key("all_of"), "an empty list would let nobody and everybody approve", None);
                }
                let place = place.key("all_of");
                let slot = |(index, slot): (usize, &model::Slot)| (place.index(index), slot.group.clone(), slot.count);
                slots.iter().enumerate().map(slot).collect()
            }
        };
        let mut total: u32 = 0;
        let mut compiled = Vec::with_capacity(slots.len());
        for (place, group, count) in slots {
            let count = count.unwrap_or(1);
            if count == 0 {
                self.at(&place.key("count"), "a slot needs at least one person", Some("write `count: 1`"));
            }
            if group.as_deref() == Some("") {
                self.at(&place.key("group"), "a group needs a name", Some("leave `group` out to mean any reviewer"));
            }
            total = total.saturating_add(count);
            compiled.push(Slot { group, count });
        }
        if total > APPROVALS_MAX {
            self.at(place, format!("{total} approvals for one call, more than {APPROVALS_MAX}"), None);
        }
        compiled
    }
}
