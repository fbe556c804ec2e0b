"""The documents of the approvals API.

Written by `scripts/generate_models.py` from `openapi.json`. Do not edit: change the gateway, then run the script.
Times are aware `datetime`s in UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias, TypedDict

BulkResult: TypeAlias = Literal["decided", "already_decided", "expired", "forbidden", "not_found", "unavailable"]
Decision: TypeAlias = Literal["approved", "rejected"]
Kind: TypeAlias = Literal["call", "action"]
OutcomeState: TypeAlias = Literal["held", "releasing", "succeeded", "failed", "unknown", "resolved"]
ProblemCode: TypeAlias = Literal["blocked", "rejected", "expired", "cancelled", "approval_pending", "already_released", "idempotency_key_reused", "queue_full", "too_many_attempts", "too_many_streams", "store_unavailable", "draining", "internal", "upstream_unreachable", "outcome_unknown", "upstream_timeout", "result_too_large", "tools_refused", "definition_changed", "unauthenticated", "forbidden", "cross_site", "not_found", "no_route", "method_not_allowed", "method_not_implemented", "invalid_request", "already_decided", "payload_mismatch", "not_unknown", "no_result", "duplicate_key", "confusable_key", "bad_json", "too_deep", "too_large", "headers_too_large", "unsupported_media_type", "body_not_allowed", "path", "target_too_long", "expectation_failed", "version_not_supported", "framing", "host", "method_override", "tool_name", "batch", "invalid_message", "header_mismatch", "request_timeout", "body_incomplete"]
ResolvedOutcome: TypeAlias = Literal["committed", "not_committed"]
Risk: TypeAlias = Literal["low", "medium", "high", "critical"]
Sla: TypeAlias = Literal["ok", "due_soon", "breached", "expired"]
Status: TypeAlias = Literal["pending", "approved", "rejected", "expired", "cancelled"]


@dataclass(frozen=True, kw_only=True)
class ApprovalList:
    """A page of the queue or the history."""

    approvals: list[Approval]
    """At most `limit`."""
    next_cursor: str | None
    """Send it as `cursor`, with the same filters, for the next page; null at the end."""


@dataclass(frozen=True, kw_only=True)
class AuditPage:
    """A page of the trail."""

    records: list[RecordView]
    """Oldest first."""
    next_after: int | None
    """Send it as `after` for the next page; null when there are no more."""


@dataclass(frozen=True, kw_only=True)
class BulkAnswer:
    """What a bulk decision came to, in the order of the ids."""

    results: list[BulkLine]
    """One line for each id."""


@dataclass(frozen=True, kw_only=True)
class BulkLine:
    """One line of a bulk decision."""

    id: str
    """The id as it was sent."""
    result: BulkResult
    """What became of it."""
    status: str | None
    """The approval's status now."""
    detail: str | None
    """Why, where it is not `decided`."""


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """Whether anybody waits for the answer."""

    waiting: int
    """Live requests that wait."""
    left_at: datetime | None
    """When the last of them left."""


@dataclass(frozen=True, kw_only=True)
class DecidedBy:
    """Who closed an approval."""

    kind: str
    """`reviewer`, `agent`, `policy`, `operator` or `gateway`."""
    id: str | None
    """The reviewer's id."""
    channel: str | None
    """`api` or `dashboard`; null unless a reviewer."""
    at: datetime
    """When."""
    reason: str | None
    """Why."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a held call."""

    state: OutcomeState
    """`held`, `releasing`, `succeeded`, `failed`, `unknown` or `resolved`."""
    at: datetime | None
    """Since when; null while held."""
    upstream_status: int | None
    """The upstream's status, where it answered."""
    detail: str | None
    """What was seen, where it failed or is unknown."""
    retry_allowed: bool | None
    """Whether the same call may be tried again under this approval; null unless it failed."""
    resolved: ResolvedOutcome | None
    """What an unknown outcome was found to be."""


@dataclass(frozen=True, kw_only=True)
class PendingByRule:
    """Pending approvals of one rule and risk."""

    rule: str
    """The rule."""
    risk: str
    """The risk."""
    pending: int
    """How many."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What went wrong. `docs/reference/problems.md` has a section for each code."""

    type: str
    title: str
    status: int
    detail: str
    """What is wrong with this very request, and what to do."""
    code: ProblemCode
    retryable: bool
    """Whether the same request may be sent again and may then succeed."""


