"""Asking and waiting with awaited calls, under asyncio and trio, at the real gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import anyio
import anyio.to_thread
import pytest

from gateway import Gateway, token
from holdpoint import ApprovalRejected, ApprovalTimeout, AsyncHoldpoint, require_approval_async

BACKENDS = pytest.mark.parametrize("backend", ["asyncio", "trio"])


def on(backend: str, work: Callable[[], Awaitable[None]]) -> None:
    anyio.run(work, backend=backend)


@BACKENDS
def test_returns_the_approval_once_a_reviewer_has_approved(gateway: Gateway, action: str, backend: str) -> None:
    async def work() -> None:
        async with gateway.async_agent() as bot:
            approval = await bot.require_approval(action, {"usd": 1})
        assert (approval.status, approval.reason) == ("approved", "fine")

    with gateway.deciding(action, reason="fine"):
        on(backend, work)


@BACKENDS
def test_raises_with_the_reviewers_reason_when_rejected(
    gateway: Gateway, action: str, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLDPOINT_URL", gateway.admin_url)
    monkeypatch.setenv("HOLDPOINT_TOKEN", token("bot"))

    async def work() -> None:
        with pytest.raises(ApprovalRejected, match="no budget") as caught:
            await require_approval_async(action)
        assert caught.value.reason == "no budget"

    with gateway.deciding(action, "rejected", "no budget"):
        on(backend, work)


@BACKENDS
def test_withdraws_when_the_scope_is_cancelled(gateway: Gateway, action: str, backend: str) -> None:
    async def work() -> None:
        async with gateway.async_agent() as bot, anyio.create_task_group() as group:
            group.start_soon(bot.require_approval, action)
            await anyio.to_thread.run_sync(gateway.one_of, action)
            group.cancel_scope.cancel()

    on(backend, work)
    assert gateway.one_of(action, "cancelled")


def test_withdraws_when_the_task_is_cancelled(gateway: Gateway, action: str) -> None:
    async def work() -> None:
        async with gateway.async_agent() as bot:
            task = asyncio.create_task(bot.require_approval(action))
            await asyncio.to_thread(gateway.one_of, action)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert task.cancelled()

    asyncio.run(work())
    assert gateway.one_of(action, "cancelled")


def test_withdraws_when_waiting_for_it_takes_too_long(gateway: Gateway, action: str) -> None:
    async def work() -> None:
        async with gateway.async_agent() as bot:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(bot.require_approval(action), 0.7)

    asyncio.run(work())
    assert gateway.one_of(action, "cancelled")


@BACKENDS
def test_withdraws_when_its_own_time_is_over(gateway: Gateway, action: str, backend: str) -> None:
    async def work() -> None:
        async with gateway.async_agent() as bot:
            with pytest.raises(ApprovalTimeout) as caught:
                await bot.require_approval(action, timeout=0.5)
            assert caught.value.withdrawn

    on(backend, work)
    assert gateway.one_of(action, "cancelled")


def test_a_hundred_wait_at_once(gateway: Gateway, action: str) -> None:
    async def work() -> None:
        async with gateway.async_agent() as bot, AsyncHoldpoint(gateway.admin_url, token("alice")) as alice:
            waiting = [asyncio.create_task(bot.require_approval(action, {"n": n})) for n in range(100)]
            while len((await alice.list(tool=action, limit=200)).approvals) < 100:
                await asyncio.sleep(0.1)
            ids = [approval.id async for approval in alice.pending() if approval.name == action]
            assert len(ids) == 100
            lines = (await alice.bulk_decide(ids, "approved")).results
            assert {line.result for line in lines} == {"decided"}
            approvals = await asyncio.gather(*waiting)
            assert sorted(approval.id for approval in approvals) == sorted(ids)

    asyncio.run(work())


def test_survives_a_restart_of_the_gateway_while_it_waits(own_gateway: Gateway, action: str) -> None:
    async def work() -> None:
        async with own_gateway.async_agent() as bot:
            task = asyncio.create_task(bot.require_approval(action, poll_interval=0.2))
            asked = await asyncio.to_thread(own_gateway.one_of, action)
            await asyncio.to_thread(own_gateway.kill)
            await asyncio.sleep(0.5)
            assert not task.done()
            await asyncio.to_thread(own_gateway.start)
            async with AsyncHoldpoint(own_gateway.admin_url, token("alice")) as alice:
                await alice.decide(asked.id, "approved")
            assert (await task).id == asked.id

    asyncio.run(work())
