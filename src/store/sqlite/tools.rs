//! Tool definitions: what a list makes of them, and who accepts them.

use rusqlite::{Connection, Row, params};

use super::ledger::Ledger;
use super::rows::{self, corrupt, failed};
use crate::domain::approval::{Approval, State};
use crate::domain::time::Timestamp;
use crate::domain::tools::{self, Acceptance, StandingName, Tool};
use crate::store::Error;
use crate::store::tools::{AcceptTool, Listed, ListedUpstream, Listing, ToolAccepted, ToolFilter, ToolPage};

/// The most tools on one page, whatever is asked for.
const PAGE_MAX: u32 = 200;

impl Ledger<'_> {
    pub(super) fn list_tools(&mut self, listing: &Listing, now: Timestamp) -> Result<Listed, Error> {
        let Listing { upstream, page, tools, tools_max } = listing;
        let known_upstream = upstream_of(self.conn, upstream)?;
        // The first list of all opens the baseline; only what goes on behind it still belongs to it.
        let baseline = match &known_upstream {
            None => true,
            Some(known) => known.baseline_open && page.continues,
        };
        let known = tools.iter().map(|tool| load(self.conn, upstream, &tool.name)).collect::<Result<Vec<_>, _>>()?;
        let added = known.iter().filter(|tool| tool.is_none()).count();
        if added > 0 && count(self.conn, upstream)? + added as u64 > *tools_max as u64 {
            return Ok(Listed::Full);
        }
        let baseline_open = match &known_upstream {
            _ if baseline => page.more,
            None => false,
            Some(known) => known.baseline_open,
        };
        self.note_upstream(upstream, known_upstream.as_ref(), baseline_open, now)?;
        let (mut standing, mut changes) = (Vec::with_capacity(tools.len()), 0);
        for (listed, known) in tools.iter().zip(known) {
            match (tools::listed(known.as_ref(), upstream, listed, baseline, now), known) {
                (Some((tool, event)), before) => {
                    match before {
                        None => self.insert_tool(&tool)?,
                        Some(_) => self.update_tool(&tool)?,
                    }
                    self.append(&event)?;
                    changes += 1;
                    standing.push(tool);
                }
                (None, Some(same)) => standing.push(same),
                (None, None) => return Err(corrupt("a tool that is not known is no news")),
            }
        }
        Ok(Listed::Known { tools: standing, changes, baseline_open })
    }

    fn note_upstream(
        &self,
        name: &str,
        known: Option<&ListedUpstream>,
        baseline_open: bool,
        now: Timestamp,
    ) -> Result<(), Error> {
        match known {
            None => self.execute(
                "INSERT INTO tool_upstreams (name, first_listed_at, baseline_open) VALUES (?1, ?2, ?3)",
                params![name, now.as_millis(), baseline_open],
            ),
            Some(known) if known.baseline_open != baseline_open => self
                .execute("UPDATE tool_upstreams SET baseline_open = ?2 WHERE name = ?1", params![name, baseline_open]),
            Some(_) => Ok(()),
        }
    }

    pub(super) fn accept_tool(&mut self, wanted: &AcceptTool, now: Timestamp) -> Result<ToolAccepted, Error> {
        let Some(tool) = load(self.conn, &wanted.upstream, &wanted.name)? else { return Ok(ToolAccepted::Missing) };
        Ok(match tools::accept(&tool, wanted.digest, &wanted.reviewer, None, now) {
            Acceptance::Changed(next, event) => {
                self.update_tool(&next)?;
                self.append(&event)?;
                ToolAccepted::Changed(*next)
            }
            Acceptance::Same => ToolAccepted::Same(tool),
            Acceptance::NotCurrent => ToolAccepted::NotCurrent(tool),
        })
    }

    /// Accepts the definition that was shown with a call, in the transaction that approves the call. Another definition, listed
    /// meanwhile, stays unaccepted.
    pub(super) fn accept_shown_definition(&mut self, approval: &Approval, now: Timestamp) -> Result<(), Error> {
        let (State::Approved(decision), Some(call)) = (&approval.state, approval.call()) else { return Ok(()) };
        let Some(called) = &call.tool else { return Ok(()) };
        let Some(digest) = called.accepts() else { return Ok(()) };
        let Some(tool) = load(self.conn, &call.upstream, &called.name)? else { return Ok(()) };
        match tools::accept(&tool, digest, &decision.by, Some(approval.id), now) {
            Acceptance::Changed(next, event) => {
                self.update_tool(&next)?;
                self.append(&event)
            }
            Acceptance::Same | Acceptance::NotCurrent => Ok(()),
        }
    }

    fn insert_tool(&self, tool: &Tool) -> Result<(), Error> {
        self.execute(
            "INSERT INTO tools (upstream, name, version, standing, digest, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                tool.upstream,
                tool.name,
                rows::integer(tool.version),
                tool.standing().as_str(),
                tool.current.digest.0,
                body(tool)?
            ],
        )
    }

    /// Writes a tool over the version it was computed from.
    fn update_tool(&self, tool: &Tool) -> Result<(), Error> {
        let sql = "UPDATE tools SET version = ?3, standing = ?4, digest = ?5, body = ?6 \
                   WHERE upstream = ?1 AND name = ?2 AND version = ?3 - 1";
        let mut statement = self.conn.prepare_cached(sql).map_err(failed)?;
        let written = statement.execute(params![
            tool.upstream,
            tool.name,
            rows::integer(tool.version),
            tool.standing().as_str(),
            tool.current.digest.0,
            body(tool)?
        ]);
        match written.map_err(failed)? {
            1 => Ok(()),
            _ => Err(corrupt(format!("the tool `{}` changed under its only writer", tool.name))),
        }
    }
}

