"""The other operations of the approvals API, as flows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import TypeVar

from . import _flow
from ._approvals import LONG_POLL, LONG_POLL_MARGIN, path
from ._ask import encode
from ._flow import Call, Delivery, Flow, World
from .errors import ConfigurationError
from .models import (
    Approval,
    ApprovalList,
    AuditPage,
    BulkAnswer,
    BulkDecideBody,
    CancelBody,
    DecideBody,
    Decision,
    PublicApproval,
    ResolveBody,
    ResolvedOutcome,
    Risk,
    Sla,
    Stats,
    Status,
)

T = TypeVar("T")


def _get(world: World, cls: type[T], at: str, params: Mapping[str, str], outage_max: float) -> Flow[T]:
    answer = yield from _flow.deliver(world, Call("GET", at, params=params), Delivery(outage_max))
    return _flow.document(cls, answer)


def _post(world: World, cls: type[T], at: str, body: Mapping[str, object], outage_max: float) -> Flow[T]:
    """Every change of the API may be repeated: the same change again is answered like the first."""
    request = Call("POST", at, body=encode(body), headers={"Content-Type": "application/json"})
    answer = yield from _flow.deliver(world, request, Delivery(outage_max))
    return _flow.document(cls, answer)


def get(world: World, approval_id: str, wait: float, outage_max: float) -> Flow[PublicApproval]:
    """One approval. Reviewers are shown more."""
    if not 0 <= wait <= 3600:
        raise ConfigurationError("`wait` is 0 to 3600 seconds")
    params = {"wait": f"{int(wait * 1000)}ms"} if wait else {}
    patience = max(wait, LONG_POLL) + LONG_POLL_MARGIN if wait else None
    request = Call("GET", path(approval_id), params=params, patience=patience)
    answer = yield from _flow.deliver(world, request, Delivery(outage_max))
    # Only the reviewers' view names the agent.
    members = _flow.parsed(answer)
    full = isinstance(members, dict) and "agent" in members
    return _flow.document(Approval if full else PublicApproval, answer)


def filters(
    *,
    status: Status | Sequence[Status] | None,
    tool: str | None,
    rule: str | None,
    agent: str | None,
    risk: Risk | None,
    sla: Sla | None,
    trace_id: str | None,
    q: str | None,
    since: datetime | None,
    until: datetime | None,
    sort: str | None,
    limit: int | None,
    cursor: str | None,
) -> dict[str, str]:
    """The query of a listing."""
    if status is not None and not isinstance(status, str):
        status_text: str | None = ",".join(status)
    else:
        status_text = status
    given: dict[str, str | None] = {
        "status": status_text,
        "tool": tool,
        "rule": rule,
        "agent": agent,
        "risk": risk,
        "sla": sla,
        "trace_id": trace_id,
        "q": q,
        "since": _time("since", since),
        "until": _time("until", until),
        "sort": sort,
        "limit": None if limit is None else str(limit),
        "cursor": cursor,
    }
    return {name: value for name, value in given.items() if value is not None}


def _time(name: str, at: datetime | None) -> str | None:
    if at is None:
        return None
    if at.tzinfo is None:
        raise ConfigurationError(f"`{name}` must have a time zone: datetime.now(timezone.utc), say")
    return at.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def list_page(world: World, params: Mapping[str, str], outage_max: float) -> Flow[ApprovalList]:
    """A page of the queue or the history."""
    return _get(world, ApprovalList, "/v1/approvals", params, outage_max)


def decide(
    world: World, approval_id: str, decision: Decision, reason: str | None, payload: str | None, outage_max: float
) -> Flow[Approval]:
    """Approves or rejects."""
    body: DecideBody = {"decision": decision, "reason": reason, "payload_sha256": payload}
    return _post(world, Approval, path(approval_id), body, outage_max)


def bulk_decide(
    world: World, ids: Sequence[str], decision: Decision, reason: str | None, outage_max: float
) -> Flow[BulkAnswer]:
    """Approves or rejects many, each for itself."""
    body: BulkDecideBody = {"ids": list(ids), "decision": decision, "reason": reason}
    return _post(world, BulkAnswer, "/v1/approvals/bulk-decide", body, outage_max)


def cancel(world: World, approval_id: str, reason: str | None, outage_max: float) -> Flow[PublicApproval]:
    """Takes one's own pending approval back."""
    body: CancelBody = {"reason": reason}
    return _post(world, PublicApproval, path(approval_id, "/cancel"), body, outage_max)


def resolve(world: World, approval_id: str, outcome: ResolvedOutcome, note: str, outage_max: float) -> Flow[Approval]:
    """Settles an unknown outcome."""
    body: ResolveBody = {"outcome": outcome, "note": note}
    return _post(world, Approval, path(approval_id, "/resolve"), body, outage_max)


def timeline(
    world: World, approval_id: str, after: int | None, limit: int | None, outage_max: float
) -> Flow[AuditPage]:
    """Every event of an approval."""
    given = {"after": after, "limit": limit}
    params = {name: str(value) for name, value in given.items() if value is not None}
    return _get(world, AuditPage, path(approval_id, "/timeline"), params, outage_max)


def stats(world: World, outage_max: float) -> Flow[Stats]:
    """The queue in figures."""
    return _get(world, Stats, "/v1/approvals/stats", {}, outage_max)
