//! What one configuration makes of the proxy: a snapshot that a request takes once and keeps to its end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::auth::Authenticator;
use crate::domain::identity::AgentId;
use crate::domain::policy::CompiledPolicy;
use crate::protocol::head::HeadLimits;

use super::routes::Routes;

/// The proxy's part of a configuration.
pub struct Surface {
    /// What calls are judged by as they come in: the policy that was written for these routes and upstreams. A call that is routed
    /// by one configuration is never judged by another.
    pub policy: Arc<CompiledPolicy>,
    /// Where requests go.
    pub routes: Routes,
    /// Who callers are.
    pub authenticator: Arc<Authenticator>,
    /// What a request head may cost.
    pub head_limits: HeadLimits,
    /// The largest body that is read.
    pub body_bytes_max: u64,
    /// How long a body may take to arrive.
    pub body_timeout: Duration,
    /// The largest kept answer.
    pub response_bytes_max: u64,
    /// The longest hold that a caller may ask for.
    pub wait_max: Duration,
    /// How long held MCP calls keep these agents, in place of what route and rule say.
    pub inline_budgets: HashMap<AgentId, Duration>,
}
