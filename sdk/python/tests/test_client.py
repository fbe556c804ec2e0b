"""The approvals API at the real gateway: each operation, each role."""

from __future__ import annotations

import inspect
import threading
from datetime import datetime, timedelta, timezone

import httpx
import pytest

from gateway import Gateway, token, until
from holdpoint import ApiError, ApprovalTimeout, AsyncHoldpoint, ConfigurationError, Holdpoint
from holdpoint.models import Approval, PublicApproval


def test_creates_gets_and_cancels(gateway: Gateway, action: str) -> None:
    with gateway.agent() as bot:
        created = bot.create(action, {"n": 1}, trace_id="t-1", expires_in=600)
        assert (created.status, created.kind, created.name, created.trace_id) == ("pending", "action", action, "t-1")
        assert created.requested_at.utcoffset() == timedelta(0)
        assert created.expires_at - created.requested_at == timedelta(minutes=10)
        assert bot.get(created.id) == created
        cancelled = bot.cancel(created.id, reason="not needed")
        assert (cancelled.status, cancelled.reason) == ("cancelled", "not needed")
        with pytest.raises(ApiError) as caught:
            bot.cancel(created.id)
    assert (caught.value.status, caught.value.code) == (409, "already_decided")


def test_an_agent_sees_less_than_a_reviewer(gateway: Gateway, action: str) -> None:
    with gateway.agent() as bot, gateway.reviewer() as alice:
        created = bot.create(action, {"n": 1})
        assert type(bot.get(created.id)) is PublicApproval
        seen = alice.get(created.id)
        assert isinstance(seen, Approval)
        assert (seen.agent, seen.input) == ("bot", {"n": 1})


def test_another_agents_approval_does_not_exist(gateway: Gateway, action: str) -> None:
    with gateway.agent() as bot, gateway.agent("other-bot") as other:
        created = bot.create(action)
        for call in (other.get, other.cancel):
            with pytest.raises(ApiError) as caught:
                call(created.id)
            assert caught.value.status == 404


def test_get_waits_at_the_server_as_long_as_it_is_told(gateway: Gateway, action: str) -> None:
    with gateway.agent() as bot, gateway.reviewer() as alice:
        created = bot.create(action)
        deciding = threading.Timer(0.5, lambda: alice.decide(created.id, "approved"))
        deciding.start()
        assert bot.get(created.id, wait=20).status == "approved"
        deciding.join()
        with pytest.raises(ConfigurationError, match="wait"):
            bot.get(created.id, wait=3601)


def test_wait_returns_however_it_was_decided_and_leaves_it_open_when_time_is_over(
    gateway: Gateway, action: str
) -> None:
    with gateway.agent() as bot, gateway.reviewer() as alice:
        created = bot.create(action)
        with pytest.raises(ApprovalTimeout, match="still open"):
            bot.wait(created.id, timeout=0.3)
        assert bot.get(created.id).status == "pending"
        alice.decide(created.id, "rejected", reason="no")
        assert (bot.wait(created.id).status, alice.wait(created.id).reason) == ("rejected", "no")


def test_the_first_decision_stands(gateway: Gateway, action: str) -> None:
    with gateway.agent() as bot, gateway.reviewer("alice") as alice, gateway.reviewer("bob") as bob:
        created = bot.create(action)
        with pytest.raises(ApiError) as mismatch:
            alice.decide(created.id, "approved", payload_sha256="0" * 64)
        assert mismatch.value.code == "payload_mismatch"
        decided = alice.decide(created.id, "approved", reason="ok", payload_sha256=created.payload_sha256)
        assert decided.decided_by is not None
        assert (decided.status, decided.decided_by.id, decided.decided_by.reason) == ("approved", "alice", "ok")
        assert alice.decide(created.id, "approved", reason="ok").id == created.id
        with pytest.raises(ApiError) as caught:
            bob.decide(created.id, "rejected")
    error = caught.value
    assert (error.status, error.code, error.retryable) == (409, "already_decided", False)
    assert error.members["standing"]["id"] == "alice"


def test_decides_in_bulk_each_for_itself(gateway: Gateway, action: str) -> None:
    with gateway.agent() as bot, gateway.reviewer() as alice, gateway.reviewer("bob") as bob:
        ids = [bot.create(action).id for _ in range(3)]
        bob.decide(ids[0], "rejected")
        answer = alice.bulk_decide([*ids, "apr_unknown"], "approved", reason="all fine")
    assert [line.result for line in answer.results] == ["already_decided", "decided", "decided", "not_found"]
    assert [line.id for line in answer.results] == [*ids, "apr_unknown"]


def test_lists_by_filter_and_page_by_page(gateway: Gateway, action: str) -> None:
    with gateway.agent() as bot, gateway.reviewer() as alice:
        began = datetime.now(timezone.utc) - timedelta(seconds=5)
        ids = [bot.create(action, {"n": n}).id for n in range(3)]
        alice.decide(ids[1], "approved")
        page = alice.list(tool=action, sort="oldest", limit=2, since=began, agent="bot", risk="medium", rule="api")
        assert [approval.id for approval in page.approvals] == ids[:2]
        rest = alice.list(
            tool=action,
            sort="oldest",
            limit=2,
            since=began,
            agent="bot",
            risk="medium",
            rule="api",
            cursor=page.next_cursor,
        )
        assert ([approval.id for approval in rest.approvals], rest.next_cursor) == (ids[2:], None)
        assert [a.id for a in alice.list(tool=action, status=["approved", "rejected"]).approvals] == [ids[1]]
        assert alice.list(tool=action, until=began).approvals == []
        assert {approval.id for approval in alice.pending() if approval.name == action} == {ids[0], ids[2]}
        with pytest.raises(ConfigurationError, match="time zone"):
            alice.list(since=datetime.now())
        with pytest.raises(ApiError, match="limit"):
            alice.list(limit=0)


