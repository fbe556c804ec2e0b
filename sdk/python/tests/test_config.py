"""What the client is told, and what it says when that makes no sense."""

from __future__ import annotations

import pytest

from holdpoint import AsyncHoldpoint, ConfigurationError, Holdpoint, HoldpointError, require_approval

CLIENTS = pytest.mark.parametrize("cls", [Holdpoint, AsyncHoldpoint])


@CLIENTS
@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "set HOLDPOINT_URL"),
        ("127.0.0.1:8080", "http:// or https://"),
        ("ftp://h", "http:// or https://"),
        ("http://", "name a host"),
        ("http://user:pass@h", "must not carry a credential"),
        ("http://h/?a=1", "no `\\?`"),
    ],
)
def test_a_url_that_makes_no_sense_is_refused(cls: type[Holdpoint], url: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        cls(url, "t")
    assert "pass@" not in str(caught.value)


@CLIENTS
def test_a_missing_token_is_refused(cls: type[Holdpoint]) -> None:
    with pytest.raises(ConfigurationError, match="set HOLDPOINT_TOKEN"):
        cls("http://h")


@pytest.mark.parametrize("name", ["request_timeout", "outage_max"])
def test_a_time_that_makes_no_sense_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        Holdpoint("http://h", "t", **{name: float("inf")})  # type: ignore[arg-type]


def test_asking_without_configuration_says_what_to_set() -> None:
    with pytest.raises(HoldpointError, match="HOLDPOINT_URL"):
        require_approval("deploy")


def test_arguments_go_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDPOINT_URL", "http://environment")
    monkeypatch.setenv("HOLDPOINT_TOKEN", "t")
    with Holdpoint() as from_environment, Holdpoint("http://argument/") as from_argument:
        assert repr(from_environment) == "Holdpoint(url='http://environment')"
        assert repr(from_argument) == "Holdpoint(url='http://argument')"
