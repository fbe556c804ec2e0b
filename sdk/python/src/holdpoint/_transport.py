"""Carrying out the steps of a flow over httpx, blocking or awaited."""

from __future__ import annotations

import functools
import ssl
import time
from collections.abc import Callable
from typing import TypeVar

import anyio
import httpx

from ._config import Credential
from ._flow import Answer, Call, Flow, Pause, Step, TransportFailed
from ._version import __version__
from .errors import UnexpectedAnswer

T = TypeVar("T")

#: The most that an answer may have, in bytes: a page of 200 approvals fits.
ANSWER_BYTES_MAX = 64 * 1024 * 1024
#: How long making a connection may take, in seconds.
CONNECT_WITHIN = 10.0
#: Each approval that is waited for has a connection of its own.
LIMITS = httpx.Limits(max_connections=1000, max_keepalive_connections=20)

HEADERS = {
    "Accept": "application/json, application/problem+json",
    # What is not compressed cannot grow.
    "Accept-Encoding": "identity",
    "User-Agent": f"holdpoint-python/{__version__}",
}


class Wire:
    """How requests are built and failures are read, the same for both drivers."""

    def __init__(self, base: str, credential: Credential, request_timeout: float) -> None:
        self.base = base
        self.credential = credential
        self.request_timeout = request_timeout

    def patience(self, call: Call) -> float:
        """How long this call may take."""
        most = call.patience if call.patience is not None else self.request_timeout
        return most if call.at_most is None else min(most, call.at_most)

    def timeout(self, call: Call) -> httpx.Timeout:
        """The same for httpx."""
        patience = self.patience(call)
        return httpx.Timeout(patience, connect=min(patience, CONNECT_WITHIN), pool=min(patience, CONNECT_WITHIN))


class Body:
    """Collects an answer, within its limits."""

    def __init__(self, until: float) -> None:
        self._until = until
        self._bytes = bytearray()

    def add(self, chunk: bytes) -> None:
        """Takes in what came."""
        self._bytes += chunk
        if len(self._bytes) > ANSWER_BYTES_MAX:
            raise UnexpectedAnswer(f"the answer is larger than {ANSWER_BYTES_MAX} bytes")
        if time.monotonic() > self._until:
            raise httpx.ReadTimeout("the answer did not end in time")

    def answer(self, response: httpx.Response) -> Answer:
        """The whole."""
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status_code, headers, bytes(self._bytes))


def failure(error: httpx.HTTPError | httpx.InvalidURL, base: str) -> TransportFailed:
    """What a failure of httpx means. Its text alone is kept: its frames hold the request, and with it the credential."""
    sent = not isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout))
    passing = not isinstance(error, (httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.InvalidURL))
    what = str(error) or type(error).__name__
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            passing, what = False, f"its certificate is not trusted: {cause.verify_message}"
        cause = cause.__cause__ or cause.__context__
    return TransportFailed(f"no answer from {base}: {what}", sent=sent, passing=passing)


class Blocking:
    """Carries out steps with blocking calls."""

    def __init__(self, wire: Wire, client: httpx.Client, sleep: Callable[[float], None]) -> None:
        self._wire, self._client, self._sleep = wire, client, sleep

    def run(self, flow: Flow[T]) -> T:
        """Runs a flow to its end."""
        resume: Callable[[], Step] = functools.partial(next, flow)
        while True:
            try:
                step = resume()
            except StopIteration as end:
                result: T = end.value
                return result
            try:
                outcome = self._carry_out(step)
            except BaseException as error:  # An interruption too is for the flow: it has an approval to take back.
                resume = functools.partial(flow.throw, error)
            else:
                resume = functools.partial(flow.send, outcome)

    def _carry_out(self, step: Step) -> Answer | None:
        if isinstance(step, Pause):
            self._sleep(step.seconds)
            return None
        try:
            return self._request(step)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            failed = failure(error, self._wire.base)
        # Outside of the handler: nothing of httpx hangs on to it.
        raise failed

    def _request(self, call: Call) -> Answer:
        wire = self._wire
        body = Body(time.monotonic() + wire.patience(call))
        with self._client.stream(
            call.method,
            wire.base + call.path,
            params=dict(call.params) or None,
            content=call.body,
            headers=dict(call.headers),
            auth=wire.credential,
            timeout=wire.timeout(call),
        ) as response:
            for chunk in response.iter_bytes():
                body.add(chunk)
            return body.answer(response)


class Awaiting:
    """Carries out steps with awaited calls, under asyncio and trio."""

    def __init__(self, wire: Wire, client: httpx.AsyncClient) -> None:
        self._wire, self._client = wire, client

    async def run(self, flow: Flow[T]) -> T:
        """Runs a flow to its end."""
        interrupted = False
        resume: Callable[[], Step] = functools.partial(next, flow)
        while True:
            try:
                step = resume()
            except StopIteration as end:
                result: T = end.value
                return result
            try:
                # What a flow still does after it was cancelled is bounded, and a cancelled scope must not stop it.
                with anyio.CancelScope(shield=interrupted):
                    outcome = await self._carry_out(step)
            except BaseException as error:
                interrupted = interrupted or not isinstance(error, Exception)
                resume = functools.partial(flow.throw, error)
            else:
                resume = functools.partial(flow.send, outcome)

    async def _carry_out(self, step: Step) -> Answer | None:
        if isinstance(step, Pause):
            await anyio.sleep(step.seconds)
            return None
        try:
            return await self._request(step)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            failed = failure(error, self._wire.base)
        raise failed

    async def _request(self, call: Call) -> Answer:
        wire = self._wire
        body = Body(time.monotonic() + wire.patience(call))
        async with self._client.stream(
            call.method,
            wire.base + call.path,
            params=dict(call.params) or None,
            content=call.body,
            headers=dict(call.headers),
            auth=wire.credential,
            timeout=wire.timeout(call),
        ) as response:
            async for chunk in response.aiter_bytes():
                body.add(chunk)
            return body.answer(response)
