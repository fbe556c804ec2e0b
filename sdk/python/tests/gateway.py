"""The real gateway, started in a folder of its own, stopped and started again."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import httpx

from holdpoint import AsyncHoldpoint, Holdpoint
from holdpoint.models import Approval

ROOT = Path(__file__).resolve().parents[3]
BINARY = Path(os.environ.get("HOLDPOINT_BINARY", ROOT / "target" / "debug" / "holdpoint"))
#: How long anything may take that takes moments, in seconds.
BOUND = 60.0

AGENTS = ("bot", "other-bot")
REVIEWERS = ("alice", "bob")

T = TypeVar("T")


def token(who: str) -> str:
    """The token of whoever has this id."""
    return f"secret-token-of-{who}"


def digest(who: str) -> str:
    """How the configuration knows it."""
    return hashlib.sha256(token(who).encode()).hexdigest()


def until(what: str, look: Callable[[], T | None], bound: float = BOUND) -> T:
    """Looks until there is something."""
    end = time.monotonic() + bound
    while time.monotonic() < end:
        found = look()
        if found is not None and found is not False:
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {bound:g} s: {what}")


def free_port() -> int:
    """A port that stays free while the gateway is away."""
    while True:
        # The kernel gives out ports from 32 768 on; below, nobody comes by chance.
        port = random.randrange(10_000, 30_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


class Gateway:
    """A gateway on ports of its own. Its store outlives a restart."""

    def __init__(self, folder: Path, *, keys: str = "", upstream: str = "http://127.0.0.1:9") -> None:
        self.folder = folder
        self.keys = keys
        self.upstream = upstream
        self.ports = {"proxy": free_port(), "admin": free_port()}
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Gateway:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def agents_url(self) -> str:
        """Where agents reach it."""
        return f"http://127.0.0.1:{self.ports['proxy']}/_holdpoint"

    @property
    def admin_url(self) -> str:
        """Where reviewers reach it, and agents that may."""
        return f"http://127.0.0.1:{self.ports['admin']}"

    @property
    def log(self) -> Path:
        """What it says."""
        return self.folder / "gateway.log"

    def _write(self) -> None:
        agents = "".join(f'  - {{ id: {who}, token_sha256: "{digest(who)}" }}\n' for who in AGENTS)
        reviewers = "".join(
            f'  - {{ id: {who}, groups: [ops], role: admin, token_sha256: "{digest(who)}" }}\n' for who in REVIEWERS
        )
        (self.folder / "policy.yaml").write_text(
            "version: 1\ndefault: block\nrules:\n"
            "  - { id: gated, match: pay, action: require_approval, approval: { hold: 30s } }\n"
        )
        (self.folder / "holdpoint.yaml").write_text(
            "version: 1\n"
            f'proxy: {{ listen: "127.0.0.1:{self.ports["proxy"]}" }}\n'
            f'admin: {{ listen: "127.0.0.1:{self.ports["admin"]}" }}\n'
            'store: "sqlite://holdpoint.db"\n'
            "policies: [policy.yaml]\n"
            f"agents:\n{agents}reviewers:\n{reviewers}"
            f'upstreams:\n  tools:\n    url: "{self.upstream}"\n    tools: [{{ call: "POST /pay", tool: pay }}]\n'
            "routes:\n  - { path: /tools/, upstream: tools }\n" + self.keys
        )

    def start(self) -> None:
        """Starts it and waits until it is ready."""
        self._write()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [str(BINARY), "serve", "-c", "holdpoint.yaml"],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                env={"PATH": os.environ.get("PATH", "")},
            )
        until("readiness", self._ready)

    def _ready(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"the gateway ended: {self.log.read_text()}")
        try:
            return httpx.get(f"{self.admin_url}/readyz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        """Asks it to end, and waits."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it on the spot."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(BOUND)
            self.process = None

    def agent(self, who: str = "bot", *, url: str | None = None) -> Holdpoint:
        """The blocking client of an agent."""
        return Holdpoint(url or self.agents_url, token(who))

    def async_agent(self, who: str = "bot") -> AsyncHoldpoint:
        """The awaited client of an agent."""
        return AsyncHoldpoint(self.agents_url, token(who))

    def reviewer(self, who: str = "alice") -> Holdpoint:
        """The client of a reviewer."""
        return Holdpoint(self.admin_url, token(who))

    def approvals_of(self, action: str) -> list[Approval]:
        """All that was ever asked under this name, newest first."""
        with self.reviewer() as reviewer:
            return reviewer.list(tool=action).approvals

    def one_of(self, action: str, status: str = "pending") -> Approval:
        """The one approval of this name, once it has this status."""

        def look() -> Approval | None:
            found = self.approvals_of(action)
            assert len(found) <= 1, f"{action} was asked {len(found)} times"
            return found[0] if found and found[0].status == status else None

        return until(f"{action} is {status}", look)

    @contextmanager
    def deciding(self, action: str, decision: str = "approved", reason: str | None = None) -> Iterator[list[Approval]]:
        """Alice decides on the next approval of this name as soon as there is one. What she saw is in the list."""
        seen: list[Approval] = []
        failed: list[BaseException] = []

        def decide() -> None:
            try:
                asked = self.one_of(action)
                seen.append(asked)
                with self.reviewer() as alice:
                    alice.decide(asked.id, decision, reason=reason)  # type: ignore[arg-type]
            except BaseException as error:
                failed.append(error)

        person = threading.Thread(target=decide, daemon=True)
        person.start()
        yield seen
        person.join(BOUND)
        assert not failed, failed


@contextmanager
def losing_upstream() -> Iterator[str]:
    """An upstream that reads a request and hangs up: what became of the call is unknown."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