def test_shows_the_timeline_and_the_figures(gateway: Gateway, action: str) -> None:
    with gateway.agent() as bot, gateway.reviewer() as alice:
        created = bot.create(action)
        assert alice.stats().pending >= 1
        alice.decide(created.id, "approved")
        records = alice.timeline(created.id).records
        assert len(records) == 2
        assert records[1].event["approval"] == created.id
        first = alice.timeline(created.id, limit=1)
        assert first.records == records[:1]
        assert alice.timeline(created.id, after=first.next_after).records == records[1:]


def test_settles_an_unknown_outcome(gateway: Gateway) -> None:
    proxy = gateway.agents_url.removesuffix("/_holdpoint")
    answers: list[httpx.Response] = []

    def pay() -> None:
        headers = {"Authorization": f"Bearer {token('bot')}"}
        answers.append(httpx.post(f"{proxy}/tools/pay", json={"usd": 1}, headers=headers, timeout=30))

    caller = threading.Thread(target=pay)
    caller.start()
    with gateway.reviewer() as alice:
        held = gateway.one_of("pay")
        assert (held.kind, held.upstream, held.method) == ("call", "tools", "POST")
        alice.decide(held.id, "approved")
        caller.join(60)
        assert answers[0].status_code == 502
        known = alice.get(held.id)
        assert known.outcome is not None
        assert known.outcome.state == "unknown"
        resolved = alice.resolve(held.id, "not_committed", "looked at the ledger")
        assert resolved.outcome is not None
        assert resolved.resolution is not None
        assert (resolved.outcome.resolved, resolved.resolution.note) == ("not_committed", "looked at the ledger")
        with pytest.raises(ApiError) as caught:
            alice.resolve(held.id, "committed", "or not")
    assert caught.value.code == "not_unknown"


def test_no_agent_decides_and_no_reviewer_asks(gateway: Gateway, action: str) -> None:
    with gateway.agent(url=gateway.admin_url) as bot, gateway.reviewer() as alice:
        created = bot.create(action)
        for call in (
            lambda: bot.decide(created.id, "approved"),
            lambda: bot.bulk_decide([created.id], "approved"),
            lambda: bot.list(),
            lambda: bot.stats(),
            lambda: bot.timeline(created.id),
            lambda: bot.resolve(created.id, "committed", "x"),
            lambda: alice.create(action),
            lambda: alice.require_approval(action),
            lambda: alice.cancel(created.id),
        ):
            with pytest.raises(ApiError) as caught:
                call()
            assert (caught.value.status, caught.value.code) == (403, "forbidden")


@pytest.mark.parametrize("bad", ["", "../policy", "a/b", "a?x=1", "apr_ä", "x" * 129])
def test_an_id_cannot_lead_elsewhere(bad: str) -> None:
    with Holdpoint("http://127.0.0.1:9", "t") as client, pytest.raises(ConfigurationError, match="no approval id"):
        client.get(bad)


def test_both_clients_offer_the_same() -> None:
    def surface(cls: type) -> dict[str, list[str]]:
        names = [name for name in vars(cls) if not name.startswith("_")]
        return {name: list(inspect.signature(getattr(cls, name)).parameters) for name in names}

    assert surface(Holdpoint) == surface(AsyncHoldpoint)
    documented = {name: inspect.getdoc(getattr(Holdpoint, name)) for name in surface(Holdpoint)}
    assert documented == {name: inspect.getdoc(getattr(AsyncHoldpoint, name)) for name in documented}


def test_the_awaited_client_has_every_operation_too(gateway: Gateway, action: str) -> None:
    import anyio

    async def work() -> None:
        async with gateway.async_agent() as bot, AsyncHoldpoint(gateway.admin_url, token("alice")) as alice:
            created = await bot.create(action, {"n": 1})
            assert (await bot.get(created.id)).status == "pending"
            assert [a.id for a in (await alice.list(tool=action)).approvals] == [created.id]
            assert (await alice.decide(created.id, "rejected", reason="no")).status == "rejected"
            assert (await bot.wait(created.id, timeout=5)).reason == "no"
            assert len((await alice.timeline(created.id)).records) == 2
            assert (await alice.stats()).now is not None
            with pytest.raises(ApiError):
                await alice.resolve(created.id, "committed", "x")
            second = await bot.create(action)
            assert (await bot.cancel(second.id)).status == "cancelled"
            with pytest.raises(ApprovalTimeout):
                await bot.wait((await bot.create(action)).id, timeout=0.2)

    anyio.run(work)


def test_a_changing_call_is_tried_again_while_the_gateway_restarts(own_gateway: Gateway, action: str) -> None:
    with own_gateway.agent() as bot, own_gateway.reviewer() as alice:
        created = bot.create(action)
        own_gateway.kill()
        decided: list[str] = []
        deciding = threading.Thread(target=lambda: decided.append(alice.decide(created.id, "approved").status))
        deciding.start()
        own_gateway.start()
        deciding.join(60)
        assert decided == ["approved"]
        assert until("it is approved", lambda: bot.get(created.id)).status == "approved"
