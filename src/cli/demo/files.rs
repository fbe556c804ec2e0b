//! The demonstration's files: the shipped policies, one for its mailbox, and a configuration around them with fresh credentials.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::auth::sha256;
use crate::domain::call::to_hex;

/// The shipped policies, as they stand in `policies/`, and the mailbox's own.
const POLICIES: [(&str, &str); 6] = [
    ("cloud-operations.yaml", include_str!("../../../policies/cloud-operations.yaml")),
    ("databases.yaml", include_str!("../../../policies/databases.yaml")),
    ("mailbox.yaml", include_str!("mailbox.yaml")),
    ("messaging.yaml", include_str!("../../../policies/messaging.yaml")),
    ("payments.yaml", include_str!("../../../policies/payments.yaml")),
    ("source-control.yaml", include_str!("../../../policies/source-control.yaml")),
];

/// Every group that the shipped policies ask for: the demonstration's reviewers are in all of them.
const GROUPS: &str = "[communications, data, finance, legal, maintainers, on-call, security]";

/// What the configuration is written from.
pub(super) struct Setting<'a> {
    /// Where agents will reach the proxy.
    pub(super) proxy: SocketAddr,
    /// Where reviewers will reach the page.
    pub(super) admin: SocketAddr,
    /// Where the tool backend listens.
    pub(super) backend: SocketAddr,
    /// The agent's token.
    pub(super) agent_token: &'a str,
    /// The tokens of the two reviewers.
    pub(super) reviewer_tokens: [&'a str; 2],
}

/// The ids of the demonstration's reviewers.
pub(super) const REVIEWERS: [&str; 2] = ["robin", "sam"];

/// Writes the policies and the configuration into `folder`; answers with the configuration's path. A store that is already there
/// stays as it is.
pub(super) fn write(folder: &Path, setting: &Setting<'_>) -> io::Result<PathBuf> {
    let policies = folder.join("policies");
    std::fs::create_dir_all(&policies)?;
    for (name, text) in POLICIES {
        replace(&policies.join(name), text)?;
    }
    let path = folder.join("holdpoint.yaml");
    replace(&path, &configuration(setting))?;
    Ok(path)
}

#[expect(clippy::disallowed_methods, reason = "the demonstration makes its own files, as an operator would by hand")]
fn replace(path: &Path, text: &str) -> io::Result<()> {
    std::fs::write(path, text)
}

fn configuration(setting: &Setting<'_>) -> String {
    let digest = |token: &str| to_hex(&sha256(token.as_bytes()));
    let Setting { proxy, admin, backend, agent_token, reviewer_tokens } = setting;
    let reviewers: String = REVIEWERS
        .iter()
        .zip(reviewer_tokens)
        .map(|(id, token)| {
            format!("  - {{ id: {id}, role: admin, groups: {GROUPS}, token_sha256: \"{}\" }}\n", digest(token))
        })
        .collect();
    format!(
        "# Written anew by each `holdpoint demo`.\n\
         version: 1\n\
         proxy: {{ listen: \"{proxy}\" }}\n\
         admin: {{ listen: \"{admin}\" }}\n\
         store: sqlite://holdpoint.db\n\
         policies: [policies/]\n\
         agents:\n  - {{ id: support-bot, token_sha256: \"{}\" }}\n\
         reviewers:\n{reviewers}\
         upstreams:\n  shop:\n    url: http://{backend}\n    tools:\n      \
         - {{ call: \"GET /customers\", tool: payments.list_customers }}\n      \
         - {{ call: \"GET /ledger\", tool: payments.get_ledger }}\n      \
         - {{ call: \"POST /refunds\", tool: payments.refund }}\n      \
         - {{ call: \"POST /payouts\", tool: payments.payout }}\n      \
         - {{ call: \"DELETE /customers/{{id}}\", tool: payments.delete_customer }}\n      \
         - {{ call: \"POST /messages\", tool: email.send }}\n  \
         mailbox:\n    url: http://{backend}/mcp\n    protocol: mcp\n\
         routes:\n  - {{ path: /shop/, upstream: shop }}\n  - {{ path: /mcp, upstream: mailbox }}\n\
         log: {{ format: text, level: warn }}\n",
        digest(agent_token),
    )
}
