"""Asking in one line: the functions, and the decorator."""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar, cast

from ._ask import Json, encode
from ._async_client import AsyncHoldpoint
from ._client import Holdpoint
from .errors import ApprovalMismatch, ConfigurationError
from .models import PublicApproval

P = ParamSpec("P")
R = TypeVar("R")


def require_approval(
    action: str,
    context: Json = None,
    *,
    timeout: float | None = 3600.0,
    poll_interval: float = 5.0,
    idempotency_key: str | None = None,
    trace_id: str | None = None,
    expires_in: float | None = None,
    outage_max: float = 600.0,
    client: Holdpoint | None = None,
) -> PublicApproval:
    """Asks for approval, waits, and returns the approval once a reviewer has approved. Every other end is an exception.

    When the caller goes away while it waits (Ctrl-C, an exception, the timeout), the approval is taken back on the server.

    Args:
        action: What is to be done: 1 to 256 characters. Reviewers see it first.
        context: What a reviewer needs to know: any JSON value. It is shown as it is, so put no secret into it.
        timeout: How long to wait, in seconds; `None` for as long as the approval is open.
        poll_interval: The shortest time between two looks, in seconds. A gateway that keeps the request waiting is not polled.
        idempotency_key: Names this one action for good: the same key with the same action and context is the same approval, however it
            was decided. Left out: a new key for each call. A lost answer never makes two approvals either way.
        trace_id: The trace it belongs to, at most 128 characters.
        expires_in: How long the approval stays open on the server, in seconds, at most seven days. Left out: a little longer than
            `timeout`, or an hour where there is none.
        outage_max: For how long the gateway may be away, in seconds.
        client: The client to use. Left out: one of its own, from `HOLDPOINT_URL` and `HOLDPOINT_TOKEN`.

    Raises:
        ApprovalRejected: A reviewer said no; `reason` is what was said.
        ApprovalExpired: Nobody decided before it expired.
        ApprovalCancelled: It was taken back elsewhere.
        ApprovalTimeout: Nobody decided within `timeout`.
        ApprovalMismatch: The approval is about something else.
        GatewayUnreachable: No gateway for longer than `outage_max`.
        ApiError: The gateway refused: a wrong token, a key used for something else, a context that is too large.
        ConfigurationError: Something that was passed makes no sense; nothing was sent.
    """
    with ExitStack() as stack:
        used = client if client is not None else stack.enter_context(Holdpoint())
        return used.require_approval(
            action,
            context,
            timeout=timeout,
            poll_interval=poll_interval,
            idempotency_key=idempotency_key,
            trace_id=trace_id,
            expires_in=expires_in,
            outage_max=outage_max,
        )


async def require_approval_async(
    action: str,
    context: Json = None,
    *,
    timeout: float | None = 3600.0,
    poll_interval: float = 5.0,
    idempotency_key: str | None = None,
    trace_id: str | None = None,
    expires_in: float | None = None,
    outage_max: float = 600.0,
    client: AsyncHoldpoint | None = None,
) -> PublicApproval:
    """`require_approval`, awaited. When the task is cancelled, the approval is taken back on the server."""
    async with AsyncExitStack() as stack:
        used = client if client is not None else await stack.enter_async_context(AsyncHoldpoint())
        return await used.require_approval(
            action,
            context,
            timeout=timeout,
            poll_interval=poll_interval,
            idempotency_key=idempotency_key,
            trace_id=trace_id,
            expires_in=expires_in,
            outage_max=outage_max,
        )