fn body(tool: &Tool) -> Result<String, Error> {
    serde_json::to_string(tool).map_err(|error| corrupt(error.to_string()))
}

/// Reads `version, standing, body`. A body that disagrees with the columns beside it was not written by this store.
fn decode(row: &Row<'_>) -> Result<Tool, Error> {
    let version = rows::natural(row, 0).map_err(failed)?;
    let standing: String = row.get(1).map_err(failed)?;
    let body = row.get_ref(2).map_err(failed)?.as_str().map_err(|error| corrupt(error.to_string()))?;
    let tool: Tool = serde_json::from_str(body).map_err(|error| corrupt(format!("a tool cannot be read: {error}")))?;
    if tool.version == version && tool.standing().as_str() == standing {
        Ok(tool)
    } else {
        Err(corrupt(format!("the tool `{}` does not match the columns beside it", tool.name)))
    }
}

fn load(conn: &Connection, upstream: &str, name: &str) -> Result<Option<Tool>, Error> {
    let sql = "SELECT version, standing, body FROM tools WHERE upstream = ?1 AND name = ?2";
    let mut statement = conn.prepare_cached(sql).map_err(failed)?;
    let mut found = statement.query(params![upstream, name]).map_err(failed)?;
    found.next().map_err(failed)?.map(decode).transpose()
}

fn count(conn: &Connection, upstream: &str) -> Result<u64, Error> {
    let sql = "SELECT count(*) FROM tools WHERE upstream = ?1";
    Ok(rows::one(conn, sql, [upstream], |row| rows::natural(row, 0))?.unwrap_or(0))
}

fn upstream_of(conn: &Connection, name: &str) -> Result<Option<ListedUpstream>, Error> {
    let sql = "SELECT name, baseline_open FROM tool_upstreams WHERE name = ?1";
    rows::one(conn, sql, [name], |row| Ok(ListedUpstream { name: row.get(0)?, baseline_open: row.get(1)? }))
}

pub(super) fn upstreams(conn: &Connection) -> Result<Vec<ListedUpstream>, Error> {
    let sql = "SELECT name, baseline_open FROM tool_upstreams ORDER BY name";
    let mut statement = conn.prepare_cached(sql).map_err(failed)?;
    let read = |row: &Row<'_>| Ok(ListedUpstream { name: row.get(0)?, baseline_open: row.get(1)? });
    let found = statement.query_map([], read).map_err(failed)?;
    found.collect::<Result<_, _>>().map_err(failed)
}

pub(super) fn one(conn: &Connection, upstream: &str, name: &str) -> Result<Option<Tool>, Error> {
    load(conn, upstream, name)
}

pub(super) fn page(
    conn: &Connection,
    filter: &ToolFilter,
    after: Option<&(String, String)>,
    limit: u32,
) -> Result<ToolPage, Error> {
    let limit = limit.clamp(1, PAGE_MAX) as usize;
    let standings = filter.standings.iter().copied().map(StandingName::as_str).collect::<Vec<_>>().join(",");
    let (after_upstream, after_name) = after.map_or(("", ""), |(upstream, name)| (upstream.as_str(), name.as_str()));
    let sql = "SELECT version, standing, body FROM tools WHERE (upstream, name) > (?1, ?2) \
               AND (?3 IS NULL OR upstream = ?3) AND (?4 = '' OR instr(?4, standing) > 0) \
               ORDER BY upstream, name LIMIT ?5";
    let mut statement = conn.prepare_cached(sql).map_err(failed)?;
    let one_more = rows::integer(limit as u64 + 1);
    let mut found =
        statement.query(params![after_upstream, after_name, filter.upstream, standings, one_more]).map_err(failed)?;
    let mut tools: Vec<Tool> = Vec::new();
    while let Some(row) = found.next().map_err(failed)? {
        if tools.len() == limit {
            let next = tools.last().map(|tool| (tool.upstream.clone(), tool.name.clone()));
            return Ok(ToolPage { tools, next });
        }
        tools.push(decode(row)?);
    }
    Ok(ToolPage { tools, next: None })
}
