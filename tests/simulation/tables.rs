//! The policies of the simulated gateways, each beside a plain table that says the same: the account that the simulation keeps
//! asks the table, never the policy.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};

use holdpoint::domain::policy::CompiledPolicy;
use holdpoint::domain::policy::compile::{PolicyFile, compile};

use crate::dice::Dice;

/// What is called: the last one speaks MCP.
pub(crate) const TOOLS: [&str; 6] = ["t.read", "t.mail", "t.refund", "t.deploy", "t.drop", "m.run"];
/// The tool that speaks MCP.
pub(crate) const MCP_TOOL: &str = "m.run";

/// What a policy does with one tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Act {
    Allow,
    Audit,
    Block,
    Ask(Ask),
}

/// How approval is asked for. Times in seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ask {
    /// Groups (`None`: anybody) and how many of each.
    pub(crate) approvers: Vec<(Option<&'static str>, u32)>,
    pub(crate) expires_in: u64,
    pub(crate) grant_ttl: u64,
    pub(crate) reject_memory: u64,
    pub(crate) result_ttl: u64,
    pub(crate) detached: bool,
}

/// One revision.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) policy: Arc<CompiledPolicy>,
    pub(crate) acts: BTreeMap<&'static str, Act>,
}

/// All revisions there are; a gateway begins with the first.
pub(crate) static TABLES: LazyLock<Vec<Table>> = LazyLock::new(|| (0..10).map(Table::new).collect());

/// The table of a revision.
pub(crate) fn table(revision: &str) -> Option<&'static Table> {
    TABLES.iter().find(|table| table.policy.revision() == revision)
}

impl Table {
    fn new(number: u64) -> Self {
        let mut dice = Dice::new(number);
        let acts: BTreeMap<&'static str, Act> =
            TOOLS.iter().map(|tool| (*tool, act(tool, number, &mut dice))).collect();
        let text = yaml(&acts, number);
        let model = serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let mut source_sha256 = [0; 32];
        source_sha256[..8].copy_from_slice(&number.to_be_bytes());
        let file = PolicyFile { name: format!("{number}.yaml"), model, source_sha256 };
        let policy = compile(vec![file]).unwrap_or_else(|errors| panic!("{errors:?}\n{text}"));
        Self { policy: Arc::new(policy), acts }
    }

    pub(crate) fn blocks(&self, tool: &str) -> bool {
        self.acts.get(tool) == Some(&Act::Block)
    }

    pub(crate) fn ask(&self, tool: &str) -> Option<&Ask> {
        match self.acts.get(tool) {
            Some(Act::Ask(ask)) => Some(ask),
            Some(Act::Allow | Act::Audit | Act::Block) | None => None,
        }
    }
}

fn act(tool: &str, number: u64, dice: &mut Dice) -> Act {
    match (tool, dice.below(10)) {
        ("t.read", 0..=5) => Act::Allow,
        ("t.read", 6..=8) => Act::Audit,
        // The first revision blocks nothing, so that there is something to block later.
        (_, 0) if number > 0 => Act::Block,
        (_, 1) if number > 0 => Act::Allow,
        _ => Act::Ask(Ask {
            approvers: dice
                .pick(&[
                    vec![(None, 1)],
                    vec![(None, 1)],
                    vec![(Some("finance"), 1)],
                    vec![(None, 2)],
                    vec![(Some("finance"), 1), (Some("ops"), 1)],
                ])
                .clone(),
            expires_in: *dice.pick(&[3, 8, 20]),
            grant_ttl: *dice.pick(&[1, 5, 60]),
            reject_memory: *dice.pick(&[1, 10]),
            result_ttl: *dice.pick(&[2, 30]),
            // What is sent over MCP is sent by whoever asks.
            detached: tool != MCP_TOOL && dice.chance(40),
        }),
    }
}

fn yaml(acts: &BTreeMap<&'static str, Act>, number: u64) -> String {
    let mut text = "version: 1\ndefault: block\nrules:\n".to_owned();
    let mut line = |line: String| writeln!(text, "{line}").expect("writing to a String cannot fail");
    for (tool, act) in acts {
        line(format!("- id: rule-{tool}\n  match: {tool}\n  reason: revision {number}"));
        match act {
            Act::Allow => line("  action: allow".to_owned()),
            Act::Audit => line("  action: audit".to_owned()),
            Act::Block => line("  action: block".to_owned()),
            Act::Ask(ask) => {
                let slots = ask.approvers.iter().map(|(group, count)| match group {
                    Some(group) => format!("{{ group: {group}, count: {count} }}"),
                    None => format!("{{ count: {count} }}"),
                });
                let slots = slots.collect::<Vec<_>>().join(", ");
                let release = if ask.detached { "detached" } else { "attached" };
                line(format!(
                    "  action: require_approval\n  approval:\n    approvers: {{ all_of: [{slots}] }}\n    \
                     expires_in: {}s\n    grant_ttl: {}s\n    reject_memory: {}s\n    result_ttl: {}s\n    \
                     release: {release}",
                    ask.expires_in, ask.grant_ttl, ask.reject_memory, ask.result_ttl
                ));
            }
        }
    }
    text
}
