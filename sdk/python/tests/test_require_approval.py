"""Asking and waiting with blocking calls, at the real gateway."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

import holdpoint
from gateway import Gateway, token, until
from holdpoint import (
    ApiError,
    ApprovalCancelled,
    ApprovalExpired,
    ApprovalRejected,
    ApprovalTimeout,
    ConfigurationError,
    GatewayUnreachable,
    Holdpoint,
    NotApproved,
    require_approval,
)


@pytest.mark.parametrize("listener", ["agents_url", "admin_url"])
def test_returns_the_approval_once_a_reviewer_has_approved(gateway: Gateway, action: str, listener: str) -> None:
    with gateway.deciding(action, reason="fine") as seen, gateway.agent(url=getattr(gateway, listener)) as bot:
        approval = bot.require_approval(action, {"usd": 500})
    assert (approval.status, approval.name, approval.reason) == ("approved", action, "fine")
    assert approval.id == seen[0].id


def test_is_configured_by_the_environment(gateway: Gateway, action: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDPOINT_URL", gateway.agents_url + "/")
    monkeypatch.setenv("HOLDPOINT_TOKEN", token("bot") + "\n")
    with gateway.deciding(action):
        assert require_approval(action).status == "approved"


def test_raises_with_the_reviewers_reason_when_rejected(gateway: Gateway, action: str) -> None:
    with (
        gateway.deciding(action, "rejected", "not on a Friday"),
        gateway.agent() as bot,
        pytest.raises(ApprovalRejected, match="not on a Friday") as caught,
    ):
        bot.require_approval(action)
    assert caught.value.reason == "not on a Friday"
    assert caught.value.approval.status == "rejected"
    assert caught.value.approval_id == gateway.one_of(action, "rejected").id
    assert isinstance(caught.value, NotApproved)


def test_raises_when_it_expires_undecided(gateway: Gateway, action: str) -> None:
    with gateway.agent() as bot, pytest.raises(ApprovalExpired) as caught:
        bot.require_approval(action, expires_in=1)
    assert caught.value.approval.id == gateway.one_of(action, "expired").id


def test_raises_when_it_is_taken_back_elsewhere(gateway: Gateway, action: str) -> None:
    def take_back() -> None:
        with gateway.agent() as other:
            other.cancel(gateway.one_of(action).id, reason="changed my mind")

    thread = threading.Thread(target=take_back)
    thread.start()
    with gateway.agent() as bot, pytest.raises(ApprovalCancelled, match="changed my mind"):
        bot.require_approval(action)
    thread.join()


def test_withdraws_when_the_time_is_over(gateway: Gateway, action: str) -> None:
    began = time.monotonic()
    with gateway.agent() as bot, pytest.raises(ApprovalTimeout) as caught:
        bot.require_approval(action, timeout=0.7)
    assert 0.6 < time.monotonic() - began < 15
    assert caught.value.withdrawn
    assert caught.value.timeout == 0.7
    assert caught.value.approval_id == gateway.one_of(action, "cancelled").id


def test_what_stays_open_on_the_server_is_bounded_by_the_timeout(gateway: Gateway, action: str) -> None:
    with gateway.deciding(action) as seen, gateway.agent() as bot:
        bot.require_approval(action, timeout=90.5)
    assert (seen[0].expires_at - seen[0].requested_at).total_seconds() == 101


WAITS = """
import sys
from holdpoint import require_approval
print("asking", flush=True)
require_approval(sys.argv[1])
print("RAN")
"""


@pytest.mark.parametrize("moment", ["waiting", "before the gateway is there"])
def test_withdraws_when_interrupted(own_gateway: Gateway, action: str, moment: str) -> None:
    waiting = moment == "waiting"
    if not waiting:
        own_gateway.kill()
    environment = {
        "HOLDPOINT_URL": own_gateway.agents_url,
        "HOLDPOINT_TOKEN": token("bot"),
        "PYTHONPATH": str(Path(holdpoint.__file__).parent.parent),
    }
    with subprocess.Popen(
        [sys.executable, "-c", WAITS, action], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        try:
            assert child.stdout
            assert child.stdout.readline() == b"asking\n"
            if waiting:
                own_gateway.one_of(action)
            else:
                time.sleep(1)
            child.send_signal(signal.SIGINT)
            out, err = child.communicate(timeout=60)
        finally:
            child.kill()
    assert b"KeyboardInterrupt" in err
    assert b"RAN" not in out
    assert token("bot").encode() not in err
    if waiting:
        own_gateway.one_of(action, "cancelled")
    else:
        own_gateway.start()
        assert own_gateway.approvals_of(action) == []


def test_a_decision_is_known_at_once_by_long_polling(gateway: Gateway, action: str) -> None:
    returned: list[float] = []

    def ask() -> None:
        with gateway.agent() as bot:
            bot.require_approval(action, poll_interval=20)
            returned.append(time.monotonic())

    asking = threading.Thread(target=ask)
    asking.start()
    asked = gateway.one_of(action)
    # Long enough for the client to be waiting; far from its next look if it did not wait at the server.
    time.sleep(0.5)
    with gateway.reviewer() as alice:
        alice.decide(asked.id, "approved")
    decided = time.monotonic()
    asking.join(60)
    assert returned[0] - decided < 10


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_survives_a_restart_of_the_gateway_while_it_waits(own_gateway: Gateway, action: str, how: str) -> None:
    approved: list[str] = []

    def ask() -> None:
        with own_gateway.agent() as bot:
            approved.append(bot.require_approval(action, poll_interval=0.2).id)

    asking = threading.Thread(target=ask)
    asking.start()
    asked = own_gateway.one_of(action)
    getattr(own_gateway, how)()
    time.sleep(1)
    assert not approved
    own_gateway.start()
    with own_gateway.reviewer() as alice:
        alice.decide(asked.id, "approved")
    asking.join(60)
    assert approved == [asked.id]
    assert len(own_gateway.approvals_of(action)) == 1


def test_waits_for_a_gateway_that_is_not_there_yet(own_gateway: Gateway, action: str) -> None:
    own_gateway.kill()
    approved: list[str] = []

    def ask() -> None:
        with own_gateway.agent() as bot:
            approved.append(bot.require_approval(action).status)

    asking = threading.Thread(target=ask)
    asking.start()
    time.sleep(1)
    own_gateway.start()
    with own_gateway.deciding(action):
        asking.join(60)
    assert approved == ["approved"]


def test_gives_up_on_a_gateway_that_stays_away(own_gateway: Gateway, action: str) -> None:
    own_gateway.kill()
    with (
        own_gateway.agent() as bot,
        pytest.raises(GatewayUnreachable, match=r"no answer from http://127\.0\.0\.1:\d+/_holdpoint: "),
    ):
        bot.require_approval(action, outage_max=0.2)


class Heard(httpx.HTTPTransport):
    """Connections that say when the queue was full."""

    def __init__(self) -> None:
        super().__init__()
        self.full = threading.Event()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = super().handle_request(request)
        if answer.status_code == 429:
            self.full.set()
        return answer


def test_waits_for_a_place_in_a_full_queue(own_gateway: Gateway, action: str) -> None:
    own_gateway.kill()
    own_gateway.keys = "limits: { pending_per_agent_max: 1 }\n"
    own_gateway.start()
    heard = Heard()
    with own_gateway.agent() as other, Holdpoint(own_gateway.agents_url, token("bot"), transport=heard) as bot:
        first = other.create("in the way")

        def leave() -> None:
            assert heard.full.wait(30)
            other.cancel(first.id)

        leaving = threading.Thread(target=leave)
        leaving.start()
        with own_gateway.deciding(action):
            # The gateway says when to come back: in five seconds.
            began = time.monotonic()
            assert bot.require_approval(action).status == "approved"
            assert time.monotonic() - began >= 5
        leaving.join()


def test_the_same_key_is_the_same_approval_however_it_was_decided(gateway: Gateway, action: str) -> None:
    with gateway.agent() as bot:
        with gateway.deciding(action):
            first = bot.require_approval(action, {"version": 1}, idempotency_key=action)
        again = bot.require_approval(action, {"version": 1}, idempotency_key=action)
        assert again.id == first.id
        with pytest.raises(ApiError) as caught:
            bot.require_approval(action, {"version": 2}, idempotency_key=action)
    assert (caught.value.status, caught.value.code) == (422, "idempotency_key_reused")


def test_without_a_key_each_call_asks_anew(gateway: Gateway, action: str) -> None:
    with gateway.agent() as bot:
        assert bot.create(action).id != bot.create(action).id


def test_the_reviewer_sees_the_context_as_it_was_sent(gateway: Gateway, action: str) -> None:
    context = {"ümlaut": "ß ☃ \U0001f512", "z": 1, "a": [1.25, 9007199254740993, True, None], "nested": {"b": {}}}
    with gateway.deciding(action) as seen, gateway.agent() as bot:
        bot.require_approval(action, context, trace_id="trace-1")
    assert seen[0].input == context
    assert list(seen[0].input) == list(context)
    assert (seen[0].trace_id, seen[0].agent) == ("trace-1", "bot")


@pytest.mark.parametrize("context", [[], {}, "", 0, False, [1], "text"])
def test_any_json_value_is_a_context(gateway: Gateway, action: str, context: object) -> None:
    with gateway.deciding(action) as seen, gateway.agent() as bot:
        bot.require_approval(action, context)  # type: ignore[arg-type]
    assert seen[0].input == context


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"action": " "}, "action"),
        ({"action": "x" * 257}, "action"),
        ({"context": {"when": object()}}, "a object is no JSON value"),
        ({"context": float("nan")}, "JSON"),
        ({"context": "\ud800"}, "Unicode"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"poll_interval": 0}, "poll_interval"),
        ({"outage_max": -1}, "outage_max"),
        ({"expires_in": 0}, "expires_in"),
        ({"trace_id": "x" * 129}, "trace_id"),
        ({"idempotency_key": ""}, "idempotency key"),
        ({"idempotency_key": "a b"}, "idempotency key"),
        ({"idempotency_key": "x" * 256}, "idempotency key"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_sent(arguments: dict[str, object], named: str) -> None:
    with Holdpoint("http://127.0.0.1:9", "t") as bot, pytest.raises(ConfigurationError, match=named):
        bot.require_approval(**{"action": "deploy", **arguments})  # type: ignore[arg-type]


def test_a_wrong_token_is_said_at_once(gateway: Gateway, action: str) -> None:
    with Holdpoint(gateway.agents_url, "wrong") as bot, pytest.raises(ApiError) as caught:
        bot.require_approval(action)
    assert (caught.value.status, caught.value.code) == (401, "unauthenticated")
    assert caught.value.request_id


def test_the_proxy_listener_without_its_path_is_explained(gateway: Gateway, action: str) -> None:
    url = gateway.agents_url.removesuffix("/_holdpoint")
    with Holdpoint(url, token("bot")) as bot, pytest.raises(ApiError, match="ends with /_holdpoint"):
        bot.require_approval(action)


def test_many_threads_share_a_client(gateway: Gateway, action: str) -> None:
    results: list[str] = []
    with gateway.agent() as bot:
        threads = [
            threading.Thread(target=lambda: results.append(bot.require_approval(action).status)) for _ in range(8)
        ]
        for thread in threads:
            thread.start()

        def all_asked() -> list[str] | None:
            ids = [approval.id for approval in gateway.approvals_of(action)]
            return ids if len(ids) == 8 else None

        with gateway.reviewer() as alice:
            alice.bulk_decide(until("eight approvals", all_asked), "approved")
        for thread in threads:
            thread.join(60)
    assert results == ["approved"] * 8
