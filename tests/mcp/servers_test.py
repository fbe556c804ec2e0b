"""MCP servers that others wrote, behind the real gateway: one over HTTP, two that the gateway starts itself (stdio).

The server over HTTP and the one for files speak the revisions with sessions, the one for times 2026-07-28 as well.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import harness
from clients import ALL, Call, Program, refused, running
from conftest import PEOPLE, supported
from harness import MODULES, NODE, PYTHON_2, Child, Gateway, Setup, token_of, wait_for

AGENT = "agent"
# Three libraries, one for each language; pinned to the newest revision only where every server speaks it.
PROGRAMS = [one for one in ALL if one.name in ("typescript-1", "python-2", "rmcp-3")]
SERVERS = MODULES / "@modelcontextprotocol"

_numbers = itertools.count(1)


def free_port() -> int:
    """A port for a server that cannot choose one itself."""
    while True:
        # The kernel gives out ports from 32 768 on; below, nobody comes by chance.
        port = random.randrange(10_000, 30_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


@dataclass
class Example:
    """A call of one of these servers' tools, and what shows whether it ran."""

    tool: str
    arguments: dict[str, Any]
    expected: str = ""
    ran: Callable[[], bool] | None = None


@dataclass
class Server:
    """A server behind the gateway, with a call of each kind. `held` makes a new call each time."""

    url: str
    allowed: Example
    blocked: Example
    held: Callable[[], Example]
    gateway: Gateway

    def call(self, scenario: str, example: Example) -> Call:
        """What the client is asked to do."""
        harmless = (self.allowed.tool, self.allowed.arguments, self.allowed.expected)
        token = token_of(AGENT)
        return Call(scenario, "k", example.tool, example.arguments, alive=harmless, token=token)


def rules(allowed: str, blocked: dict[str, Any], held: str) -> list[dict[str, Any]]:
    """One rule of each kind."""
    approval = {"approvers": PEOPLE, "hold": "45s", "expires_in": "10m"}
    return [
        {"id": "blocked", "action": "block", "reason": "Not here.", **blocked},
        {"id": "allowed", "match": allowed, "action": "allow"},
        {"id": "held", "match": held, "action": "require_approval", "approval": approval},
    ]


@pytest.fixture(scope="module")
def everything_straight() -> Iterator[str]:
    """The address of the example server with a little of everything."""
    port = free_port()
    program = SERVERS / "server-everything/dist/index.js"
    with Child([NODE, program, "streamableHttp"], PORT=str(port)) as child:

        def listening() -> bool | None:
            assert child.alive(), child.report()
            with socket.socket() as probe:
                return True if probe.connect_ex(("127.0.0.1", port)) == 0 else None

        wait_for("server-everything listens", listening)
        yield f"http://127.0.0.1:{port}/mcp"


