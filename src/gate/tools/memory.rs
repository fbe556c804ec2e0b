//! What calls are told of their tools: the store's rows in memory, looked up without waiting.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use crate::domain::time::Timestamp;
use crate::domain::tools::{Claims, DefinitionDigest, ListedTool, OnToolChange, Standing, Tool};

use super::{change_of, claims};

/// How many definitions that are not the known ones are taken in a minute, over all upstreams: an upstream that changes its tools
/// with every list must not fill the disk.
pub const TOOL_CHANGES_PER_MINUTE_MAX: usize = 5_000;
/// What calls are told, and what is needed to take a list without asking the store.
#[derive(Default)]
pub(in crate::gate) struct ToolMemory {
    known: ArcSwap<Known>,
    on_change: ArcSwap<HashMap<String, OnToolChange>>,
    changes: Mutex<(i64, usize)>,
}

#[derive(Default, Clone)]
pub(super) struct Known {
    tools: HashMap<Key, Entry>,
    /// Whether each upstream's first list is still being read.
    upstreams: HashMap<String, bool>,
    unaccepted: usize,
}

#[derive(Clone)]
struct Entry {
    version: u64,
    digest: DefinitionDigest,
    standing: Standing,
    claims: Claims,
}

/// Upstream and tool. Looked up by borrowed text, so that a call pays one look-up and no allocation.
#[derive(Clone)]
struct Key {
    upstream: Box<str>,
    tool: Box<str>,
}

trait Pair {
    fn pair(&self) -> (&str, &str);
}

impl Pair for Key {
    fn pair(&self) -> (&str, &str) {
        (&self.upstream, &self.tool)
    }
}

impl Pair for (&str, &str) {
    fn pair(&self) -> (&str, &str) {
        *self
    }
}

impl Hash for dyn Pair + '_ {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.pair().hash(state);
    }
}

impl PartialEq for dyn Pair + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.pair() == other.pair()
    }
}

impl Eq for dyn Pair + '_ {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.pair().hash(state);
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.pair() == other.pair()
    }
}

impl Eq for Key {}

impl<'a> Borrow<dyn Pair + 'a> for Key {
    fn borrow(&self) -> &(dyn Pair + 'a) {
        self
    }
}

impl Known {
    /// Whether this very definition is the known one.
    pub(super) fn is_known(&self, upstream: &str, tool: &ListedTool) -> bool {
        self.find(upstream, &tool.name).is_some_and(|entry| entry.digest == tool.definition.digest)
    }

    /// Whether the upstream's first list is still being read; `None` when it was never listed.
    pub(super) fn baseline_open(&self, upstream: &str) -> Option<bool> {
        self.upstreams.get(upstream).copied()
    }

    /// Both of what a call is judged by. One look-up.
    pub(super) fn standing_and_claims(&self, upstream: &str, tool: &str) -> (Standing, Claims) {
        let found = self.find(upstream, tool);
        found.map_or((Standing::Unlisted, Claims::Unknown), |entry| (entry.standing.clone(), entry.claims))
    }

    /// What a call is told. One look-up.
    pub(super) fn standing(&self, upstream: &str, tool: &str) -> Standing {
        self.find(upstream, tool).map_or(Standing::Unlisted, |entry| entry.standing.clone())
    }

    /// What the upstream says of the tool. One look-up.
    pub(super) fn claims(&self, upstream: &str, tool: &str) -> Claims {
        self.find(upstream, tool).map_or(Claims::Unknown, |entry| entry.claims)
    }

    /// How many tools have a definition that nobody has accepted.
    pub(super) const fn unaccepted(&self) -> usize {
        self.unaccepted
    }

    fn find(&self, upstream: &str, tool: &str) -> Option<&Entry> {
        self.tools.get(&(upstream, tool) as &dyn Pair)
    }

    fn take(&mut self, key: &Key, entry: &Entry) {
        if self.tools.get(key).is_none_or(|known| known.version < entry.version) {
            self.tools.insert(key.clone(), entry.clone());
        }
    }

    fn count(&mut self) {
        let unaccepted = |entry: &&Entry| matches!(entry.standing, Standing::Unaccepted(_));
        self.unaccepted = self.tools.values().filter(unaccepted).count();
    }
}

