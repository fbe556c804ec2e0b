"""Where the gateway is and who asks."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Generator
from urllib.parse import urlsplit

import httpx

from .errors import ConfigurationError

URL_VARIABLE = "HOLDPOINT_URL"
TOKEN_VARIABLE = "HOLDPOINT_TOKEN"  # noqa: S105 - the variable's name, not a token

_VISIBLE = re.compile(r"[\x21-\x7e]+")
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


class Credential(httpx.Auth):
    """A bearer token that puts itself into a request and shows itself nowhere else."""

    __slots__ = ("_token",)

    def __init__(self, token: str) -> None:
        self._token = token

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Adds the token to the request."""
        request.headers["Authorization"] = f"Bearer {self._token}"
        yield request

    def __repr__(self) -> str:
        return "Credential(…)"

    def __reduce__(self) -> str:
        raise TypeError("a credential is not pickled; build the client where it is used")


def base_url(url: str | None) -> str:
    """The base URL, without a slash at its end."""
    value = (url if url is not None else os.environ.get(URL_VARIABLE, "")).strip()
    if not value:
        raise ConfigurationError(
            f"no gateway: pass `url` or set {URL_VARIABLE}, such as http://127.0.0.1:8080/_holdpoint for agents"
        )
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError("the gateway's URL must begin with http:// or https:// and name a host")
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError(f"the gateway's URL must not carry a credential; pass `token` or set {TOKEN_VARIABLE}")
    if parts.query or parts.fragment:
        raise ConfigurationError("the gateway's URL must end with its path: no `?` and no `#`")
    return value.rstrip("/")


def credential(token: str | None) -> Credential:
    """The token, checked but never shown."""
    value = (token if token is not None else os.environ.get(TOKEN_VARIABLE, "")).strip()
    if not value:
        raise ConfigurationError(f"no credential: pass `token` or set {TOKEN_VARIABLE}")
    if not _VISIBLE.fullmatch(value):
        raise ConfigurationError("the token has characters that a token cannot have; was a whole file pasted?")
    return Credential(value)


def seconds(name: str, value: float, *, zero: bool = False) -> float:
    """A number of seconds that makes sense."""
    if not math.isfinite(value) or value < 0 or (value == 0 and not zero):
        raise ConfigurationError(f"`{name}` is a number of seconds, more than nothing: not {value!r}")
    return float(value)


def approval_id(value: str) -> str:
    """An id as it may stand in a path."""
    if not _ID.fullmatch(value):
        raise ConfigurationError(f"{value[:64]!r} is no approval id; one looks like apr_06h2…")
    return value


def idempotency_key(value: str) -> str:
    """A key as it may stand in a header."""
    if not (len(value) <= 255 and _VISIBLE.fullmatch(value)):
        raise ConfigurationError("an idempotency key has 1 to 255 visible ASCII characters and no spaces")
    return value
