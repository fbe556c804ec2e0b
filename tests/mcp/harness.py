"""Starts what the MCP tests need: the fixture, other servers, the real gateway; and decides as a reviewer.

Everything listens on loopback, on free ports, and ends with the `with` block that started it, whatever happens in it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "tests/mcp"
TOOLS = ROOT / "target/mcp-tools"
NODE = TOOLS / "node/node_modules/node22"
MODULES = TOOLS / "node/node_modules"
PYTHON_1 = TOOLS / "python-1/bin/python"
PYTHON_2 = TOOLS / "python-2/bin/python"
GATEWAY = Path(os.environ.get("HOLDPOINT_BIN", ROOT / "target/debug/holdpoint"))

START_SECONDS = 30
T = TypeVar("T")
# What a child may say before its older lines are dropped.
LINES_KEPT = 20_000


def environment(**more: str) -> dict[str, str]:
    """An environment of its own: no proxy setting, credential or tracing address of the machine's reaches a child."""
    return {"PATH": os.environ["PATH"], "HOME": tempfile.gettempdir(), "PYTHONDONTWRITEBYTECODE": "1"} | more


def wait_for(what: str, found: Callable[[], T | None], seconds: float = START_SECONDS) -> T:
    """Asks until there is an answer; says what was missing when there is none in time."""
    end = time.monotonic() + seconds
    while True:
        answer = found()
        if answer is not None:
            return answer
        if time.monotonic() > end:
            raise TimeoutError(f"after {seconds} s still waiting: {what}")
        time.sleep(0.05)


class Child:
    """A process in a group of its own, its lines as they come, and its end."""

    def __init__(self, command: list[str | Path], *, stdin: bool = False, **more: str) -> None:
        self.command = [str(part) for part in command]
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=environment(**more),
            start_new_session=True,
        )
        self.out: list[str] = []
        self.err: list[str] = []
        self._readers = [
            threading.Thread(target=self._read, args=(stream, into), daemon=True)
            for stream, into in ((self.process.stdout, self.out), (self.process.stderr, self.err))
        ]
        for reader in self._readers:
            reader.start()

    @staticmethod
    def _read(stream: Any, into: list[str]) -> None:
        for line in stream:
            into.append(line.rstrip("\n"))
            del into[:-LINES_KEPT]

    def json_lines(self) -> list[dict[str, Any]]:
        """What it has printed so far, where that is JSON."""
        found = []
        for line in list(self.out):
            with contextlib.suppress(json.JSONDecodeError):
                value = json.loads(line)
                if isinstance(value, dict):
                    found.append(value)
        return found

    def say(self, line: str) -> None:
        """Writes a line to its standard input."""
        assert self.process.stdin is not None, "started without a standard input"
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()

    def wait(self, seconds: float) -> int:
        """Waits for its end, and for its last line."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise TimeoutError(f"did not end within {seconds} s\n{self.report()}") from None
        for reader in self._readers:
            reader.join(5)
        return code

    def alive(self) -> bool:
        """Whether it still runs."""
        return self.process.poll() is None

    def report(self) -> str:
        """What it was and what it said, for a person."""
        said = [f"$ {' '.join(self.command)}", *self.out[-40:], "--- standard error", *self.err[-40:]]
        return "\n".join(said)

    def kill(self) -> None:
        """Ends it and whatever it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


@dataclass
class Fixture:
    """A running fixture: where it is, and what it has executed."""

    url: str
    log: Path

    def calls(self, value: str, phase: str = "executed") -> list[dict[str, Any]]:
        """The lines of one phase whose arguments hold this value."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [line for line in lines if line["phase"] == phase and value in line["arguments"].values()]


@contextlib.contextmanager
def fixture(folder: Path) -> Iterator[Fixture]:
    """The fixture on a free port."""
    log = folder / "calls.ndjson"
    log.touch()
    command = [PYTHON_2, HERE / "fixture/server.py", "--port", "0", "--log", log, "--until-stdin-closes"]
    with Child(command, stdin=True) as child:
        yield Fixture(announced(child), log)


def announced(child: Child) -> str:
    """The address in the line `{"listening": …}`."""

    def found() -> str | None:
        if not child.alive():
            raise RuntimeError(f"ended at once\n{child.report()}")
        return next((line["listening"] for line in child.json_lines() if "listening" in line), None)

    return wait_for(f"{child.command} says where it listens", found)


@dataclass
class Answer:
    """A response to a plain HTTP request."""

    status: int
    body: bytes
    headers: Any

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


def http(method: str, url: str, token: str | None = None, body: Any = None, seconds: float = 10) -> Answer:
    """One plain HTTP request; any status is an answer."""
    headers = {"Content-Type": "application/json"} if body is not None else {}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310: loopback only
    # A handler without proxies: a machine's proxy setting must not see these requests.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=seconds) as response:
            return Answer(response.status, response.read(), response.headers)
    except urllib.error.HTTPError as error:
        return Answer(error.code, error.read(), error.headers)


def token_of(name: str) -> str:
    """The credential of an agent or reviewer in these tests."""
    return f"token-of-{name}"


def digest(token: str) -> str:
    """What the configuration holds in place of a credential."""
    return hashlib.sha256(token.encode()).hexdigest()


@dataclass
class Setup:
    """A gateway's configuration: upstreams by name (a URL or a command), rules, agents."""

    upstreams: dict[str, str | list[str]]
    rules: list[dict[str, Any]]
    agents: list[str] = field(default_factory=list)
    # Agents whose held calls are answered after a time of their own.
    impatient: dict[str, str] = field(default_factory=dict)
    anonymous: bool = False
    protocol: str = "mcp"
    default: str = "block"

    def write(self, folder: Path) -> Path:
        """Writes the configuration and its policy; JSON is YAML."""
        where = {name: {"protocol": self.protocol} | target(at) for name, at in self.upstreams.items()}
        policy = {"version": 1, "default": self.default, "rules": self.rules}
        (folder / "policy.yaml").write_text(json.dumps(policy, indent=1))
        reviewer = {"id": "alice", "groups": ["people"], "role": "admin", "token_sha256": digest(token_of("alice"))}
        config = {
            "version": 1,
            "proxy": {"listen": "127.0.0.1:0"},
            "admin": {"listen": "127.0.0.1:0"},
            "store": f"sqlite://{folder / 'holdpoint.db'}",
            "policies": ["policy.yaml"],
            "reviewers": [reviewer],
            "upstreams": where,
            "routes": [{"path": f"/{name}/mcp", "upstream": name} for name in self.upstreams],
            "drain_timeout": "2s",
        }
        if self.anonymous:
            config["anonymous"] = True
        agents = [(name, {}) for name in self.agents]
        agents += [(name, {"inline_budget": budget}) for name, budget in self.impatient.items()]
        if agents:
            config["agents"] = [{"id": name, "token_sha256": digest(token_of(name))} | more for name, more in agents]
        path = folder / "holdpoint.yaml"
        path.write_text(json.dumps(config, indent=1))
        return path


