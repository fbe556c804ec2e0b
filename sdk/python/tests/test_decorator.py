"""Functions that run only after an approval, at the real gateway."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator

import pytest

from gateway import Gateway, token
from holdpoint import ApprovalMismatch, ApprovalRejected, ConfigurationError, requires_approval


@pytest.fixture(autouse=True)
def configured(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDPOINT_URL", gateway.agents_url)
    monkeypatch.setenv("HOLDPOINT_TOKEN", token("bot"))


def test_a_function_runs_after_the_approval_of_its_arguments(gateway: Gateway, action: str) -> None:
    @requires_approval(action)
    def refund(customer: str, usd: int, *, note: str = "none") -> str:
        return f"{usd} to {customer}"

    with gateway.deciding(action) as seen:
        assert refund("c-1", usd=500) == "500 to c-1"
    assert seen[0].input == {"customer": "c-1", "usd": 500, "note": "none"}
    assert refund.__name__ == "refund"
    assert list(inspect.signature(refund).parameters) == ["customer", "usd", "note"]


def test_a_function_does_not_run_after_a_rejection(gateway: Gateway, action: str) -> None:
    ran: list[int] = []

    @requires_approval(action)
    def refund(usd: int) -> None:
        ran.append(usd)

    with gateway.deciding(action, "rejected", "too much"), pytest.raises(ApprovalRejected, match="too much"):
        refund(5)
    assert ran == []


def test_a_coroutine_function_is_awaited_after_the_approval(gateway: Gateway, action: str) -> None:
    async def plain(usd: int) -> int:
        return usd

    refund = requires_approval(action)(plain)
    assert inspect.iscoroutinefunction(refund)

    async def work() -> int:
        async with gateway.async_agent() as bot:
            return await requires_approval(action, client=bot)(plain)(7)

    with gateway.deciding(action):
        assert asyncio.run(work()) == 7
    with gateway.deciding(f"{action}-again"):
        assert asyncio.run(requires_approval(f"{action}-again")(plain)(8)) == 8


def test_the_action_is_named_after_the_function(gateway: Gateway) -> None:
    @requires_approval()
    def named_after() -> str:
        return "done"

    with gateway.deciding(f"{__name__}.test_the_action_is_named_after_the_function.<locals>.named_after"):
        assert named_after() == "done"


def test_secrets_and_the_object_itself_are_not_shown(gateway: Gateway, action: str) -> None:
    class Payments:
        @requires_approval(action, exclude=["card"])
        def charge(self, usd: int, card: str) -> str:
            return card

    with gateway.deciding(action) as seen:
        assert Payments().charge(9, "4111-1111") == "4111-1111"
    assert seen[0].input == {"usd": 9}


def test_what_is_shown_can_be_chosen(gateway: Gateway, action: str) -> None:
    @requires_approval(action, context=lambda items: {"count": len(items)})
    def send(items: list[object]) -> int:
        return len(items)

    with gateway.deciding(action) as seen:
        assert send([object(), object()]) == 2
    assert seen[0].input == {"count": 2}


def test_arguments_that_were_changed_while_it_waited_do_not_run(gateway: Gateway, action: str) -> None:
    ran: list[object] = []
    order = {"usd": 5}

    @requires_approval(action)
    def pay(order: dict[str, int]) -> None:
        ran.append(order)

    def change() -> None:
        gateway.one_of(action)
        order["usd"] = 5_000
        with gateway.reviewer() as alice:
            alice.decide(gateway.one_of(action).id, "approved")

    import threading

    changing = threading.Thread(target=change)
    changing.start()
    with pytest.raises(ApprovalMismatch, match="changed while it waited"):
        pay(order)
    changing.join()
    assert ran == []


def test_a_call_may_be_named_for_good(gateway: Gateway, action: str) -> None:
    @requires_approval(action, idempotency_key=lambda version: f"{action}-{version}")
    def deploy(version: str) -> str:
        return version

    with gateway.deciding(action):
        assert deploy("1.0") == "1.0"
    assert deploy("1.0") == "1.0"
    gateway.one_of(action, "approved")


def test_what_cannot_be_decorated_is_refused(gateway: Gateway) -> None:
    def items() -> Iterator[int]:
        yield 1

    async def more_items() -> AsyncIterator[int]:
        yield 1

    def plain(x: object) -> None: ...

    async def awaited() -> None: ...

    for function in (items, more_items):
        with pytest.raises(ConfigurationError, match="generator"):
            requires_approval("x")(function)
    with pytest.raises(ConfigurationError, match="parentheses"):
        requires_approval(plain)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="'y', which is no argument of"):
        requires_approval("x", exclude=["y"])(plain)
    with gateway.agent() as bot, pytest.raises(ConfigurationError, match="AsyncHoldpoint"):
        requires_approval("x", client=bot)(awaited)
    with pytest.raises(ConfigurationError, match="not async: pass a Holdpoint"):
        requires_approval("x", client=gateway.async_agent())(plain)
    with pytest.raises(ConfigurationError, match="name them in `exclude`"):
        requires_approval("x")(plain)(object())
