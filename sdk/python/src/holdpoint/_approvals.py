"""Asking and waiting: the flows in which nothing may go on without an approval."""

from __future__ import annotations

from dataclasses import dataclass

from . import _config, _flow
from ._ask import Ask
from ._flow import Call, Delivery, Flow, TimeOver, World, log
from .errors import (
    ApiError,
    ApprovalCancelled,
    ApprovalExpired,
    ApprovalRejected,
    ApprovalTimeout,
    HoldpointError,
    UnexpectedAnswer,
)
from .models import PublicApproval

#: How long the server is asked to keep one request waiting, in seconds. Below what proxies commonly allow an idle connection.
LONG_POLL = 25.0
#: How much longer than that an answer may take, in seconds.
LONG_POLL_MARGIN = 15.0
#: How long taking an approval back may take, in seconds; somebody waits for the program to end.
WITHDRAW_WITHIN = 5.0
#: How much longer than it is waited for an approval stays open, in seconds: time to take it back.
OPEN_LONGER = 10.0


@dataclass(frozen=True)
class Waiting:
    """How to wait."""

    #: In seconds from the beginning; `None` for as long as the approval is open.
    timeout: float | None
    #: The shortest time between two looks, in seconds.
    poll_interval: float
    #: How long the gateway may be away, in seconds.
    outage_max: float

    def checked(self) -> Waiting:
        """These, if they make sense."""
        if self.timeout is not None:
            _config.seconds("timeout", self.timeout)
        _config.seconds("poll_interval", self.poll_interval)
        _config.seconds("outage_max", self.outage_max, zero=True)
        return self


def open_for(timeout: float | None, expires_in: float | None) -> float | None:
    """How long an approval that is waited for so long is left open."""
    return expires_in if expires_in is not None or timeout is None else timeout + OPEN_LONGER


@dataclass
class _Progress:
    """What is known of the approval while it is asked for."""

    creation: Delivery
    approval: PublicApproval | None = None


def create(world: World, asked: Ask, delivery: Delivery) -> Flow[PublicApproval]:
    """Creates the approval, once, however often it has to be tried."""
    headers = {"Content-Type": "application/json", "Idempotency-Key": asked.key}
    answer = yield from _flow.deliver(world, Call("POST", "/v1/approvals", body=asked.body, headers=headers), delivery)
    return asked.check(_flow.document(PublicApproval, answer))


def look(world: World, approval_id: str, wait: float, delivery: Delivery) -> Flow[tuple[PublicApproval, float]]:
    """The approval, after at most `wait` seconds if it stays pending; and when the server wants to be asked again."""
    params = {"wait": f"{int(wait * 1000)}ms"} if wait > 0 else {}
    request = Call("GET", path(approval_id), params=params, patience=wait + LONG_POLL_MARGIN if wait > 0 else None)
    answer = yield from _flow.deliver(world, request, delivery)
    approval = _flow.document(PublicApproval, answer)
    if approval.id != approval_id:
        raise UnexpectedAnswer(f"asked for {approval_id} and got {approval.id}")
    return approval, _flow.retry_after(answer)


def path(approval_id: str, rest: str = "") -> str:
    """The path of an approval."""
    return f"/v1/approvals/{_config.approval_id(approval_id)}{rest}"


def until_closed(world: World, approval_id: str, how: Waiting, deadline: float | None) -> Flow[PublicApproval]:
    """Follows an approval until it is not pending any more; `TimeOver` at the deadline."""
    while True:
        began = world.now()
        left = LONG_POLL if deadline is None else deadline - began
        if left <= 0:
            raise TimeOver
        delivery = Delivery(how.outage_max, deadline)
        approval, again = yield from look(world, approval_id, min(LONG_POLL, left), delivery)
        if approval.status != "pending":
            return approval
        # A server that kept the request waiting has let the interval pass already.
        interval = max(how.poll_interval * world.random.uniform(0.9, 1.1), again)
        rest = began + interval - world.now()
        yield from _flow.pause(rest if deadline is None else min(rest, deadline - world.now()))


