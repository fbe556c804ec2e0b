//! What is read: on connections that cannot write, each answer from one snapshot.

use rusqlite::{Connection, named_params, params};

use super::rows::{self, corrupt, decode, failed};
use crate::domain::approval::{Approval, Risk, rules};
use crate::domain::audit::{ChainHash, Fault, Head, Record};
use crate::domain::id::ApprovalId;
use crate::domain::time::Timestamp;
use crate::store::{AuditFilter, Error, Filter, Page, QueueFigures, Session, Sort, StoredRequest, StoredResult};

/// The most approvals on one page, whatever is asked for.
pub(super) const PAGE_MAX: u32 = 1000;
/// How many rows one page looks through. A page that finds little in so many says where to go on.
const SCAN_MAX: u32 = 10_000;
/// The most records of the trail in one answer.
const RECORDS_MAX: u32 = 10_000;

pub(super) fn list(
    conn: &Connection,
    filter: &Filter,
    after: Option<ApprovalId>,
    limit: u32,
    now: Timestamp,
) -> Result<Page, Error> {
    let limit = limit.clamp(1, PAGE_MAX) as usize;
    let statuses = filter.statuses.iter().map(|status| status.as_str()).collect::<Vec<_>>().join(",");
    let needle = filter.query.as_deref().map(str::to_lowercase);
    let edge = after.map_or_else(|| edge(filter.sort).to_owned(), |id| id.to_string());
    let mut statement = conn.prepare_cached(&page_sql(filter)).map_err(failed)?;
    let mut found = statement
        .query(named_params! {
            ":after": edge,
            ":scan": SCAN_MAX,
            ":statuses": statuses,
            ":name": filter.name,
            ":rule": filter.rule,
            ":agent": filter.agent,
            ":risk": filter.risk.map(Risk::as_str),
            ":trace_id": filter.trace_id,
            ":since": filter.since.map(Timestamp::as_millis),
            ":until": filter.until.map(Timestamp::as_millis),
        })
        .map_err(failed)?;
    let (mut approvals, mut scanned, mut last) = (Vec::new(), 0, None);
    while let Some(row) = found.next().map_err(failed)? {
        if approvals.len() == limit {
            return Ok(Page { approvals, next: last });
        }
        scanned += 1;
        let text: String = row.get(3).map_err(failed)?;
        last = Some(rows::id(&text)?);
        let Some(body) = row.get_ref(2).map_err(failed)?.as_str_or_null().map_err(|e| corrupt(e.to_string()))? else {
            continue;
        };
        let state = row.get_ref(1).map_err(failed)?.as_str().map_err(|e| corrupt(e.to_string()))?;
        let approval = decode(rows::natural(row, 0).map_err(failed)?, state, body)?;
        let badge = filter.sla.is_none_or(|badge| rules::sla_state(&approval, now) == badge);
        if badge && needle.as_deref().is_none_or(|needle| mentions(&approval, needle)) {
            approvals.push(approval);
        }
    }
    let more = scanned == SCAN_MAX;
    Ok(Page { approvals, next: last.filter(|_| more) })
}

/// Before the first id in the order asked for.
fn edge(sort: Sort) -> &'static str {
    match sort {
        Sort::Newest => "apr_~",
        Sort::Oldest => "",
    }
}

/// One of a few texts, so that each is prepared once. The body is read only for rows that match.
fn page_sql(filter: &Filter) -> String {
    let pending = filter.statuses == [crate::domain::approval::Status::Pending];
    let (index, range) = match (&filter.trace_id, pending) {
        (Some(_), _) => ("INDEXED BY approvals_trace", "trace_id = :trace_id AND"),
        (None, true) => ("INDEXED BY approvals_queue", "state = 'pending' AND"),
        (None, false) => ("", ""),
    };
    let (compare, order) = match filter.sort {
        Sort::Newest => ("<", "DESC"),
        Sort::Oldest => (">", "ASC"),
    };
    format!(
        "SELECT version, state, CASE WHEN (:statuses = '' OR instr(:statuses, state) > 0) \
         AND (:name IS NULL OR name = :name) AND (:rule IS NULL OR rule = :rule) \
         AND (:agent IS NULL OR agent = :agent) AND (:risk IS NULL OR risk = :risk) \
         AND (:trace_id IS NULL OR trace_id = :trace_id) \
         AND (:since IS NULL OR created_at >= :since) AND (:until IS NULL OR created_at < :until) \
         THEN body END, id FROM approvals {index} WHERE {range} id {compare} :after \
         ORDER BY id {order} LIMIT :scan"
    )
}

