"""What the MCP tests share: a fixture, and the gateway before it where it speaks MCP."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

import clients
import harness
from harness import Fixture, Gateway, Setup

# Ends the name of a client's second agent, whose held calls are answered before anybody decides.
BRIEF = "-brief"

PEOPLE = {"group": "people", "count": 1}
RULES = [
    {"id": "harmless", "match": "safe_*", "action": "allow"},
    {"id": "no-deletes", "match": "delete_repo", "action": "block", "reason": "Repositories are never deleted."},
    {
        "id": "held",
        "match": "held_tool",
        "action": "require_approval",
        "reason": "A person looks at this first.",
        "approval": {"approvers": PEOPLE, "hold": "45s", "expires_in": "10m"},
    },
    {
        "id": "expiring",
        "match": "expiring_tool",
        "action": "require_approval",
        "approval": {"approvers": PEOPLE, "hold": "45s", "expires_in": "3s"},
    },
]

_numbers = itertools.count(1)


def pytest_sessionstart() -> None:
    """Says at once what is missing."""
    missing = [path for path in (harness.NODE, harness.PYTHON_1, harness.PYTHON_2, *clients.RMCP) if not path.exists()]
    if missing:
        pytest.exit(f"{missing[0]} is missing: run scripts/install-mcp-tools.sh", returncode=2)
    if not harness.GATEWAY.exists():
        pytest.exit(f"{harness.GATEWAY} is missing: run cargo build, or set HOLDPOINT_BIN", returncode=2)


@pytest.fixture(params=clients.ALL, ids=lambda program: program.name)
def program(request: pytest.FixtureRequest) -> clients.Program:
    """Every client in turn."""
    return request.param


@pytest.fixture
def key() -> str:
    """A word that no other call of this run has in its arguments."""
    return f"key-{next(_numbers)}"


@pytest.fixture(scope="session")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fixture]:
    """The fixture, with its log."""
    with harness.fixture(tmp_path_factory.mktemp("fixture")) as running:
        yield running


def supported(setup: Setup, folder: Path) -> None:
    """Skips where this gateway says by itself that it does not have what the configuration asks for."""
    said = harness.check(setup, folder)
    report = said.body.decode()
    for key, refusal in (("mcp", "`mcp` is not supported"), ("command", "unknown key `command`")):
        if said.status != 0 and refusal in report:
            pytest.skip(f"this gateway does not know `{key}`: {refusal}")
    assert said.status == 0, report


@pytest.fixture(scope="session")
def gateway(upstream: Fixture, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The real gateway before the fixture, with an agent for every client."""
    folder = tmp_path_factory.mktemp("gateway")
    names = [program.name for program in clients.ALL]
    setup = Setup({"fixture": upstream.url}, RULES, names, impatient={name + BRIEF: "2s" for name in names})
    supported(Setup(setup.upstreams, RULES, names), folder)
    with harness.gateway(setup, folder) as running:
        yield running


@pytest.fixture
def agent(gateway: Gateway, program: clients.Program) -> Iterator[str]:
    """The client's agent. Nothing of it stays pending: an identical call of the next test would join it."""
    yield program.name
    for agent in (program.name, program.name + BRIEF):
        for approval in gateway.approvals(agent, "pending"):
            gateway.decide(approval["id"], "rejected", "left over by a test")
