//! Tool definitions: which there are, what changed, accepting one.

use axum::response::Response;
use http::StatusCode;

use crate::domain::call;
use crate::domain::tools::{DefinitionDigest, StandingName, Tool};
use crate::gate;
use crate::gate::tools::change_of;
use crate::problem::{Code, Problem};
use crate::store::tools::{ToolAccepted, ToolFilter};

use super::context::{Context, reply};
use super::invalid;
use super::wire::tools::{AcceptTool, Definition, Tool as ToolView, ToolDetail, ToolList};

/// Tools on a page when nothing else is asked for.
const LIMIT_DEFAULT: u64 = 50;
/// The most tools on a page.
pub(super) const LIMIT_MAX: u64 = 200;

/// `GET /v1/tools`
pub(super) async fn list(context: Context) -> Result<Response, Problem> {
    let text = |name| context.query.single(name).map_err(|error| invalid(&error));
    let standings = match text("standing")? {
        None => Vec::new(),
        Some(names) => names.split(',').map(standing).collect::<Result<_, _>>()?,
    };
    let after = match text("cursor")? {
        None => None,
        // The name of an upstream has no slash.
        Some(cursor) => {
            let (upstream, name) = cursor.split_once('/').ok_or_else(|| invalid(&"`cursor` is none of this list"))?;
            Some((upstream.to_owned(), name.to_owned()))
        }
    };
    let limit = context.number("limit", 1..=LIMIT_MAX)?.unwrap_or(LIMIT_DEFAULT);
    let filter = ToolFilter { upstream: text("upstream")?.map(str::to_owned), standings };
    let gate = context.gate();
    let limit = u32::try_from(limit).unwrap_or(u32::MAX);
    let page = gate.store().tools(filter, after, limit).await.map_err(gate::Error::from)?;
    let list = ToolList {
        tools: page.tools.iter().map(ToolView::new).collect(),
        next_cursor: page.next.map(|(upstream, name)| format!("{upstream}/{name}")),
        unaccepted: gate.unaccepted_tools(),
    };
    reply(StatusCode::OK, &list)
}

fn standing(name: &str) -> Result<StandingName, Problem> {
    let all = [StandingName::Accepted, StandingName::New, StandingName::Changed];
    let expected = "`standing` must be one or several of accepted, new, changed, with commas between";
    all.into_iter().find(|standing| standing.as_str() == name).ok_or_else(|| invalid(&expected))
}

/// `GET /v1/tools/{upstream}/{name}`
pub(super) async fn read(context: Context) -> Result<Response, Problem> {
    let (upstream, name) = named(&context);
    let tool = context.gate().store().tool(upstream, name).await.map_err(gate::Error::from)?;
    reply(StatusCode::OK, &detail(&tool.ok_or_else(no_tool)?))
}

/// `POST /v1/tools/{upstream}/{name}/accept`
pub(super) async fn accept(context: Context) -> Result<Response, Problem> {
    let (reviewer, _) = context.reviewer()?;
    let (upstream, name) = named(&context);
    let body: AcceptTool = context.json()?;
    let digest = call::from_hex(&body.digest).map_err(|error| invalid(&format!("`digest`: {error}")))?;
    match context.gate().accept_tool(&upstream, &name, DefinitionDigest(digest), reviewer).await? {
        ToolAccepted::Changed(tool) | ToolAccepted::Same(tool) => reply(StatusCode::OK, &detail(&tool)),
        ToolAccepted::NotCurrent(tool) => {
            let detail =
                "the upstream lists another definition by now; nothing was accepted. Look at the present one first";
            Err(Problem::new(Code::DefinitionChanged, detail).with("digest", tool.current.digest.to_string()))
        }
        ToolAccepted::Missing => Err(no_tool()),
    }
}

fn detail(tool: &Tool) -> ToolDetail {
    ToolDetail {
        tool: ToolView::new(tool),
        current: Definition::new(&tool.current),
        accepted: tool.accepted_before().map(Definition::new),
        diff: change_of(tool).map(|change| change.diff),
    }
}

fn named(context: &Context) -> (String, String) {
    let segment = |wanted: &str| context.path.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
    (segment("upstream").unwrap_or_default(), segment("name").unwrap_or_default())
}

fn no_tool() -> Problem {
    Problem::new(Code::NotFound, "no upstream of this name has listed a tool of this name")
}
