"""The blocking client."""

from __future__ import annotations

import random
import ssl
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from types import TracebackType
from typing import Literal

import httpx

from . import _approvals, _config, _operations
from ._approvals import Waiting
from ._ask import Json, ask
from ._flow import Delivery, TimeOver, World
from ._transport import HEADERS, LIMITS, Blocking, Wire
from .errors import ApprovalTimeout
from .models import (
    Approval,
    ApprovalList,
    AuditPage,
    BulkAnswer,
    Decision,
    PublicApproval,
    ResolvedOutcome,
    Risk,
    Sla,
    Stats,
    Status,
)

__all__ = ["Holdpoint"]


class Holdpoint:
    """The approvals API, with blocking calls. Safe to share between threads; close it, or use it in a `with`.

    Args:
        url: The base URL: `http://PROXY/_holdpoint` for agents, the admin listener for reviewers (and for agents that reach it).
            Left out: the environment variable `HOLDPOINT_URL`.
        token: The bearer token of an agent or a reviewer. Left out: `HOLDPOINT_TOKEN`. It is sent to `url` and shown nowhere.
        request_timeout: How long one request may take, in seconds; requests that wait on purpose have longer.
        outage_max: For how long a failing call is tried again, in seconds. Waiting has its own.
        verify: `False`, or an `ssl.SSLContext` with your own authorities or a client certificate.
        transport: An httpx transport, for a Unix socket, say.

    Raises:
        ConfigurationError: There is no URL or no token, or it makes no sense.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        request_timeout: float = 30.0,
        outage_max: float = 30.0,
        verify: ssl.SSLContext | bool = True,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        wire = Wire(
            _config.base_url(url), _config.credential(token), _config.seconds("request_timeout", request_timeout)
        )
        self._outage_max = _config.seconds("outage_max", outage_max, zero=True)
        self._base = wire.base
        self._world = World(time.monotonic, random.SystemRandom())
        self._http = httpx.Client(verify=verify, transport=transport, headers=HEADERS, limits=LIMITS)
        self._run = Blocking(wire, self._http, time.sleep).run

    def __repr__(self) -> str:
        return f"{type(self).__name__}(url={self._base!r})"

    def __enter__(self) -> Holdpoint:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes its connections."""
        self._http.close()

    def require_approval(
        self,
        action: str,
        context: Json = None,
        *,
        timeout: float | None = 3600.0,
        poll_interval: float = 5.0,
        idempotency_key: str | None = None,
        trace_id: str | None = None,
        expires_in: float | None = None,
        outage_max: float = 600.0,
    ) -> PublicApproval:
        """Asks for approval and returns it once a reviewer has approved. Agents. See `holdpoint.require_approval`."""
        how = Waiting(timeout, poll_interval, outage_max).checked()
        open_for = _approvals.open_for(timeout, expires_in)
        asked = ask(action, context, trace_id=trace_id, expires_in=open_for, key=idempotency_key)
        return self._run(_approvals.require(self._world, asked, how))

    def create(
        self,
        action: str,
        context: Json = None,
        *,
        trace_id: str | None = None,
        expires_in: float | None = None,
        idempotency_key: str | None = None,
    ) -> PublicApproval:
        """Asks for approval and does not wait. Agents.

        Args:
            action: What is to be done: 1 to 256 characters.
            context: What a reviewer needs to know: any JSON value.
            trace_id: The trace it belongs to, at most 128 characters.
            expires_in: How long it stays open, in seconds, at most seven days; an hour when left out.
            idempotency_key: The same key with the same action and context is the same approval. Left out: a new one for each call.

        Raises:
            ApiError: `queue_full` (429) after it was tried for `outage_max`; `idempotency_key_reused` (422); …
            GatewayUnreachable: No answer for `outage_max`.
        """
        asked = ask(action, context, trace_id=trace_id, expires_in=expires_in, key=idempotency_key)
        return self._run(_approvals.create(self._world, asked, Delivery(self._outage_max)))

    def get(self, approval_id: str, *, wait: float = 0.0) -> PublicApproval:
        """One approval: an `Approval` with everything for reviewers. Agents see their own, reviewers all.

        Args:
            approval_id: Which.
            wait: How long the server shall wait for a decision before it answers, in seconds; it may cut that short.

        Raises:
            ApiError: `not_found` (404): there is none such, or it is another agent's.
        """
        return self._run(_operations.get(self._world, approval_id, wait, self._outage_max))

    def wait(
        self,
        approval_id: str,
        *,
        timeout: float | None = 3600.0,
        poll_interval: float = 5.0,
        outage_max: float = 600.0,
    ) -> PublicApproval:
        """Waits until it is not pending any more and returns it, however it was decided: look at `status`.

        Args:
            approval_id: Which.
            timeout: How long, in seconds; `None` for as long as it is open.
            poll_interval: The shortest time between two looks, in seconds.
            outage_max: For how long the gateway may be away, in seconds.

        Raises:
            ApprovalTimeout: It is still pending. It is left open: `cancel` takes it back.
        """
        how = Waiting(timeout, poll_interval, outage_max).checked()
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            return self._run(_approvals.until_closed(self._world, approval_id, how, deadline))
        except TimeOver:
            pass
        raise ApprovalTimeout(approval_id, timeout or 0.0, None, withdrawn=False)

    def list(
        self,
        *,
        status: Status | Sequence[Status] | None = None,
        tool: str | None = None,
        rule: str | None = None,
        agent: str | None = None,
        risk: Risk | None = None,
        sla: Sla | None = None,
        trace_id: str | None = None,
        q: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        sort: Literal["newest", "oldest"] | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> ApprovalList:
        """A page of the queue and the history. Reviewers.

        Args:
            status: One or several; any when left out.
            tool: The tool or the action, whole.
            rule: The rule, whole.
            agent: The agent, whole.
            risk: The risk.
            sla: The SLA state at this moment.
            trace_id: The trace, whole.
            q: Text in the name, the summary, the agent or the preview, in any case.
            since: Asked at or after. With a time zone.
            until: Asked before. With a time zone.
            sort: `newest` first when left out.
            limit: 1 to 200; 50 when left out.
            cursor: The `next_cursor` of an earlier page of the same filters.
        """
        params = _operations.filters(
            status=status,
            tool=tool,
            rule=rule,
            agent=agent,
            risk=risk,
            sla=sla,
            trace_id=trace_id,
            q=q,
            since=since,
            until=until,
            sort=sort,
            limit=limit,
            cursor=cursor,
        )
        return self._run(_operations.list_page(self._world, params, self._outage_max))

    def pending(self) -> Iterator[Approval]:
        """All that waits for a decision, oldest first, page by page. Reviewers."""
        cursor = None
        while True:
            page = self.list(status="pending", sort="oldest", limit=200, cursor=cursor)
            yield from page.approvals
            cursor = page.next_cursor
            if cursor is None:
                return

    def decide(
        self, approval_id: str, decision: Decision, *, reason: str | None = None, payload_sha256: str | None = None
    ) -> Approval:
        """Approves or rejects. Reviewers. Where several people are needed it may still be pending after that.

        Args:
            approval_id: Which.
            decision: `"approved"` or `"rejected"`.
            reason: For the caller and the trail, at most 2 000 characters.
            payload_sha256: What you looked at. The decision is refused when that is not what is held.

        Raises:
            ApiError: `already_decided` (409) with the decision that stands in `members["standing"]`; `payload_mismatch` (409);
                `forbidden` (403); `not_found` (404).
        """
        flow = _operations.decide(self._world, approval_id, decision, reason, payload_sha256, self._outage_max)
        return self._run(flow)

    def bulk_decide(self, ids: Sequence[str], decision: Decision, *, reason: str | None = None) -> BulkAnswer:
        """Approves or rejects 1 to 200, each for itself: every line of the answer says what became of one. Reviewers."""
        return self._run(_operations.bulk_decide(self._world, ids, decision, reason, self._outage_max))

    def cancel(self, approval_id: str, *, reason: str | None = None) -> PublicApproval:
        """Takes one's own pending approval back. Agents.

        Raises:
            ApiError: `already_decided` (409): somebody was first; `not_found` (404).
        """
        return self._run(_operations.cancel(self._world, approval_id, reason, self._outage_max))

    def resolve(self, approval_id: str, outcome: ResolvedOutcome, note: str) -> Approval:
        """Settles an unknown outcome: the call ran (`"committed"`) or it did not (`"not_committed"`). Reviewers.

        Raises:
            ApiError: `not_unknown` (409): its outcome is known; `not_found` (404).
        """
        return self._run(_operations.resolve(self._world, approval_id, outcome, note, self._outage_max))

    def timeline(self, approval_id: str, *, after: int | None = None, limit: int | None = None) -> AuditPage:
        """Every event of an approval, oldest first: records behind `after`, 1 to 1 000 at a time, 100 when left out. Reviewers."""
        return self._run(_operations.timeline(self._world, approval_id, after, limit, self._outage_max))

    def stats(self) -> Stats:
        """The queue in figures. Reviewers."""
        return self._run(_operations.stats(self._world, self._outage_max))
