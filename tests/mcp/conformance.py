"""Runs the MCP conformance suite at two addresses and compares which checks pass.

    conformance.py --through URL                    straight at a fixture of its own, and at URL
    conformance.py --direct URL --through URL       at two servers that run already
    conformance.py --gateway                        straight at a fixture, and through the real gateway before it

A gateway between client and server should be invisible where nothing is held or blocked, so both must pass the same
checks: the exit code is 1, with the difference printed, when they do not, and 2 when a suite could not be run. The
suites send no credential: the address must let anonymous callers in.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness import GATEWAY, MODULES, NODE, Child, Setup, fixture, gateway

# One whole run at one address takes a few seconds on an idle machine.
RUN_SECONDS = 240

Check = tuple[str, str, str, str]


@dataclass(frozen=True)
class Run:
    """One run of one version of the suite. `must` names scenarios that it would be pointless without."""

    name: str
    package: str
    arguments: tuple[str, ...]
    must: tuple[str, ...]


RUNS = (
    Run("0.1 sessions", "conformance-0.1", ("--suite", "all"), ("tools-call-elicitation", "server-sse-polling")),
    Run(
        "0.2 2025-11-25",
        "conformance-0.2",
        ("--requirements", "2025-11-25"),
        ("server-session-lifecycle", "server-sse-polling", "server-sse-multiple-streams", "dns-rebinding-protection"),
    ),
    Run(
        "0.2 2026-07-28",
        "conformance-0.2",
        ("--requirements", "2026-07-28"),
        (
            "server-stateless",
            "http-header-validation",
            "http-custom-header-server-validation",
            "input-required-result-multi-round",
            "input-required-result-tampered-state",
            "tasks-lifecycle",
        ),
    ),
)


class SuiteError(Exception):
    """The suite itself did not work: nothing is known about the server."""


@dataclass
class Marks:
    """What one address reached: each check with its status, repeated checks counted."""

    statuses: Counter[tuple[Check, str]]
    seconds: float

    def passed(self) -> Counter[Check]:
        """The checks that passed."""
        return Counter({check: n for (check, status), n in self.statuses.items() if status == "SUCCESS"})

    def summary(self, run: str) -> str:
        """One line for a run."""
        of_run = Counter()
        for (check, status), n in self.statuses.items():
            if check[0] == run:
                of_run[status] += n
        others = ", ".join(f"{n} {status.lower()}" for status, n in sorted(of_run.items()) if status != "SUCCESS")
        return f"{run}: {of_run['SUCCESS']} passed" + (f" ({others})" if others else "")


def marks(url: str, runs: tuple[Run, ...] = RUNS) -> Marks:
    """Runs the suites at an address."""
    began = time.monotonic()
    statuses: Counter[tuple[Check, str]] = Counter()
    with tempfile.TemporaryDirectory(prefix="holdpoint-conformance-") as folder:
        for number, run in enumerate(runs):
            statuses += run_suite(run, url, Path(folder) / str(number))
    return Marks(statuses, time.monotonic() - began)


def run_suite(run: Run, url: str, out: Path) -> Counter[tuple[Check, str]]:
    """One run; its exit code says only whether every check passed, so the results are read from its files."""
    program = MODULES / run.package / "dist/index.js"
    with Child([NODE, program, "server", "--url", url, *run.arguments, "-o", out]) as child:
        try:
            child.wait(RUN_SECONDS)
        except TimeoutError as error:
            raise SuiteError(f"{run.name} at {url}: {error}") from error
        found: Counter[tuple[Check, str]] = Counter()
        scenarios = set()
        for file in sorted(out.glob("*/checks.json")):
            # `server-NAME-2026-11-22T19-05-14-106Z`
            scenario = file.parent.name.removeprefix("server-").rsplit("-", 6)[0]
            scenarios.add(scenario)
            for check in json.loads(file.read_text()):
                if check["status"] != "INFO":
                    found[((run.name, scenario, check["id"], check["name"]), check["status"])] += 1
        missing = [name for name in run.must if name not in scenarios]
        if missing:
            raise SuiteError(f"{run.name} at {url}: did not run {', '.join(missing)}\n{child.report()}")
        # Of an exchange that never happened the suite says that its form was right.
        if not any(status == "SUCCESS" and check[2] != "wire-schema-valid" for check, status in found):
            raise SuiteError(f"{run.name} at {url}: nothing passed; is it an MCP server that lets anybody in?")
        return found


def difference(direct: Marks, through: Marks) -> list[str]:
    """What passes at only one of the two, for a person."""
    lines = []
    for sign, one, other in (("lost", direct, through), ("gained", through, direct)):
        for check, n in sorted((one.passed() - other.passed()).items()):
            times = f" ({n} times)" if n > 1 else ""
            lines.append(f"{sign}: {' / '.join(check)}{times}")
    return lines


@contextlib.contextmanager
def addresses(options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """The two addresses, with what must run behind them."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="holdpoint-conformance-")))
        direct = options.direct or stack.enter_context(fixture(folder)).url
        if options.through:
            yield direct, options.through
            return
        allow = [{"id": "all", "match": "*", "action": "allow"}]
        setup = Setup({"fixture": direct}, allow, anonymous=True, protocol=options.protocol)
        yield direct, stack.enter_context(gateway(setup, folder / "gateway")).url("fixture")


def main() -> int:
    """Compares; the exit code is the answer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--direct", help="the server itself; left out, a fixture is started")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--through", help="the same server through what stands before it")
    which.add_argument("--gateway", action="store_true", help=f"start {GATEWAY} in front of it")
    parser.add_argument("--protocol", default="mcp", choices=("mcp", "http"), help="of the upstream, with --gateway")
    parser.add_argument("--list", action="store_true", help="also print every check that passed")
    options = parser.parse_args()
    if not NODE.exists():
        print(f"{NODE} is missing: run scripts/install-mcp-tools.sh", file=sys.stderr)
        return 2
    try:
        with addresses(options) as (direct_url, through_url):
            results = []
            for label, url in (("direct", direct_url), ("through", through_url)):
                result = marks(url)
                results.append(result)
                print(f"{label} {url}, {result.seconds:.0f} s", flush=True)
                for run in RUNS:
                    print(f"  {result.summary(run.name)}")
                if options.list:
                    for check, n in sorted(result.passed().items()):
                        print(f"    {' / '.join(check)}" + (f" ({n} times)" if n > 1 else ""))
    except (SuiteError, RuntimeError, TimeoutError) as error:
        print(error, file=sys.stderr)
        return 2
    lines = difference(*results)
    for line in lines:
        print(line)
    print("the same checks pass" if not lines else f"{len(lines)} differences")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