@dataclass(frozen=True)
class _Gate:
    """What a decorated function asks for when it is called."""

    action: str
    signature: inspect.Signature
    context: Callable[..., Json] | None
    exclude: frozenset[str]
    key: Callable[..., str] | None

    def shown(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Json:
        """What the reviewer sees: the arguments by name, unless the function's author chose otherwise."""
        if self.context is not None:
            return self.context(*args, **kwargs)
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return {name: value for name, value in bound.arguments.items() if name not in self.exclude}

    def frozen(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
        """What the reviewer sees, as bytes."""
        try:
            return encode(self.shown(args, kwargs), "context")
        except ConfigurationError as error:
            problem = str(error)
        raise ConfigurationError(
            f"the arguments of {self.action!r} cannot be shown to a reviewer: {problem}; "
            "name them in `exclude`, or pass `context`, a function of the same arguments that returns what to show"
        )

    def snapshot(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Json:
        """What the reviewer sees, cut off from the arguments: whoever changes them later changes nothing here."""
        seen: Json = json.loads(self.frozen(args, kwargs)) if self.context is None else self.context(*args, **kwargs)
        return seen

    def unchanged(self, approval: PublicApproval, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Refuses arguments that were changed while the reviewer looked at them."""
        if self.context is not None:
            # What it returns need not be the same twice.
            return
        if hashlib.sha256(self.frozen(args, kwargs)).hexdigest() != approval.payload_sha256:
            raise ApprovalMismatch(f"the arguments of {self.action!r} were changed while it waited for approval")

    def key_of(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str | None:
        return self.key(*args, **kwargs) if self.key is not None else None


def requires_approval(
    action: str | None = None,
    *,
    context: Callable[..., Json] | None = None,
    exclude: Sequence[str] = (),
    timeout: float | None = 3600.0,
    poll_interval: float = 5.0,
    idempotency_key: Callable[..., str] | None = None,
    outage_max: float = 600.0,
    client: Holdpoint | AsyncHoldpoint | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Lets a function run only after a reviewer has approved this very call of it. For `def` and `async def`.

    The reviewer sees the arguments by name. They must be the same when the function runs: one that was changed while it waited is an
    `ApprovalMismatch`.

    Args:
        action: What the reviewer sees. Left out: the function's module and name.
        context: A function of the same arguments that returns what the reviewer sees instead of them.
        exclude: Names of arguments that the reviewer must not see, such as secrets. `self` and `cls` are never shown.
        timeout: How long to wait, in seconds; `None` for as long as the approval is open.
        poll_interval: The shortest time between two looks, in seconds.
        idempotency_key: A function of the same arguments that names this one call for good. Left out: each call asks anew.
        outage_max: For how long the gateway may be away, in seconds.
        client: The client to use: a `Holdpoint` for `def`, an `AsyncHoldpoint` for `async def`. Left out: one for each call.

    Raises:
        ConfigurationError: When decorating: the client is of the wrong kind, or `exclude` names no argument.
    """
    if not (action is None or isinstance(action, str)):
        raise ConfigurationError("write @requires_approval(), with parentheses")
    waiting: dict[str, Any] = {"timeout": timeout, "poll_interval": poll_interval, "outage_max": outage_max}

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        gate = _gate(function, action, context, exclude, idempotency_key)
        if inspect.iscoroutinefunction(function):
            if isinstance(client, Holdpoint):
                raise ConfigurationError(f"{gate.action!r} is async: pass an AsyncHoldpoint as `client`")
            wrapped = _awaited(cast("Callable[..., Awaitable[Any]]", function), gate, client, waiting)
            return cast("Callable[P, R]", wrapped)
        if isinstance(client, AsyncHoldpoint):
            raise ConfigurationError(f"{gate.action!r} is not async: pass a Holdpoint as `client`")
        return _blocking(function, gate, client, waiting)

    return decorate


def _gate(
    function: Callable[..., Any],
    action: str | None,
    context: Callable[..., Json] | None,
    exclude: Sequence[str],
    key: Callable[..., str] | None,
) -> _Gate:
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        raise ConfigurationError("a generator runs piece by piece: decorate the function that does the work")
    signature = inspect.signature(function)
    names = list(signature.parameters)
    unknown = [name for name in exclude if name not in names]
    if unknown:
        raise ConfigurationError(f"`exclude` names {unknown[0]!r}, which is no argument of {function.__qualname__}")
    hidden = frozenset(exclude) | frozenset(name for name in names[:1] if name in ("self", "cls"))
    return _Gate(action or f"{function.__module__}.{function.__qualname__}", signature, context, hidden, key)


def _blocking(
    function: Callable[P, R], gate: _Gate, client: Holdpoint | None, waiting: Mapping[str, Any]
) -> Callable[P, R]:
    @functools.wraps(function)
    def approved(*args: P.args, **kwargs: P.kwargs) -> R:
        shown, key = gate.snapshot(args, kwargs), gate.key_of(args, kwargs)
        approval = require_approval(gate.action, shown, idempotency_key=key, client=client, **waiting)
        gate.unchanged(approval, args, kwargs)
        return function(*args, **kwargs)

    return approved


def _awaited(
    function: Callable[..., Awaitable[Any]], gate: _Gate, client: AsyncHoldpoint | None, waiting: Mapping[str, Any]
) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(function)
    async def approved(*args: Any, **kwargs: Any) -> Any:
        shown, key = gate.snapshot(args, kwargs), gate.key_of(args, kwargs)
        approval = await require_approval_async(gate.action, shown, idempotency_key=key, client=client, **waiting)
        gate.unchanged(approval, args, kwargs)
        return await function(*args, **kwargs)

    return approved
