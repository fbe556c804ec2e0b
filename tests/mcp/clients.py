"""The real MCP clients, as processes: how each is started, and what one run of it said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import HERE, NODE, PYTHON_1, PYTHON_2, TOOLS, Child, wait_for

# A client gives up by itself before this.
RUN_SECONDS = 130

# Where an answer of the gateway's own says what became of the call.
DECISION = "dev.holdpoint/decision"

PROGRAMS = HERE / "clients"


@dataclass(frozen=True)
class Program:
    """A client. `shows_meta`: whether it hands `_meta` to its caller; `modern`: whether it speaks 2026-07-28.

    `leaves_silently`: a call that it gives up is given up inside it alone, its stream stays open and nobody is told.
    """

    name: str
    command: tuple[str | Path, ...]
    era: str = "default"
    shows_meta: bool = True
    modern: bool = False
    leaves_silently: bool = False


def python(version: Path, name: str) -> tuple[Path, ...]:
    """A client in one of the Python environments."""
    return (version, PROGRAMS / f"py/{name}.py")


def node(name: str) -> tuple[str | Path, ...]:
    """A client on Node.js, started where its packages are."""
    return (NODE, "--preserve-symlinks", "--preserve-symlinks-main", TOOLS / f"node/clients/{name}.mjs")


RMCP = (TOOLS / "rmcp/debug/holdpoint-mcp-client",)

ALL = (
    Program("typescript-1", node("sdk1")),
    Program("typescript-2", node("sdk2")),
    Program("typescript-2-modern", node("sdk2"), era="modern", modern=True),
    Program("python-1", python(PYTHON_1, "sdk1"), leaves_silently=True),
    Program("python-2", python(PYTHON_2, "sdk2"), modern=True),
    Program("python-2-legacy", python(PYTHON_2, "sdk2"), era="legacy"),
    Program("fastmcp-4", python(PYTHON_2, "fastmcp4"), modern=True),
    Program("openai-agents", python(PYTHON_1, "openai_agents"), leaves_silently=True),
    Program("langchain", python(PYTHON_1, "langchain_adapters"), shows_meta=False, leaves_silently=True),
    Program("rmcp-3", RMCP),
    Program("rmcp-3-modern", RMCP, era="modern", modern=True),
)


@dataclass
class Running:
    """A run of a client."""

    child: Child

    def find(self, event: str, label: str | None = None) -> dict[str, Any] | None:
        """The first line of this kind so far."""
        for line in self.child.json_lines():
            if line.get("event") == event and label in (None, line.get("label")):
                return line
        return None

    def wait_for(self, label: str, seconds: float = RUN_SECONDS) -> dict[str, Any]:
        """Waits for the result or the error of a call."""

        def found() -> dict[str, Any] | None:
            line = self.find("result", label) or self.find("error", label)
            if line is None and not self.child.alive():
                self.child.wait(5)
                line = self.find("result", label) or self.find("error", label)
                assert line is not None, f"ended without a word about `{label}`\n{self.child.report()}"
            return line

        return wait_for(f"the client says what became of `{label}`\n{self.child.report()}", found, seconds)

    def result(self, label: str = "call") -> dict[str, Any]:
        """The result of a call, once the run is over. The session must have outlived it."""
        self.child.wait(RUN_SECONDS)
        result = self.find("result", label)
        assert result is not None, f"no result of `{label}` reached the caller\n{self.child.report()}"
        self.outlived()
        return result

    def outlived(self) -> None:
        """Waits for the end of the run: after all that happened, one more call worked over the same session."""
        self.child.wait(RUN_SECONDS)
        done = self.find("done")
        assert done is not None and done["session_alive"] is True, f"the session died\n{self.child.report()}"


@dataclass
class Call:
    """What a client is asked to do. `alive` is the harmless call that shows a living session."""

    scenario: str
    key: str
    tool: str | None = None
    arguments: dict[str, Any] | None = None
    alive: tuple[str, dict[str, Any], str] | None = None
    token: str = field(default="", repr=False)

    def options(self) -> list[str]:
        """On the command line."""
        options = ["--scenario", self.scenario, "--key", self.key]
        for name, value in (("tool", self.tool), ("token", self.token)):
            options += [f"--{name}", value] if value else []
        for name, value in (("arguments", self.arguments), ("alive", self.alive)):
            options += [f"--{name}", json.dumps(value)] if value is not None else []
        return options


@contextmanager
def running(program: Program, url: str, call: Call) -> Iterator[Running]:
    """Starts a client; it is ended with the block if it has not ended by itself."""
    command = [*program.command, "--url", url, "--era", program.era, *call.options()]
    # The libraries report usage to nobody, and look for no tracing service.
    with Child(command, stdin=True, OPENAI_AGENTS_DISABLE_TRACING="1", DO_NOT_TRACK="1") as child:
        yield Running(child)


def refused(result: dict[str, Any], program: Program, status: str, *words: str) -> None:
    """A result that the model can read, saying that nothing was executed."""
    assert result["is_error"] is True
    for word in ("NOT executed", *words):
        assert word in result["text"], result["text"]
    # Clients check structured content against the tool's schema, or show it in place of the text.
    assert result["structured"] is None
    if program.shows_meta:
        decision = result["meta"][DECISION]
        assert (decision["status"], decision["executed"]) == (status, False)