def require(world: World, asked: Ask, how: Waiting) -> Flow[PublicApproval]:
    """Asks, waits, and returns the approval once a reviewer has approved. Every other end is an exception."""
    deadline = None if how.timeout is None else world.now() + how.timeout
    progress = _Progress(Delivery(how.outage_max, deadline))
    try:
        progress.approval = yield from create(world, asked, progress.creation)
        log.info("waiting for approval %s of %r", progress.approval.id, asked.action)
        closed = progress.approval
        if closed.status == "pending":
            closed = yield from until_closed(world, closed.id, how, deadline)
    except GeneratorExit:
        raise
    except TimeOver:
        pass
    except BaseException:
        # Whoever asked goes away, for whatever reason: nobody shall be asked to approve it any more.
        yield from _withdraw(world, asked, progress)
        raise
    else:
        return approved(asked.check(closed))
    return (yield from _time_over(world, asked, how, progress))


def approved(approval: PublicApproval) -> PublicApproval:
    """The approval, if it says so; what it says instead as an exception."""
    log.info("approval %s is %s", approval.id, approval.status)
    match approval.status:
        case "approved":
            return approval
        case "rejected":
            raise ApprovalRejected(approval)
        case "expired":
            raise ApprovalExpired(approval)
        case "cancelled":
            raise ApprovalCancelled(approval)
        case other:
            raise UnexpectedAnswer(f"approval {approval.id} is {other!r}, which this client does not know")


def _time_over(world: World, asked: Ask, how: Waiting, progress: _Progress) -> Flow[PublicApproval]:
    """Takes it back. A decision that was made before that stands: the first one does."""
    standing, ours = yield from _withdraw(world, asked, progress)
    closed = ours or (progress.approval is None and not progress.creation.maybe_done)
    if standing is not None and not closed:
        match standing.status:
            case "expired":
                # Its time on the server was over first; to whoever waits it is the same.
                closed = True
            case "pending":
                pass
            case _:
                return approved(asked.check(standing))
    raise ApprovalTimeout(asked.action, how.timeout or 0.0, standing or progress.approval, closed)


def _withdraw(world: World, asked: Ask, progress: _Progress) -> Flow[tuple[PublicApproval | None, bool]]:
    """The approval as it stands after an attempt to take it back, and whether that attempt closed it."""
    if progress.approval is None and not progress.creation.maybe_done:
        return None, False
    delivery = Delivery(WITHDRAW_WITHIN, world.now() + WITHDRAW_WITHIN)
    try:
        if progress.approval is None:
            # Its creation was sent and the answer never came. The same key finds it.
            progress.approval = yield from create(world, asked, delivery)
        return (yield from _cancel(world, progress.approval, Delivery(WITHDRAW_WITHIN, delivery.deadline)))
    except (HoldpointError, TimeOver) as error:
        log.warning(
            "approval of %r could not be withdrawn (%s); it expires by itself", asked.action, error or "no time"
        )
        return None, False


def _cancel(world: World, approval: PublicApproval, delivery: Delivery) -> Flow[tuple[PublicApproval, bool]]:
    body = b'{"reason":"The caller does not wait any more."}'
    request = Call("POST", path(approval.id, "/cancel"), body=body, headers={"Content-Type": "application/json"})
    try:
        answer = yield from _flow.deliver(world, request, delivery)
    except ApiError as error:
        if error.code != "already_decided":
            raise
        # Somebody was first; or an earlier attempt was, whose answer was lost.
        lost_before = delivery.maybe_done
        standing, _ = yield from look(world, approval.id, 0, delivery)
        return standing, lost_before and standing.status == "cancelled"
    standing = _flow.document(PublicApproval, answer)
    return standing, standing.status == "cancelled"
