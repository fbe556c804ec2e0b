"""Real clients at the fixture, straight and through the real gateway: what their callers see, and what was executed.

The fixture's log says what ran: a held, blocked, rejected or expired call must not be in it, an approved one once.
"""

from __future__ import annotations

import time
from typing import Any

import pytest

from clients import DECISION, Call, Program, Running, refused, running
from conftest import BRIEF
from harness import Fixture, Gateway, token_of, wait_for

# A gateway notices a caller that has gone when it writes to it the next time, every 15 seconds.
NOTICED_SECONDS = 20
# For what must not happen there is nothing to wait for but time.
NOTHING_HAPPENS_SECONDS = 1


def through(gateway: Gateway, agent: str, call: Call) -> tuple[str, Call]:
    """The address and the call of an agent."""
    call.token = token_of(agent)
    return gateway.url("fixture"), call


def executed_once(result: dict[str, Any], upstream: Fixture, tool: str, key: str) -> None:
    """The tool's own answer came back, unchanged, and the tool ran once."""
    assert result["is_error"] is False
    assert result["text"] == f"{tool} done: {key}"
    assert result["structured"] == {"done": f"{tool} done: {key}"}
    assert [call["tool"] for call in upstream.calls(key)] == [tool]


# Straight at the fixture: what the clients do without a gateway.


def test_a_client_lists_the_tools(program: Program, upstream: Fixture, key: str) -> None:
    with running(program, upstream.url, Call("list", key)) as run:
        assert {"safe_echo", "delete_repo", "held_tool"} <= set(run.result("list")["tools"])


def test_a_client_calls_a_tool(program: Program, upstream: Fixture, key: str) -> None:
    with running(program, upstream.url, Call("allowed", key)) as run:
        assert run.result()["text"] == f"echo: {key}"
        connected = run.find("connected")
        assert connected is not None
        if connected["protocol_version"]:
            assert (connected["protocol_version"] == "2026-07-28") is program.modern
    assert len(upstream.calls(key)) == 1


def test_a_client_cancels_a_call_and_goes_on(program: Program, upstream: Fixture, key: str) -> None:
    with running(program, upstream.url, Call("cancel", key, tool="safe_wait")) as run:
        assert run.wait_for("cancelled")["event"] == "error"
        run.outlived()


# Through the gateway.


def test_the_list_passes_the_gateway(
    program: Program, gateway: Gateway, agent: str, upstream: Fixture, key: str
) -> None:
    url, call = through(gateway, agent, Call("list", key))
    with running(program, upstream.url, Call("list", key)) as straight, running(program, url, call) as run:
        assert run.result("list")["tools"] == straight.result("list")["tools"]


def test_an_allowed_call_runs_and_its_credential_stays_at_the_gateway(
    program: Program, gateway: Gateway, agent: str, upstream: Fixture, key: str
) -> None:
    url, call = through(gateway, agent, Call("allowed", key))
    with running(program, url, call) as run:
        assert run.result()["text"] == f"echo: {key}"
    calls = upstream.calls(key)
    assert [call["authorization"] for call in calls] == [False]


def test_a_blocked_call_is_refused_and_never_runs(
    program: Program, gateway: Gateway, agent: str, upstream: Fixture, key: str
) -> None:
    url, call = through(gateway, agent, Call("blocked", key))
    with running(program, url, call) as run:
        refused(run.result(), program, "denied", "Repositories are never deleted.")
    assert upstream.calls(key) == []


def test_a_held_call_runs_once_when_it_is_approved(
    program: Program, gateway: Gateway, agent: str, upstream: Fixture, key: str
) -> None:
    url, call = through(gateway, agent, Call("held", key))
    with running(program, url, call) as run:
        approval = gateway.one_pending(agent)
        assert upstream.calls(key) == [], "executed before anybody decided"
        gateway.decide(approval, "approved", "looks right")
        executed_once(run.result(), upstream, "held_tool", key)


def test_a_rejected_call_is_refused_with_the_reviewers_reason(
    program: Program, gateway: Gateway, agent: str, upstream: Fixture, key: str
) -> None:
    url, call = through(gateway, agent, Call("held", key))
    with running(program, url, call) as run:
        gateway.decide(gateway.one_pending(agent), "rejected", "use the staging bucket")
        refused(run.result(), program, "rejected", "use the staging bucket")
    assert upstream.calls(key) == []


def test_a_call_that_nobody_decides_expires_as_a_refusal(
    program: Program, gateway: Gateway, agent: str, upstream: Fixture, key: str
) -> None:
    url, call = through(gateway, agent, Call("held", key, tool="expiring_tool"))
    with running(program, url, call) as run:
        refused(run.result(), program, "expired")
    assert gateway.approvals(agent)[-1]["status"] == "expired"
    assert upstream.calls(key) == []


def test_a_call_held_too_long_is_told_pending_and_its_repeat_gets_the_answer(
    program: Program, gateway: Gateway, agent: str, upstream: Fixture, key: str
) -> None:
    agent += BRIEF
    url, call = through(gateway, agent, Call("held", key))
    with running(program, url, call) as run:
        refused(run.result(), program, "pending")
    approval = gateway.one_pending(agent)
    gateway.decide(approval, "approved", "late, but right")
    assert upstream.calls(key) == [], "executed with nobody there to take the answer"
    with running(program, url, call) as run:
        executed_once(run.result(), upstream, "held_tool", key)
    assert asked_since(gateway, agent, approval) == [approval], "it asked a second time"


