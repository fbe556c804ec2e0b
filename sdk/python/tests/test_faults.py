"""What holds whatever the network does."""

from __future__ import annotations

import itertools
import threading
import time

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import Gateway, token
from holdpoint import (
    ApiError,
    ApprovalExpired,
    ApprovalRejected,
    ApprovalTimeout,
    GatewayError,
    GatewayUnreachable,
    Holdpoint,
    HoldpointError,
    NotApproved,
    UnexpectedAnswer,
)
from holdpoint._approvals import WITHDRAW_WITHIN
from holdpoint._flow import DEADLINE_GRACE
from scripted import Fault, Play, Scripted, play

NETWORK = st.sampled_from(["refuse", "lose_request", "lose_answer", "hang"]).map(Fault)
REFUSALS = st.builds(
    Fault,
    kind=st.sampled_from(["status", "problem"]),
    status=st.sampled_from([429, 503]),
    retry_after=st.none() | st.integers(0, 90),
)
ELSEWHERE = st.builds(Fault, kind=st.just("status"), status=st.sampled_from([408, 500, 502, 504]))
RESTARTS = st.builds(Fault, kind=st.just("restart"), away=st.floats(0, 200))
FAULTS = st.lists(st.one_of(NETWORK, REFUSALS, ELSEWHERE, RESTARTS), max_size=14)
INTERRUPTED = st.lists(st.one_of(NETWORK, REFUSALS, RESTARTS), max_size=4).map(
    lambda faults: [*faults, Fault("interrupt")]
)
DECISIONS = st.sampled_from(["approved", "rejected", None])
MOMENTS = st.floats(0, 2000)


def at_most_once_and_only_when_approved(played: Play) -> None:
    """What must hold at every end."""
    approvals = played.network.approvals()
    assert len(approvals) <= 1, "one approval at most was asked for"
    creations = [request for request in played.network.requests if request.path.endswith("/v1/approvals")]
    assert len({(request.key, request.body) for request in creations}) <= 1, "every attempt sends the same"
    assert all(request.key for request in creations)
    if played.approval is not None:
        assert approvals[0]["status"] == "approved", "the server said approved"
        assert approvals[0]["_closed"] <= played.clock.now, "and it had said so by then"
        assert played.approval.id == approvals[0]["id"]
    if isinstance(played.error, ApprovalRejected):
        assert approvals[0]["status"] == "rejected"
        assert played.error.reason == "said the reviewer"
    if isinstance(played.error, ApprovalTimeout) and played.error.withdrawn:
        assert all(approval["status"] == "cancelled" for approval in approvals)


def came_back_no_sooner_than_told(played: Play, until: float) -> None:
    for answered, told in played.network.told:
        following = played.network.requests[answered:][:1]
        for request in following:
            assert request.at >= min(told, until), "Retry-After was honoured"


@settings(max_examples=150, deadline=None)
@given(
    faults=FAULTS,
    decision=DECISIONS,
    decided_after=MOMENTS,
    seed=st.integers(0, 2**32),
    wait_max=st.sampled_from([0.0, 10.0, 300.0]),
)
def test_at_most_one_approval_and_nothing_goes_on_without_it(
    faults: list[Fault], decision: str | None, decided_after: float, seed: int, wait_max: float
) -> None:
    played = play(faults, decision=decision, decided_after=decided_after, timeout=900.0, seed=seed, wait_max=wait_max)
    at_most_once_and_only_when_approved(played)
    if not isinstance(played.error, GatewayError):
        # Whoever gives up takes it back at once.
        came_back_no_sooner_than_told(played, played.began + 900.0)
    assert played.took <= 900.0 + DEADLINE_GRACE + WITHDRAW_WITHIN + DEADLINE_GRACE + 1
    assert played.approval is not None or isinstance(played.error, HoldpointError)
    if not isinstance(played.error, GatewayError) and played.network.faults == []:
        expected = {"approved": type(None), "rejected": ApprovalRejected, None: ApprovalTimeout}[decision]
        assert isinstance(played.error, (expected, ApprovalTimeout, ApprovalExpired))