@dataclass(frozen=True, kw_only=True)
class PublicApproval:
    """An approval as the agent that asked sees it."""

    id: str
    """The id."""
    status: Status
    """`pending`, `approved`, `rejected`, `expired` or `cancelled`."""
    reason: str | None
    """What the reviewer or the policy said."""
    kind: Kind
    """`call` or `action`."""
    name: str
    """The tool, or the action."""
    trace_id: str | None
    """The trace."""
    rule: str
    """The rule that parked it; `api` for an action."""
    rule_reason: str | None
    """The rule's reason."""
    risk: Risk
    """`low`, `medium`, `high` or `critical`."""
    payload_sha256: str
    """SHA-256 of the payload that was asked about."""
    requested_at: datetime
    """When it was asked."""
    decided_at: datetime | None
    """When it was closed."""
    expires_at: datetime
    """When it expires undecided."""
    outcome: Outcome | None
    """What became of the held call; null for an action."""


@dataclass(frozen=True, kw_only=True)
class RecordView:
    """A record of the trail."""

    seq: int
    """Its place: counts from 1 without gaps."""
    event: Any
    """The event: the bytes between `"event":` and `,"previous":` are the ones that were hashed."""
    previous: str
    """The hash of the record before, in hexadecimal; 64 zeros for the first."""
    hash: str
    """SHA-256 over the previous hash, the place as eight bytes big-endian, and the event's bytes."""


@dataclass(frozen=True, kw_only=True)
class Resolution:
    """How an unknown outcome was settled."""

    outcome: ResolvedOutcome
    """What was found."""
    by: str
    """By whom."""
    at: datetime
    """When."""
    note: str
    """How."""


@dataclass(frozen=True, kw_only=True)
class Slot:
    """Approvals that are needed."""

    group: str | None
    """The group; null for any reviewer."""
    count: int
    """How many distinct people."""


@dataclass(frozen=True, kw_only=True)
class Stats:
    """The queue in figures."""

    pending: int
    """Pending approvals."""
    overdue: int
    """Pending past their SLA."""
    oldest_pending_at: datetime | None
    """When the oldest pending one was created."""
    by_rule: list[PendingByRule]
    """Pending by rule and risk."""
    now: datetime
    """The server's clock."""


@dataclass(frozen=True, kw_only=True)
class Vote:
    """An approving vote."""

    by: str
    """Who."""
    groups: list[str]
    """In which groups at that time."""
    at: datetime
    """When."""
    channel: str
    """`api` or `dashboard`."""
    reason: str | None
    """What was said."""


@dataclass(frozen=True, kw_only=True)
class Approval(PublicApproval):
    """An approval as reviewers see it."""

    agent: str
    """Who asks."""
    summary: str
    """One line."""
    input: Any
    """The input, redacted, digits and order as sent."""
    payload_bytes: int
    """Length of the raw payload in bytes."""
    upstream: str | None
    """The upstream of a call."""
    method: str | None
    """The HTTP method of a call."""
    target: str | None
    """Path and query of a call."""
    release: str | None
    """`attached` or `detached`; null for an action."""
    policy_revision: str
    """The policy revision that parked it."""
    stale_since: str | None
    """The revision since which its rule is another; null while it is not."""
    sla_at: datetime | None
    """From when on a decision is late."""
    sla: Sla
    """`ok`, `due_soon`, `breached` or `expired`."""
    approvers: list[Slot]
    """Who must approve."""
    votes: list[Vote]
    """Approving votes so far."""
    still_needed: list[Slot]
    """Who is still needed; empty once it is closed."""
    caller: Waiting
    """Whether the caller still waits."""
    decided_by: DecidedBy | None
    """Who closed it, when, by what way; null while pending."""
    resolution: Resolution | None
    """Who settled an unknown outcome; null unless somebody did."""
    grant_expires_at: datetime | None
    """Until when a retry of the same call may use the approval; null unless approved."""


class _BulkDecideRequired(TypedDict):
    ids: list[str]
    decision: Decision


class BulkDecideBody(_BulkDecideRequired, total=False):
    """One decision on many approvals."""

    reason: str | None


class CancelBody(TypedDict, total=False):
    """Takes a pending approval back."""

    reason: str | None


class _CreateApprovalRequired(TypedDict):
    action: str


class CreateApprovalBody(_CreateApprovalRequired, total=False):
    """Asks for approval of an action that is no proxied call."""

    context: Any
    trace_id: str | None
    expires_in: str | None


class _DecideRequired(TypedDict):
    decision: Decision


class DecideBody(_DecideRequired, total=False):
    """A decision."""

    reason: str | None
    payload_sha256: str | None


class _ResolveRequired(TypedDict):
    outcome: ResolvedOutcome
    note: str


class ResolveBody(_ResolveRequired, total=False):
    """Settles an unknown outcome."""