def left(gateway: Gateway, program: Program, run: Running) -> tuple[str, int]:
    """Waits until the client has given up its first call, and the gateway knows if the client lets it know.

    The approval, and how many seem to wait for it still.
    """
    approval = gateway.one_pending(program.name)
    assert run.wait_for("left")["event"] == "error", "the client did not give up"
    if program.leaves_silently:
        return approval, 1
    wait_for("the gateway notices that nobody waits", lambda: nobody_waits(gateway, approval), NOTICED_SECONDS)
    return approval, 0


def nobody_waits(gateway: Gateway, approval: str) -> bool | None:
    """Whether the last caller has gone, or the approval is closed."""
    return waiting(gateway.approval(approval)) == 0 or None


def waiting(approval: dict[str, Any]) -> int:
    """How many live requests wait for an approval."""
    return approval["caller"]["waiting"] if approval["status"] == "pending" else 0


def asked_since(gateway: Gateway, agent: str, first: str) -> list[str]:
    """The approvals from this one on. Ids are ordered by time."""
    return [one["id"] for one in gateway.approvals(agent) if one["id"] >= first]


def test_a_repeat_of_a_call_left_behind_gets_the_answer_of_one_execution(
    program: Program, gateway: Gateway, agent: str, upstream: Fixture, key: str
) -> None:
    url, call = through(gateway, agent, Call("held-short", key))
    with running(program, url, call) as run:
        first, before = left(gateway, program, run)
        run.child.say("go on")

        def repeated() -> str | None:
            """The approval that the repeat waits for: the first, or another where leaving took the first back."""
            pending = gateway.approvals(agent, "pending")
            joined = [one["id"] for one in pending if one["id"] != first or waiting(one) > before]
            return joined[-1] if joined else None

        gateway.decide(wait_for("the repeat waits", repeated), "approved", "looks right")
        executed_once(run.result("repeat"), upstream, "held_tool", key)
    # Leaving and taking back are two steps, so which it was can only be told afterwards.
    asked = 2 if gateway.approval(first)["status"] == "cancelled" else 1
    assert len(asked_since(gateway, agent, first)) == asked, "it asked a second time"


def test_a_decision_between_a_call_left_behind_and_its_repeat_executes_once(
    program: Program, gateway: Gateway, agent: str, upstream: Fixture, key: str
) -> None:
    url, call = through(gateway, agent, Call("held-short", key))
    with running(program, url, call) as run:
        first, before = left(gateway, program, run)
        # A client that takes its call back does so a moment after it has left.
        withdrawn = not gateway.decided_first(first, "approved", "looks right")
        run.child.say("go on")
        if withdrawn:
            gateway.decide(gateway.one_pending(agent), "approved", "looks right")
        if before == 0:
            executed_once(run.result("repeat"), upstream, "held_tool", key)
        else:
            not_executed_again(gateway, program, run, first)
    assert len(upstream.calls(key)) == 1
    if before == 0:
        assert len(asked_since(gateway, agent, first)) == (2 if withdrawn else 1), "it asked a second time"


def not_executed_again(gateway: Gateway, program: Program, run: Running, first: str) -> None:
    """The approved call ran for a caller that had left without a word, and its answer is lost.

    The repeat is told so, or it is a call of its own that a person decides about: it never runs by the first approval.
    """

    def told_or_asked() -> str | None:
        if run.find("result", "repeat"):
            return "told"
        return next((one for one in asked_since(gateway, program.name, first) if one != first), None)

    came = wait_for("the repeat is told or asks", told_or_asked)
    if came == "told":
        said = run.result("repeat")
        assert said["is_error"] is True
        assert said["meta"] is None or said["meta"][DECISION]["status"] == "already_executed"
    else:
        gateway.decide(came, "rejected", "it ran already")
        refused(run.result("repeat"), program, "rejected", "it ran already")


def test_a_call_cancelled_while_it_is_held_never_runs(
    program: Program, gateway: Gateway, agent: str, upstream: Fixture, key: str
) -> None:
    url, call = through(gateway, agent, Call("cancel", key))
    with running(program, url, call) as run:
        approval = gateway.one_pending(agent)
        assert run.wait_for("cancelled")["event"] == "error"
        run.outlived()
    wait_for("the gateway notices that nobody waits", lambda: nobody_waits(gateway, approval), NOTICED_SECONDS)
    gateway.decided_first(approval, "approved", "too late")
    time.sleep(NOTHING_HAPPENS_SECONDS)
    assert upstream.calls(key) == []


@pytest.mark.parametrize("token", ["", "nobody's"])
def test_a_client_without_a_valid_credential_reaches_nothing(
    token: str, program: Program, gateway: Gateway, upstream: Fixture, key: str
) -> None:
    with running(program, gateway.url("fixture"), Call("allowed", key, token=token)) as run:
        run.child.wait(60)
        assert run.find("result") is None
    assert upstream.calls(key) == []