@settings(max_examples=100, deadline=None)
@given(
    faults=FAULTS,
    decision=st.sampled_from(["approved", "rejected"]),
    decided_after=st.floats(0, 100),
    seed=st.integers(0, 99),
)
def test_a_decision_is_found_once_the_network_is_well_again(
    faults: list[Fault], decision: str, decided_after: float, seed: int
) -> None:
    played = play(faults, decision=decision, decided_after=decided_after, timeout=None, outage_max=100_000, seed=seed)
    at_most_once_and_only_when_approved(played)
    if decision == "approved" and not isinstance(played.error, ApprovalExpired):
        assert played.approval is not None
    else:
        assert isinstance(played.error, (ApprovalRejected, ApprovalExpired))


@settings(max_examples=100, deadline=None)
@given(faults=INTERRUPTED, decision=DECISIONS, decided_after=MOMENTS)
def test_an_interruption_in_a_request_withdraws_what_was_asked(
    faults: list[Fault], decision: str | None, decided_after: float
) -> None:
    played = play(faults, decision=decision, decided_after=decided_after)
    at_most_once_and_only_when_approved(played)
    if isinstance(played.error, KeyboardInterrupt) and played.withdrawal_got_through:
        assert all(approval["status"] != "pending" for approval in played.network.approvals())


@settings(max_examples=100, deadline=None)
@given(faults=st.lists(st.one_of(NETWORK, REFUSALS), max_size=5), pause=st.integers(0, 8), decision=DECISIONS)
def test_an_interruption_in_a_pause_withdraws_what_was_asked(
    faults: list[Fault], pause: int, decision: str | None
) -> None:
    played = play(faults, decision=decision, interrupt_at_pause=pause, wait_max=0.0)
    at_most_once_and_only_when_approved(played)
    if isinstance(played.error, KeyboardInterrupt) and played.withdrawal_got_through:
        assert all(approval["status"] != "pending" for approval in played.network.approvals())


def test_five_minutes_without_the_gateway_are_survived_while_asking() -> None:
    def away(network: Scripted) -> None:
        network.away_until = network.clock.now + 300

    played = play([], before=away)
    assert played.approval is not None
    assert 360 <= played.took <= 400


def test_five_minutes_without_the_gateway_are_survived_while_waiting() -> None:
    played = play([Fault("lose_answer"), Fault("restart", away=300)], decided_after=120)
    assert played.approval is not None
    assert 300 <= played.took <= 330
    assert len(played.network.approvals()) == 1


def test_a_gateway_that_stays_away_is_given_up_on() -> None:
    def away(network: Scripted) -> None:
        network.away_until = float("inf")

    played = play([], before=away)
    assert isinstance(played.error, GatewayUnreachable)
    assert not isinstance(played.error, NotApproved)
    assert 570 <= played.took <= 610


def test_clients_that_failed_together_do_not_come_back_together() -> None:
    pauses = {tuple(play([Fault("refuse")] * 3, seed=seed).clock.pauses[:3]) for seed in range(20)}
    assert len(pauses) == 20
    for first, second, third in pauses:
        assert 0.25 <= first <= 0.5 <= second <= 1.0 <= third <= 2.0


@pytest.mark.parametrize("kind", ["status", "problem"])
def test_comes_back_when_it_was_told(kind: str) -> None:
    played = play([Fault(kind, status=429, retry_after=42)])
    assert 42 <= played.clock.pauses[0] <= 43


def test_a_date_to_come_back_at_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import datetime, timedelta, timezone
    from email.utils import format_datetime

    at = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=100), usegmt=True)
    monkeypatch.setattr(Scripted, "_refusal", lambda self, fault: httpx.Response(503, headers={"Retry-After": at}))
    assert 95 <= play([Fault("status")]).clock.pauses[0] <= 102


def test_a_server_that_does_not_wait_is_polled_in_intervals() -> None:
    played = play([], decided_after=60, wait_max=0.0, poll_interval=7.0)
    looks = [request.at for request in played.network.requests if request.method == "GET"]
    gaps = [b - a for a, b in itertools.pairwise(looks)]
    assert len(looks) in range(8, 12)
    assert all(6.3 <= gap <= 7.8 for gap in gaps)
    assert len({round(gap, 3) for gap in gaps}) > 1


def test_a_server_that_waits_is_not_polled() -> None:
    played = play([], decided_after=60)
    assert len([request for request in played.network.requests if request.method == "GET"]) == 3
    assert played.clock.pauses == []