fn mentions(approval: &Approval, needle: &str) -> bool {
    let subject = &approval.subject;
    [&subject.summary, &subject.name, &subject.agent.0, &subject.preview]
        .into_iter()
        .any(|text| text.to_lowercase().contains(needle))
}

/// Approvals whose caller waits, or whose call is being sent: after a start, both ended with the process before.
pub(super) fn in_flight(conn: &Connection) -> Result<Vec<ApprovalId>, Error> {
    let sql = "SELECT id FROM approvals INDEXED BY approvals_live WHERE waiting > 0 OR execution = 'releasing'";
    let mut statement = conn.prepare_cached(sql).map_err(failed)?;
    let ids = statement.query_map([], |row| row.get::<_, String>(0)).map_err(failed)?;
    ids.map(|id| rows::id(&id.map_err(failed)?)).collect()
}

pub(super) fn due(conn: &Connection, now: Timestamp, limit: u32) -> Result<Vec<(ApprovalId, Timestamp)>, Error> {
    let sql = "SELECT id, expires_at FROM approvals INDEXED BY approvals_due \
               WHERE state = 'pending' AND expires_at <= ?1 ORDER BY expires_at LIMIT ?2";
    let mut statement = conn.prepare_cached(sql).map_err(failed)?;
    let mut found = statement.query(params![now.as_millis(), limit]).map_err(failed)?;
    let mut due = Vec::new();
    while let Some(row) = found.next().map_err(failed)? {
        let text: String = row.get(0).map_err(failed)?;
        due.push((rows::id(&text)?, Timestamp::from_millis(row.get(1).map_err(failed)?)));
    }
    Ok(due)
}

pub(super) fn ready(conn: &Connection, now: Timestamp, limit: u32) -> Result<Vec<ApprovalId>, Error> {
    let sql = "SELECT id FROM approvals INDEXED BY approvals_ready WHERE ready_at IS NOT NULL AND ready_at <= ?1 \
               AND (ready_until IS NULL OR ready_until > ?1) ORDER BY ready_at LIMIT ?2";
    let mut statement = conn.prepare_cached(sql).map_err(failed)?;
    let ids = statement.query_map(params![now.as_millis(), limit], |row| row.get::<_, String>(0)).map_err(failed)?;
    ids.map(|text| rows::id(&text.map_err(failed)?)).collect()
}

pub(super) fn figures(conn: &Connection, now: Timestamp) -> Result<QueueFigures, Error> {
    let sql = "SELECT rule, risk, count(*), min(created_at), coalesce(sum(sla_at <= ?1), 0) \
               FROM approvals INDEXED BY approvals_queue WHERE state = 'pending' GROUP BY rule, risk";
    let mut statement = conn.prepare_cached(sql).map_err(failed)?;
    let mut found = statement.query([now.as_millis()]).map_err(failed)?;
    let mut figures = QueueFigures::default();
    while let Some(row) = found.next().map_err(failed)? {
        let rule: String = row.get(0).map_err(failed)?;
        let name: String = row.get(1).map_err(failed)?;
        let risk = Risk::ALL.into_iter().find(|risk| risk.as_str() == name);
        let risk = risk.ok_or_else(|| corrupt(format!("`{name}` is not a risk")))?;
        let oldest = Timestamp::from_millis(row.get(3).map_err(failed)?);
        let overdue = rows::natural(row, 4).map_err(failed)?;
        figures.oldest = Some(figures.oldest.map_or(oldest, |other| other.min(oldest)));
        figures.pending.push((rule.clone(), risk, rows::natural(row, 2).map_err(failed)?));
        match figures.overdue.last_mut() {
            // Rows of one rule come one after the other.
            Some((last, count)) if *last == rule => *count += overdue,
            Some(_) | None => figures.overdue.push((rule, overdue)),
        }
    }
    figures.overdue.retain(|(_, count)| *count > 0);
    Ok(figures)
}

pub(super) fn request(conn: &Connection, id: ApprovalId) -> Result<Option<StoredRequest>, Error> {
    let sql = "SELECT sealed FROM requests WHERE approval = ?1";
    rows::one(conn, sql, [id.to_string()], |row| Ok(StoredRequest { sealed: row.get(0)? }))
}

