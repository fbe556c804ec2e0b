"""A network and a clock that follow a script, with a small model of the gateway behind them.

For what cannot be had from the real gateway on demand: an answer that is lost at a chosen moment, five minutes that pass in no time. Each
request uses up one fault of the script; when the script is at its end, everything works.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from holdpoint import PublicApproval
from holdpoint._approvals import Waiting, open_for, require
from holdpoint._ask import ask
from holdpoint._config import credential
from holdpoint._flow import World
from holdpoint._transport import Blocking, Wire


@dataclass(frozen=True)
class Fault:
    """What happens to one request."""

    #: `none`, `refuse`, `lose_request`, `lose_answer`, `hang`, `status`, `problem`, `restart` or `interrupt`.
    kind: str
    status: int = 503
    retry_after: int | None = None
    #: How long the gateway is away after a `restart`, in seconds.
    away: float = 0.0


@dataclass
class Clock:
    """Time that passes when it is let pass."""

    now: float = 1000.0
    #: The pause in which the person at the keyboard has had enough.
    interrupt_at_pause: int | None = None
    pauses: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.pauses.append(seconds)
        if self.interrupt_at_pause is not None and len(self.pauses) - 1 == self.interrupt_at_pause:
            self.interrupt_at_pause = None
            raise KeyboardInterrupt
        self.now += seconds


@dataclass
class Request:
    """A request that was made."""

    at: float
    method: str
    path: str
    body: bytes
    key: str | None
    fault: Fault


@dataclass
class Scripted(httpx.BaseTransport):
    """The network, and the gateway behind it."""

    clock: Clock
    faults: list[Fault]
    #: How it is decided, and when after it was created; `None` when nobody does.
    decision: str | None
    decided_after: float
    wait_max: float = 300.0

    def __post_init__(self) -> None:
        self.by_key: dict[str, dict[str, Any]] = {}
        self.requests: list[Request] = []
        self.away_until = 0.0
        #: From when on the client may come again, as it was told.
        self.told: list[tuple[int, float]] = []

    def approvals(self) -> list[dict[str, Any]]:
        """All that were ever created, as they stand."""
        for approval in self.by_key.values():
            self._settle(approval)
        return list(self.by_key.values())

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Does what the script says to this request."""
        assert request.headers["authorization"] == "Bearer t"
        key = request.headers.get("idempotency-key")
        away = self.clock.now < self.away_until
        fault = Fault("refuse") if away else self.faults.pop(0) if self.faults else Fault("none")
        self.requests.append(Request(self.clock.now, request.method, request.url.path, request.read(), key, fault))
        self.clock.now += 0.001
        match fault.kind:
            case "none":
                return self._serve(request)
            case "refuse":
                raise httpx.ConnectError("connection refused")
            case "lose_request":
                raise httpx.WriteError("broken pipe")
            case "lose_answer":
                self._serve(request)
                raise httpx.RemoteProtocolError("server disconnected without sending a response")
            case "hang":
                self._serve(request)
                self.clock.now += request.extensions["timeout"]["read"]
                raise httpx.ReadTimeout("timed out")
            case "restart":
                self.away_until = self.clock.now + fault.away
                raise httpx.ReadError("connection reset by peer")
            case "interrupt":
                self._serve(request)
                raise KeyboardInterrupt
        return self._refusal(fault)

    def _refusal(self, fault: Fault) -> httpx.Response:
        headers = {}
        if fault.retry_after is not None:
            headers["Retry-After"] = str(fault.retry_after)
            self.told.append((len(self.requests), self.clock.now + fault.retry_after))
        if fault.kind == "status":
            return httpx.Response(fault.status, headers=headers, text="<html>bad gateway</html>")
        code = {429: "queue_full", 503: "store_unavailable"}[fault.status]
        document = {"title": "x", "detail": "y", "status": fault.status, "code": code, "retryable": True, "type": "z"}
        headers["Content-Type"] = "application/problem+json"
        return httpx.Response(fault.status, headers=headers, content=json.dumps(document))

    def _serve(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST" and request.url.path.endswith("/v1/approvals"):
            return self._create(request)
        approval_id = request.url.path.split("/v1/approvals/")[1].removesuffix("/cancel")
        approval = next(a for a in self.by_key.values() if a["id"] == approval_id)
        if request.method == "POST":
            return self._cancel(approval)
        wait = float(request.url.params.get("wait", "0ms").removesuffix("ms")) / 1000
        self._wait(approval, min(wait, self.wait_max))
        return self._answer(200, approval)

    def _create(self, request: httpx.Request) -> httpx.Response:
        key = request.headers["idempotency-key"]
        body = json.loads(request.content)
        if key not in self.by_key:
            context = request.content.partition(b'"context":')[2][:-1] or b"{}"
            self.by_key[key] = {
                "id": f"apr_{len(self.by_key) + 1}",
                "status": "pending",
                "reason": None,
                "kind": "action",
                "name": body["action"],
                "trace_id": None,
                "rule": "api",
                "rule_reason": None,
                "risk": "medium",
                "payload_sha256": hashlib.sha256(context).hexdigest(),
                "requested_at": "2026-01-01T00:00:00.000Z",
                "decided_at": None,
                "expires_at": "2026-01-01T01:00:00.000Z",
                "outcome": None,
                "_created": self.clock.now,
                "_expires": self.clock.now + float(body["expires_in"].removesuffix("s")),
            }
        return self._answer(201, self.by_key[key])

    def _decided_at(self, approval: dict[str, Any]) -> float:
        decided: float = approval["_created"] + self.decided_after if self.decision else float("inf")
        return decided

    def _settle(self, approval: dict[str, Any]) -> None:
        if approval["status"] != "pending":
            return
        decided, expires = self._decided_at(approval), approval["_expires"]
        if decided <= self.clock.now and decided < expires:
            approval.update(status=self.decision, reason="said the reviewer", _closed=decided)
        elif expires <= self.clock.now:
            approval.update(status="expired", _closed=expires)

    def _wait(self, approval: dict[str, Any], wait: float) -> None:
        self._settle(approval)
        if approval["status"] == "pending":
            closes = min(self._decided_at(approval), approval["_expires"])
            self.clock.now = min(self.clock.now + wait, max(closes, self.clock.now))
            self._settle(approval)

    def _cancel(self, approval: dict[str, Any]) -> httpx.Response:
        self._settle(approval)
        if approval["status"] != "pending":
            document = {"title": "Already decided", "detail": "", "code": "already_decided", "retryable": False}
            headers = {"Content-Type": "application/problem+json"}
            return httpx.Response(409, headers=headers, content=json.dumps(document))
        approval.update(status="cancelled", _closed=self.clock.now)
        return self._answer(200, approval)

    def _answer(self, status: int, approval: dict[str, Any]) -> httpx.Response:
        self._settle(approval)
        headers = {"Retry-After": "5"} if approval["status"] == "pending" else {}
        shown = {name: value for name, value in approval.items() if not name.startswith("_")}
        return httpx.Response(status, headers=headers, json=shown)


@dataclass
class Play:
    """What one `require_approval` came to."""

    network: Scripted
    clock: Clock
    began: float
    approval: PublicApproval | None
    error: BaseException | None

    @property
    def withdrawal_got_through(self) -> bool:
        """Whether the last request, which takes the approval back when there was something to take back, went well."""
        return self.network.requests[-1].fault.kind == "none"

    @property
    def took(self) -> float:
        return self.clock.now - self.began


def play(
    faults: Sequence[Fault],
    *,
    decision: str | None = "approved",
    decided_after: float = 60.0,
    timeout: float | None = 3600.0,
    outage_max: float = 600.0,
    poll_interval: float = 5.0,
    interrupt_at_pause: int | None = None,
    seed: int = 0,
    wait_max: float = 300.0,
    before: Callable[[Scripted], None] | None = None,
) -> Play:
    """Requires an approval over this network."""
    clock = Clock(interrupt_at_pause=interrupt_at_pause)
    network = Scripted(clock, list(faults), decision, decided_after, wait_max)
    if before:
        before(network)
    began = clock.now
    asked = ask("deploy", {"version": "1.4.2"}, expires_in=open_for(timeout, None) or 3600)
    how = Waiting(timeout, poll_interval, outage_max).checked()
    approval, failed = None, None
    with httpx.Client(transport=network) as client:
        driver = Blocking(Wire("http://gateway/base", credential("t"), 30.0), client, clock.sleep)
        try:
            approval = driver.run(require(World(clock, random.Random(seed)), asked, how))
        except BaseException as error:
            failed = error
    return Play(network, clock, began, approval, failed)