def test_a_decision_just_before_the_withdrawal_stands() -> None:
    # The answer to the look is lost; when the time is over, the withdrawal finds that somebody was first.
    for decision, end in (("approved", type(None)), ("rejected", ApprovalRejected)):
        played = play([Fault("none"), Fault("hang")], decision=decision, decided_after=20, timeout=30)
        assert isinstance(played.error, end)
        assert played.took >= 30


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"<html>hello</html>", "not the API's"),
        (b"[" * 100_000, "not the API's"),
        (b'{"id": "apr_1", "status": "approved"}', "missing"),
        (b"", "not the API's"),
    ],
)
def test_an_answer_that_is_no_approval_approves_nothing(
    monkeypatch: pytest.MonkeyPatch, body: bytes, says: str
) -> None:
    monkeypatch.setattr(Scripted, "_answer", lambda self, status, approval: httpx.Response(status, content=body))
    played = play([])
    assert isinstance(played.error, UnexpectedAnswer)
    assert says in str(played.error)


@pytest.mark.parametrize(
    "change",
    [
        {"status": "Approved"},
        {"status": "waived"},
        {"status": True},
        {"status": "approved", "name": "something else"},
        {"status": "approved", "payload_sha256": "0" * 64},
        {"status": "approved", "kind": "call"},
    ],
)
def test_an_approval_of_something_else_approves_nothing(
    monkeypatch: pytest.MonkeyPatch, change: dict[str, object]
) -> None:
    answer = Scripted._answer

    def changed(self: Scripted, status: int, approval: dict[str, object]) -> httpx.Response:
        real = answer(self, status, approval)
        return httpx.Response(200, json={**real.json(), **change})

    monkeypatch.setattr(Scripted, "_answer", changed)
    played = play([])
    assert played.approval is None
    assert isinstance(played.error, HoldpointError)


def test_an_approval_with_another_id_approves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = Scripted._answer

    def changed(self: Scripted, status: int, approval: dict[str, object]) -> httpx.Response:
        real = answer(self, status, approval)
        return real if status == 201 else httpx.Response(200, json={**real.json(), "id": "apr_2", "status": "approved"})

    monkeypatch.setattr(Scripted, "_answer", changed)
    assert isinstance(play([]).error, UnexpectedAnswer)


def test_what_the_gateway_will_never_accept_is_not_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    document = {"title": "no", "detail": "d", "status": 500, "code": "internal", "retryable": False}
    headers = {"Content-Type": "application/problem+json"}
    monkeypatch.setattr(Scripted, "_serve", lambda self, request: httpx.Response(500, headers=headers, json=document))
    played = play([])
    assert isinstance(played.error, ApiError)
    # The second is the look for what the first may have created, to take it back.
    assert len(played.network.requests) == 2


class Losing(httpx.HTTPTransport):
    """The real network, on which the first answer of each kind of request is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.lost: set[tuple[str, bool]] = set()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = super().handle_request(request)
        kind = (request.method, request.url.path.endswith("/v1/approvals"))
        if kind in self.lost:
            return response
        self.lost.add(kind)
        response.read()
        response.close()
        raise httpx.ReadError("connection reset by peer")


def test_lost_answers_of_the_real_gateway_make_one_approval(gateway: Gateway, action: str) -> None:
    network = Losing()

    def decide() -> None:
        asked = gateway.one_of(action)
        time.sleep(1)
        with gateway.reviewer() as alice:
            alice.decide(asked.id, "approved", reason="once")

    deciding = threading.Thread(target=decide)
    deciding.start()
    with Holdpoint(gateway.agents_url, token("bot"), transport=network) as bot:
        approval = bot.require_approval(action)
    deciding.join(60)
    assert approval.reason == "once"
    assert network.lost == {("POST", True), ("GET", False)}
    assert [each.id for each in gateway.approvals_of(action)] == [approval.id]


def test_a_withdrawal_whose_answer_is_lost_is_a_withdrawal(gateway: Gateway, action: str) -> None:
    with (
        Holdpoint(gateway.agents_url, token("bot"), transport=Losing()) as bot,
        pytest.raises(ApprovalTimeout) as caught,
    ):
        bot.require_approval(action, timeout=2)
    assert caught.value.withdrawn
    assert gateway.one_of(action, "cancelled")