impl ToolMemory {
    /// What is known at this moment.
    pub(super) fn known(&self) -> arc_swap::Guard<Arc<Known>> {
        self.known.load()
    }

    /// What the configuration says about changed tools of an upstream.
    pub(super) fn on_change(&self, upstream: &str) -> OnToolChange {
        self.on_change.load().get(upstream).copied().unwrap_or_default()
    }

    /// Puts what the configuration says in force.
    pub(super) fn set_on_change(&self, on_change: HashMap<String, OnToolChange>) {
        self.on_change.store(Arc::new(on_change));
    }

    /// Takes in rows as the store has them; an older row than the known one changes nothing.
    pub(super) fn follow(&self, tools: &[Tool], upstreams: &[(String, bool)]) {
        let entry = |tool: &Tool| {
            let standing = change_of(tool).map_or(Standing::Accepted, |change| Standing::Unaccepted(Arc::new(change)));
            let key = Key { upstream: tool.upstream.as_str().into(), tool: tool.name.as_str().into() };
            (key, Entry { version: tool.version, digest: tool.current.digest, standing, claims: claims(tool) })
        };
        let entries: Vec<_> = tools.iter().map(entry).collect();
        self.known.rcu(|known| {
            let mut next = Known::clone(known);
            for (key, entry) in &entries {
                next.take(key, entry);
            }
            for (upstream, open) in upstreams {
                // A baseline is closed once and for all.
                let known = next.upstreams.entry(upstream.clone()).or_insert(*open);
                *known = *known && *open;
            }
            next.count();
            next
        });
    }

    /// Whether so many changes more fit into the minute that `now` lies in.
    pub(super) fn admit(&self, now: Timestamp, changes: usize) -> bool {
        let minute = now.as_millis().div_euclid(60_000);
        let mut state = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let count = if state.0 == minute { state.1 } else { 0 };
        let sum = count.saturating_add(changes);
        let fits = sum <= TOOL_CHANGES_PER_MINUTE_MAX;
        *state = (minute, if fits { sum } else { count });
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::tools::listed;
    use crate::domain::value::Value;

    fn tool(description: &'static str, known: Option<&Tool>) -> Tool {
        let entry = Value::Object(vec![("description".into(), Value::String(description.into()))]);
        let (tool, _) =
            listed(known, "mail", &ListedTool::new("send", &entry), true, Timestamp::from_millis(0)).expect("news");
        tool
    }

    #[test]
    fn memory_ends_with_the_newest_row_in_whatever_order_commits_are_told() {
        let first = tool("one", None);
        let second = tool("two", Some(&first));
        for order in [[&first, &second], [&second, &first]] {
            let memory = ToolMemory::default();
            order.iter().for_each(|tool| memory.follow(std::slice::from_ref(*tool), &[]));
            let known = memory.known.load();
            let standing = known.find("mail", "send").map(|entry| entry.standing.clone());
            assert!(matches!(standing, Some(Standing::Unaccepted(change)) if change.digest == second.current.digest));
            assert_eq!(known.unaccepted, 1);
            assert!(known.find("mai", "lsend").is_none() && known.find("send", "mail").is_none());
        }
    }

    #[test]
    fn a_baseline_that_was_closed_is_not_opened_again_by_late_news() {
        let memory = ToolMemory::default();
        let upstream = |open| [("mail".to_owned(), open)];
        for open in [true, false, true] {
            memory.follow(&[], &upstream(open));
        }
        assert_eq!(memory.known.load().upstreams.get("mail"), Some(&false));
    }

    #[test]
    fn changes_beyond_the_limit_of_a_minute_are_refused_and_the_next_minute_takes_them() {
        let (memory, at) = (ToolMemory::default(), |minute: i64| Timestamp::from_millis(minute * 60_000 + 59_999));
        assert!(memory.admit(at(1), TOOL_CHANGES_PER_MINUTE_MAX - 1));
        assert!(!memory.admit(at(1), 2), "a list is taken whole or not at all");
        assert!(memory.admit(at(1), 1));
        assert!(!memory.admit(at(1), 1));
        assert!(memory.admit(at(2), 1));
    }
}