pub(super) fn result(conn: &Connection, id: ApprovalId, now: Timestamp) -> Result<Option<StoredResult>, Error> {
    let sql = "SELECT sealed, expires_at FROM results WHERE approval = ?1 AND expires_at > ?2";
    rows::one(conn, sql, params![id.to_string(), now.as_millis()], |row| {
        Ok(StoredResult { sealed: row.get(0)?, expires_at: Timestamp::from_millis(row.get(1)?) })
    })
}

pub(super) fn session(conn: &Connection, id_sha256: [u8; 32], now: Timestamp) -> Result<Option<Session>, Error> {
    let sql = "SELECT reviewer, csrf, expires_at FROM sessions WHERE id_sha256 = ?1 AND expires_at > ?2";
    rows::one(conn, sql, params![id_sha256, now.as_millis()], |row| {
        let expires_at = Timestamp::from_millis(row.get(2)?);
        Ok(Session { id_sha256, reviewer: row.get(0)?, csrf: row.get(1)?, expires_at })
    })
}

pub(super) fn audit(conn: &Connection, filter: &AuditFilter, limit: u32) -> Result<Vec<Record>, Error> {
    let about = match (&filter.approval, filter.approvals_only) {
        (Some(_), _) => "AND a.approval = :approval",
        (None, true) => "AND a.approval IS NOT NULL AND :approval IS NULL",
        (None, false) => "AND :approval IS NULL",
    };
    // `NOT INDEXED` keeps a stream of all approvals in the order of the trail instead of sorting it.
    let index = if filter.approval.is_some() { "INDEXED BY audit_approval" } else { "NOT INDEXED" };
    let sql = format!(
        "SELECT a.seq, a.event, a.hash, (SELECT p.hash FROM audit p WHERE p.seq = a.seq - 1) FROM audit a {index} \
         WHERE a.seq > :after {about} ORDER BY a.seq LIMIT :limit"
    );
    let mut statement = conn.prepare_cached(&sql).map_err(failed)?;
    let mut found = statement
        .query(named_params! {
            ":after": rows::integer(filter.after),
            ":approval": filter.approval.map(|id| id.to_string()),
            ":limit": limit.clamp(1, RECORDS_MAX),
        })
        .map_err(failed)?;
    let mut records = Vec::new();
    while let Some(row) = found.next().map_err(failed)? {
        let previous: Option<[u8; 32]> = row.get(3).map_err(failed)?;
        records.push(Record {
            seq: rows::natural(row, 0).map_err(failed)?,
            event: row.get(1).map_err(failed)?,
            // The record before the first is none; where another is missing, the gap in the numbers tells.
            previous: previous.map_or(ChainHash::GENESIS, ChainHash),
            hash: ChainHash(row.get(2).map_err(failed)?),
        });
    }
    Ok(records)
}

/// Where the file says that the trail ends.
pub(super) fn audit_head(conn: &Connection) -> Result<Head, Error> {
    let head = rows::one(conn, "SELECT head_seq, head_hash FROM meta", [], |row| {
        Ok(Head { seq: rows::natural(row, 0)?, hash: ChainHash(row.get(1)?) })
    })?;
    head.ok_or_else(|| corrupt("the row that says where the audit trail ends is missing"))
}

/// As [`audit_head`], checked against the last record.
pub(super) fn audit_end(conn: &Connection) -> Result<Head, Error> {
    let head = audit_head(conn)?;
    let newest =
        rows::one(conn, "SELECT coalesce(max(seq), 0) FROM audit", [], |row| rows::natural(row, 0))?.unwrap_or(0);
    let bad =
        |fault: Fault| corrupt(format!("the audit trail, record {}: {fault}; see `holdpoint audit verify`", head.seq));
    if newest < head.seq {
        return Err(bad(Fault::CutOff));
    }
    if newest > head.seq {
        return Err(bad(Fault::OutOfPlace { found: newest }));
    }
    if head.seq == 0 {
        return Ok(head);
    }
    let filter = AuditFilter { after: head.seq - 1, ..AuditFilter::default() };
    match audit(conn, &filter, 1)?.first() {
        Some(record) if !record.is_intact() => Err(bad(Fault::Edited)),
        Some(record) if record.hash != head.hash => Err(bad(Fault::Unlinked)),
        Some(_) => Ok(head),
        None => Err(bad(Fault::CutOff)),
    }
}

pub(super) fn free_bytes(conn: &Connection) -> Result<u64, Error> {
    let number = |pragma| conn.pragma_query_value(None, pragma, |row| rows::natural(row, 0)).map_err(failed);
    Ok(number("freelist_count")? * number("page_size")?)
}
