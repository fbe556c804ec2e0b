"""What every test may use."""

from __future__ import annotations

import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway import Gateway, losing_upstream

# A shell starts what runs in its background with interrupts ignored, and programs hand that down: the tests interrupt
# programs, so it ends here.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One for all tests that do not stop it."""
    with losing_upstream() as upstream:
        keys = "limits: { pending_per_agent_max: 1000 }\n"
        with Gateway(tmp_path_factory.mktemp("gateway"), upstream=upstream, keys=keys) as running:
            yield running


@pytest.fixture
def own_gateway(tmp_path: Path) -> Iterator[Gateway]:
    """One that the test may stop."""
    with Gateway(tmp_path) as running:
        yield running


@pytest.fixture
def action(request: pytest.FixtureRequest) -> str:
    """A name that no other test uses."""
    return f"{request.node.originalname}-{uuid.uuid4().hex[:8]}"


@pytest.fixture(autouse=True)
def nothing_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads what the machine is configured with."""
    for name in (
        "HOLDPOINT_URL",
        "HOLDPOINT_TOKEN",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "http_proxy",
        "https_proxy",
        "all_proxy",
    ):
        monkeypatch.delenv(name, raising=False)