def target(at: str | list[str]) -> dict[str, Any]:
    """An upstream behind an address, or one that the gateway starts itself."""
    return {"url": at} if isinstance(at, str) else {"command": at}


class Gateway:
    """A running gateway, with the reviewer's side of it."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.proxy = f"http://{self._bound('proxy')}"
        self.admin = f"http://{self._bound('admin')}"
        wait_for("the gateway is ready", lambda: http("GET", f"{self.admin}/readyz").status == 200 or None)

    def _bound(self, surface: str) -> str:
        def found() -> str | None:
            if not self.child.alive():
                raise RuntimeError(f"the gateway ended\n{self.child.report()}")
            for line in list(self.child.err):
                with contextlib.suppress(json.JSONDecodeError):
                    said = json.loads(line)
                    said = said.get("fields", said)
                    if said.get("message") == "listening" and said.get("surface") == surface:
                        return said["address"]
            return None

        return wait_for(f"the {surface} listener is announced", found)

    def url(self, upstream: str) -> str:
        """Where agents reach an upstream."""
        return f"{self.proxy}/{upstream}/mcp"

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        answer = http(method, self.admin + path, token_of("alice"), body)
        assert answer.status == 200, f"{method} {path}: {answer.status} {answer.body!r}"
        return answer.json()

    def approvals(self, agent: str, status: str | None = None) -> list[dict[str, Any]]:
        """The approvals of an agent, oldest first."""
        of_status = f"&status={status}" if status else ""
        found = self._ask("GET", f"/v1/approvals?agent={agent}&limit=100{of_status}")["approvals"]
        # Ids are ordered by time.
        return sorted(found, key=lambda approval: approval["id"])

    def one_pending(self, agent: str, seconds: float = START_SECONDS) -> str:
        """The id of the one approval that waits for a decision."""

        def found() -> str | None:
            pending = self.approvals(agent, "pending")
            assert len(pending) < 2, f"asked more than once: {pending}"
            return pending[0]["id"] if pending else None

        return wait_for(f"an approval of {agent} is pending", found, seconds)

    def approval(self, approval: str) -> dict[str, Any]:
        """An approval as it stands."""
        return self._ask("GET", f"/v1/approvals/{approval}")

    def decide(self, approval: str, decision: str, reason: str) -> None:
        """Decides as the reviewer."""
        self._ask("POST", f"/v1/approvals/{approval}", {"decision": decision, "reason": reason})

    def decided_first(self, approval: str, decision: str, reason: str) -> bool:
        """Decides as the reviewer, unless the caller has taken its call back by then; whether it was decided."""
        body = {"decision": decision, "reason": reason}
        answer = http("POST", f"{self.admin}/v1/approvals/{approval}", token_of("alice"), body)
        assert answer.status == 200 or answer.json().get("approval_status") == "cancelled", answer.body
        return answer.status == 200


def check(setup: Setup, folder: Path) -> Answer:
    """What `holdpoint check` says: status 0 and nothing, or its exit code and its report."""
    path = setup.write(folder)
    done = subprocess.run(
        [str(GATEWAY), "check", "-c", str(path)], env=environment(), capture_output=True, timeout=30, check=False
    )
    return Answer(done.returncode, done.stdout + done.stderr, None)


@contextlib.contextmanager
def gateway(setup: Setup, folder: Path) -> Iterator[Gateway]:
    """The real binary in front of the upstreams."""
    folder.mkdir(parents=True, exist_ok=True)
    with Child([GATEWAY, "serve", "-c", setup.write(folder)]) as child:
        yield Gateway(child)
