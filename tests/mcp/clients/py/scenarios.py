"""What every Python client does, whatever library it is: the command line, the scenarios, and the lines it prints.

A client is an async context manager that yields something with `revision`, `list()` and `call(tool, arguments, seconds)`.
`call` returns an `Outcome` where the library returns one, and raises where the library raises. Cancelling `call` is
the library's own way to cancel.

Lines are JSON objects with `event`: `connected`, `result`, `error`, and at last `done`, which says whether one more
harmless call still works over the same session.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Callable, Protocol

CONNECT_SECONDS = 20
# After this long a call that should have been over is: the library hangs.
STUCK_SECONDS = 100
CANCEL_SECONDS = 2
SHORT_SECONDS = 3


@dataclass
class Outcome:
    """A result that reached the caller. `meta` is missing where the library does not hand it out."""

    is_error: bool
    text: str
    meta: dict[str, Any] | None
    structured: Any


class Client(Protocol):
    """One connected client."""

    revision: str | None

    async def list(self) -> list[str]:
        """The names of the tools."""

    async def call(self, tool: str, arguments: dict[str, Any], seconds: float | None) -> Outcome:
        """Calls a tool; `seconds` is a time-out by the library's own setting, `None` its default."""


Open = Callable[[argparse.Namespace], AbstractAsyncContextManager[Client]]


def emit(event: str, **fields: Any) -> None:
    """Prints one line."""
    print(json.dumps({"event": event, **fields}), flush=True)


def arguments_of(tool: str, key: str) -> dict[str, Any]:
    """The arguments of the fixture's tools, each recognisable by its key."""
    if tool == "safe_wait":
        return {"seconds": 20}
    return {{"safe_echo": "text", "delete_repo": "name"}.get(tool, "key"): key}


def joined(blocks: Any) -> str:
    """The text of a result's content."""
    return "\n".join(getattr(block, "text", "") for block in blocks)


def described(error: BaseException) -> str:
    """An error with the ones inside it."""
    inner = getattr(error, "exceptions", ())
    return f"{type(error).__name__}: {error}" + "".join(f" [{described(one)}]" for one in inner)


async def told(label: str, calling: Any) -> bool:
    """Waits for a call and prints what came of it; whether the library returned a result."""
    try:
        outcome = await asyncio.wait_for(calling, STUCK_SECONDS)
    except (asyncio.TimeoutError, Exception) as error:  # noqa: BLE001: whatever the library raises is the finding
        emit("error", label=label, text=described(error))
        return False
    emit("result", label=label, **vars(outcome))
    return True


async def run(client: Client, options: argparse.Namespace) -> None:
    """One scenario."""
    arguments = json.loads(options.arguments) if options.arguments else arguments_of(options.tool, options.key)
    match options.scenario:
        case "list":
            emit("result", label="list", is_error=False, tools=await client.list())
        case "allowed" | "blocked" | "held":
            await told("call", client.call(options.tool, arguments, None))
        case "held-short":
            await told("left", client.call(options.tool, arguments, SHORT_SECONDS))
            # The driver says when: after it has decided, or while it has not.
            await asyncio.to_thread(sys.stdin.readline)
            await told("repeat", client.call(options.tool, arguments, None))
        case "cancel":
            calling = asyncio.ensure_future(client.call(options.tool, arguments, None))
            done, _ = await asyncio.wait({calling}, timeout=CANCEL_SECONDS)
            if done:
                await told("call", calling)
                return
            calling.cancel()
            try:
                await calling
            except BaseException as error:  # noqa: BLE001: a cancelled call ends by an exception of its own
                emit("error", label="cancelled", text=described(error))
        case other:
            raise ValueError(f"there is no scenario {other}")


async def session_alive(client: Client, options: argparse.Namespace) -> tuple[bool, str]:
    """Whether one more harmless call works, and what was said."""
    key = f"alive-{options.key}"
    tool, arguments, expected = json.loads(options.alive) if options.alive else ("safe_echo", {"text": key}, key)
    try:
        outcome = await asyncio.wait_for(client.call(tool, arguments, None), CONNECT_SECONDS)
    except (asyncio.TimeoutError, Exception) as error:  # noqa: BLE001: dead in whatever way
        return False, described(error)
    return not outcome.is_error and expected in outcome.text, outcome.text


async def connected(open_client: Open, options: argparse.Namespace) -> None:
    """Connects, runs, looks whether the session lives."""
    async with open_client(options) as client:
        emit("connected", protocol_version=client.revision)
        await run(client, options)
        alive, said = await session_alive(client, options)
        emit("done", session_alive=alive, text=said)


def main(open_client: Open) -> None:
    """Reads the command line and runs one scenario."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--token", default="")
    parser.add_argument("--scenario", required=True)
    parser.add_argument("--tool", help="another tool than the scenario's own")
    parser.add_argument("--arguments", help="its arguments, as JSON, where it is none of the fixture's")
    parser.add_argument("--alive", help="the harmless call: [tool, arguments, text to be found], as JSON")
    parser.add_argument("--key", default="k")
    parser.add_argument("--era", default="default", choices=("default", "legacy"))
    options = parser.parse_args()
    usual = {"allowed": "safe_echo", "blocked": "delete_repo"}
    options.tool = options.tool or usual.get(options.scenario, "held_tool")
    try:
        asyncio.run(connected(open_client, options))
    except BaseException as error:  # noqa: BLE001: a session that dies takes its whole scope with it
        emit("error", label="session", text=described(error))
        emit("done", session_alive=False, text="the session ended by an exception")
        sys.exit(1)
