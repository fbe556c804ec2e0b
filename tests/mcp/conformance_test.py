"""The conformance difference is a test only if it sees what is broken: shown here with relays that are known."""

from __future__ import annotations

from pathlib import Path

import pytest

import conformance
from harness import fixture
from relay import relay

# Its marks are taken once, by one worker.
pytestmark = pytest.mark.xdist_group("conformance")

# What the fixture must reach by itself; without it the comparison would compare little.
FULL_MARKS = {"0.1 sessions": 44, "0.2 2025-11-25": 84, "0.2 2026-07-28": 164}
# The fixture itself has no tasks: these scenarios are there for a gateway that has them.
NOT_SCORED = "tasks-"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory):
    """The fixture."""
    with fixture(tmp_path_factory.mktemp("fixture")) as running:
        yield running


@pytest.fixture(scope="module")
def straight(server) -> conformance.Marks:
    """Its marks without anything in between."""
    return conformance.marks(server.url)


def test_the_fixture_reaches_full_marks_on_every_revision(straight: conformance.Marks) -> None:
    passed: dict[str, int] = {}
    for (run, _, _, _), n in straight.passed().items():
        passed[run] = passed.get(run, 0) + n
    assert passed == FULL_MARKS
    failed = {check for (check, status) in straight.statuses if status == "FAILURE"}
    assert [check for check in failed if not check[1].startswith(NOT_SCORED)] == []


def test_a_relay_that_changes_nothing_loses_no_check(server, straight: conformance.Marks) -> None:
    with relay(server.url) as url:
        assert conformance.difference(straight, conformance.marks(url)) == []


def test_a_relay_that_spoils_one_field_loses_the_checks_of_that_field(server, straight: conformance.Marks) -> None:
    modern = tuple(run for run in conformance.RUNS if run.name == "0.2 2026-07-28")
    with relay(server.url, (b'"cacheScope"', b'"cacheScore"')) as url:
        spoilt = conformance.marks(url, modern)
    of_modern = {key: n for key, n in straight.statuses.items() if key[0][0] == modern[0].name}
    lost = conformance.difference(conformance.Marks(conformance.Counter(of_modern), 0), spoilt)
    assert lost, "a missing caching hint went unseen"
    # Besides the scenario about that field, what the suite says of the form of every message it has seen.
    others = [line for line in lost if " / caching / " not in line and " / wire-schema-valid / " not in line]
    assert others == []
    assert any(" / sep-2549-cache-scope-valid / " in line for line in lost), lost


def test_a_server_that_does_not_answer_is_an_error_and_no_marks(tmp_path: Path) -> None:
    with fixture(tmp_path) as gone:
        url = gone.url
    # The suite calls an exchange that never happened well formed.
    with pytest.raises(conformance.SuiteError, match="nothing passed"):
        conformance.marks(url, conformance.RUNS[1:2])