@pytest.fixture(scope="module")
def everything(everything_straight: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The gateway before a server over HTTP."""
    setup = Setup({"everything": everything_straight}, rules("echo", {"match": "get-env"}, "get-sum"), [AGENT])
    folder = tmp_path_factory.mktemp("everything")
    supported(setup, folder)

    def held() -> Example:
        first = next(_numbers)
        return Example("get-sum", {"a": first, "b": 1000}, str(first + 1000))

    with harness.gateway(setup, folder) as gateway:
        allowed = Example("echo", {"message": "hello"}, "hello")
        yield Server(gateway.url("everything"), allowed, Example("get-env", {}), held, gateway)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The gateway before a server that it starts: files of one folder."""
    folder = tmp_path_factory.mktemp("files")
    shared = tmp_path_factory.mktemp("shared").resolve()
    keep, moved = shared / "keep.txt", shared / "moved.txt"
    keep.write_text("kept")
    command = [str(NODE), str(SERVERS / "server-filesystem/dist/index.js"), str(shared)]
    setup = Setup({"files": command}, rules("list_directory", {"match": "move_file"}, "write_file"), [AGENT])
    supported(setup, folder)

    def held() -> Example:
        path = shared / f"written-{next(_numbers)}.txt"
        arguments = {"path": str(path), "content": "by an agent"}
        return Example("write_file", arguments, "uccess", lambda: path.exists())

    with harness.gateway(setup, folder) as gateway:
        allowed = Example("list_directory", {"path": str(shared)}, "keep.txt")
        arguments = {"source": str(keep), "destination": str(moved)}
        blocked = Example("move_file", arguments, ran=lambda: moved.exists())
        yield Server(gateway.url("files"), allowed, blocked, held, gateway)


@pytest.fixture(scope="module")
def times(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The gateway before a server that it starts: the time of day. A rule on an argument blocks one place."""
    folder = tmp_path_factory.mktemp("times")
    command = [str(PYTHON_2), "-m", "mcp_server_time", "--local-timezone", "Etc/UTC"]
    blocked = {"match": "get_current_time", "when": 'args.timezone == "Antarctica/Troll"'}
    setup = Setup({"times": command}, rules("get_current_time", blocked, "convert_time"), [AGENT])
    supported(setup, folder)

    def held() -> Example:
        minute = next(_numbers) % 60
        arguments = {"source_timezone": "Etc/UTC", "target_timezone": "Asia/Tokyo", "time": f"12:{minute:02}"}
        return Example("convert_time", arguments, f"T21:{minute:02}")

    with harness.gateway(setup, folder) as gateway:
        allowed = Example("get_current_time", {"timezone": "Etc/UTC"}, "Etc/UTC")
        troll = Example("get_current_time", {"timezone": "Antarctica/Troll"})
        yield Server(gateway.url("times"), allowed, troll, held, gateway)


@pytest.fixture(params=["everything", "files", "times"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Every server in turn; nothing stays pending."""
    found: Server = request.getfixturevalue(request.param)
    yield found
    for approval in found.gateway.approvals(AGENT, "pending"):
        found.gateway.decide(approval["id"], "rejected", "left over by a test")


@pytest.fixture(params=PROGRAMS, ids=lambda program: program.name)
def program(request: pytest.FixtureRequest) -> Program:
    """A client for each language."""
    return request.param


def test_a_client_uses_the_example_server_straight(program: Program, everything_straight: str) -> None:
    harmless = ("echo", {"message": "hello"}, "hello")
    call = Call("held", "k", "get-sum", {"a": 2, "b": 3}, alive=harmless)
    with running(program, everything_straight, call) as run:
        assert "5" in run.result()["text"]


def test_the_servers_tools_are_listed_through_the_gateway(program: Program, server: Server) -> None:
    with running(program, server.url, server.call("list", server.allowed)) as run:
        listed = run.result("list")["tools"]
    assert {server.allowed.tool, server.blocked.tool, server.held().tool} <= set(listed)


def test_an_allowed_tool_of_the_server_answers(program: Program, server: Server) -> None:
    with running(program, server.url, server.call("allowed", server.allowed)) as run:
        result = run.result()
    assert result["is_error"] is False
    assert server.allowed.expected in result["text"]


def test_a_blocked_tool_of_the_server_never_runs(program: Program, server: Server) -> None:
    with running(program, server.url, server.call("blocked", server.blocked)) as run:
        refused(run.result(), program, "denied", "Not here.")
    assert server.blocked.ran is None or not server.blocked.ran()


def test_a_held_tool_of_the_server_runs_when_it_is_approved(program: Program, server: Server) -> None:
    example = server.held()
    with running(program, server.url, server.call("held", example)) as run:
        approval = server.gateway.one_pending(AGENT)
        assert example.ran is None or not example.ran()
        server.gateway.decide(approval, "approved", "looks right")
        result = run.result()
    assert result["is_error"] is False
    assert example.expected in result["text"]
    assert example.ran is None or example.ran()


def test_a_rejected_tool_of_the_server_never_runs(program: Program, server: Server) -> None:
    example = server.held()
    with running(program, server.url, server.call("held", example)) as run:
        server.gateway.decide(server.gateway.one_pending(AGENT), "rejected", "not this one")
        refused(run.result(), program, "rejected", "not this one")
    assert example.ran is None or not example.ran()


def test_a_server_that_the_gateway_started_ends_with_it(tmp_path: Path) -> None:
    # A word on its command line by which its process is found; the server has the folder of that name to itself.
    mark = tmp_path.resolve() / f"folder-{next(_numbers)}"
    mark.mkdir()
    command = [str(NODE), str(SERVERS / "server-filesystem/dist/index.js"), str(mark)]
    setup = Setup({"files": command}, rules("list_directory", {"match": "move_file"}, "write_file"), [AGENT])
    supported(setup, tmp_path)

    def alive() -> bool:
        found = (entry / "cmdline" for entry in Path("/proc").iterdir() if entry.name.isdigit())
        return any(str(mark).encode() in read(path) for path in found)

    program = next(one for one in PROGRAMS if one.name == "rmcp-3")
    harmless = ("list_directory", {"path": str(mark)}, "")
    with harness.gateway(setup, tmp_path / "gateway") as gateway:
        call = Call("allowed", "k", *harmless[:2], alive=harmless, token=token_of(AGENT))
        with running(program, gateway.url("files"), call) as run:
            wait_for("the server is started", lambda: alive() or None)
            run.result()
        gateway.child.process.terminate()
        gateway.child.wait(20)
    wait_for("the server has ended", lambda: not alive() or None)


def read(path: Path) -> bytes:
    """A file of a process that may have ended."""
    try:
        return path.read_bytes()
    except OSError:
        return b""
