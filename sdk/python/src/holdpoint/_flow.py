"""The steps of a flow, and the one way in which a request is delivered.

What the client does is written once, as generators that yield steps: a `Call` to make, or a `Pause` to take. Two small drivers carry
the steps out, one with blocking calls and one with awaited ones. So both clients do the same, and a test can play the network and the
clock. An interruption (`KeyboardInterrupt`, a cancelled task) is thrown into the flow like any other failure of a step; steps that it
yields after that are its tidying up.
"""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, TypeAlias, TypeVar

from ._decode import DecodeError, decode
from .errors import ApiError, GatewayError, GatewayUnreachable, UnexpectedAnswer

log = logging.getLogger("holdpoint")

#: The first pause after a failure, and the longest one, in seconds.
BACKOFF_FIRST, BACKOFF_MAX = 0.5, 15.0
#: The longest `Retry-After` that is honoured in full, in seconds.
RETRY_AFTER_MAX = 300.0
#: How long after a deadline an answer that is on its way may still come in, in seconds.
DEADLINE_GRACE = 2.0
#: Statuses that pass when somebody other than the gateway says them: a load balancer, say.
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True)
class Call:
    """A request to make."""

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    #: How long the server is given to answer, in seconds; `None` for the client's own time.
    patience: float | None = None
    #: How long there is any use in an answer, in seconds; `None` for ever.
    at_most: float | None = None


@dataclass(frozen=True)
class Pause:
    """A time to let pass."""

    seconds: float


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    #: With names in lower case.
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class TransportFailed(Exception):
    """No answer came back. Never leaves this package."""

    def __init__(self, what: str, *, sent: bool = True, passing: bool = True) -> None:
        super().__init__(what)
        #: Whether the request may have reached the gateway.
        self.sent = sent
        #: Whether trying again may help.
        self.passing = passing


class TimeOver(Exception):
    """A deadline is over. Never leaves this package."""


T = TypeVar("T")
Step: TypeAlias = "Call | Pause"
Flow: TypeAlias = Generator[Step, "Answer | None", T]


@dataclass(frozen=True)
class World:
    """What a flow takes from outside besides answers."""

    #: Seconds on a clock that only goes forward.
    now: Callable[[], float]
    random: random.Random


@dataclass
class Delivery:
    """How long to try, and what is known about the tries."""

    #: How long failures may go on, in seconds.
    outage_max: float
    #: The moment after which there is no use in an answer.
    deadline: float | None = None
    #: Whether an attempt may have been carried out whose answer never came.
    maybe_done: bool = False


def call(request: Call) -> Flow[Answer]:
    """One attempt."""
    answer = yield request
    if answer is None:
        raise AssertionError("a call is answered or fails")
    return answer


def pause(seconds: float) -> Flow[None]:
    """Lets time pass."""
    if seconds > 0:
        yield Pause(seconds)


def deliver(world: World, request: Call, delivery: Delivery) -> Flow[Answer]:
    """Makes a request that is safe to repeat, again and again until the gateway has answered it."""
    failures, first_failure = 0, world.now()
    while True:
        known_before, delivery.maybe_done = delivery.maybe_done, True
        trouble: GatewayError
        try:
            answer = yield from call(_within(world, request, delivery))
        except TransportFailed as failed:
            if not failed.sent:
                delivery.maybe_done = known_before
            trouble, passing, told = GatewayUnreachable(str(failed)), failed.passing, None
        else:
            if 200 <= answer.status < 300:
                return answer
            error = problem(answer)
            if error.code and error.status < 500:
                delivery.maybe_done = known_before
            trouble, passing, told = error, _passes(error), _retry_after(answer)
        if not passing:
            raise trouble
        if failures == 0:
            first_failure = world.now()
        failures += 1
        delay = _delay(world, failures, told)
        log.debug("%s %s: %s; again in %.1f s", request.method, request.path, trouble, delay)
        yield from _hold_off(world, delay, first_failure, delivery, trouble)


def _within(world: World, request: Call, delivery: Delivery) -> Call:
    if delivery.deadline is None:
        return request
    return replace(request, at_most=max(0.0, delivery.deadline - world.now()) + DEADLINE_GRACE)


def _hold_off(world: World, delay: float, since: float, delivery: Delivery, trouble: GatewayError) -> Flow[None]:
    now = world.now()
    if delivery.deadline is not None and now + delay >= delivery.deadline:
        yield from pause(delivery.deadline - now)
        raise TimeOver
    if now + delay - since > delivery.outage_max:
        raise trouble
    yield from pause(delay)


def _delay(world: World, failures: int, told: float | None) -> float:
    """Grows with the failures, never the same for two clients, and never less than what the server asked for."""
    most = min(BACKOFF_MAX, BACKOFF_FIRST * 2.0 ** min(failures - 1, 16))
    delay = world.random.uniform(most / 2, most)
    if told is not None:
        told = min(told, RETRY_AFTER_MAX)
        delay = max(delay, told + world.random.uniform(0, min(1.0, told / 10)))
    return delay


def _passes(error: ApiError) -> bool:
    return error.status in _PASSING and (error.retryable if error.code else True)


def retry_after(answer: Answer) -> float:
    """When to come back, in seconds, as the server asked; nothing when it did not."""
    return min(_retry_after(answer) or 0.0, RETRY_AFTER_MAX)


def _retry_after(answer: Answer) -> float | None:
    text = answer.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        at = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    # A date without a zone is in UTC, as HTTP's are.
    at = at if at.tzinfo else at.replace(tzinfo=timezone.utc)
    return max(0.0, (at - datetime.now(timezone.utc)).total_seconds())


def problem(answer: Answer) -> ApiError:
    """An answer that is no success, as an error."""
    request_id = answer.headers.get("holdpoint-request-id")
    kind = answer.headers.get("content-type", "").split(";")[0].strip().lower()
    members = parsed(answer) if kind == "application/problem+json" else None
    if isinstance(members, dict) and isinstance(members.get("code"), str):
        title, detail = str(members.get("title", "")), str(members.get("detail", ""))
        if members["code"] == "no_route":
            detail += (
                "; the base URL of the proxy listener ends with /_holdpoint, that of the admin listener has no path"
            )
        return ApiError(answer.status, title, detail, members, request_id)
    # Not the gateway's own words: they are not repeated, for they may be anybody's.
    return ApiError(
        answer.status, "An answer that is not the gateway's", f"its type is {kind or 'unknown'!r}", {}, request_id
    )


def document(cls: type[T], answer: Answer) -> T:
    """The document of an answer."""
    try:
        return decode(cls, parsed(answer))
    except DecodeError as error:
        what = str(error)
    raise UnexpectedAnswer(f"{answer.status} with a document that is not the API's: {what}")


def parsed(answer: Answer) -> Any:
    """The body as JSON; `None` when it is none."""
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        return None
