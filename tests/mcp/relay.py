"""A relay between a client and a server on loopback: one that changes nothing, or one that changes a word on its way back.

With it the conformance difference is itself tested: through the first, the same checks pass; through the second, the
checks that need the word fail, and only they.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

CHUNK = 64 * 1024


class Relay:
    """Passes bytes both ways. `spoil` replaces one word by another of the same length in what the server says."""

    def __init__(self, url: str, spoil: tuple[bytes, bytes] | None) -> None:
        if spoil and len(spoil[0]) != len(spoil[1]):
            raise ValueError("a word of another length would no longer fit the Content-Length before it")
        parts = urlsplit(url)
        self._to = (parts.hostname, parts.port)
        self._path = parts.path
        self._spoil = spoil
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.url = ""

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._server = self._loop.run_until_complete(asyncio.start_server(self._connection, "127.0.0.1", 0))
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}{self._path}"
        self._ready.set()
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            back, forth = await asyncio.open_connection(*self._to)
        except OSError:
            writer.close()
            return
        await asyncio.gather(self._pass(reader, forth, None), self._pass(back, writer, self._spoil))

    @staticmethod
    async def _pass(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, spoil: tuple[bytes, bytes] | None
    ) -> None:
        with contextlib.suppress(ConnectionError, OSError):
            while data := await reader.read(CHUNK):
                writer.write(data.replace(*spoil) if spoil else data)
                await writer.drain()
        with contextlib.suppress(ConnectionError, OSError):
            writer.close()

    def __enter__(self) -> Relay:
        self._thread.start()
        if not self._ready.wait(10):
            raise TimeoutError("the relay does not listen")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)


@contextlib.contextmanager
def relay(url: str, spoil: tuple[bytes, bytes] | None = None) -> Iterator[str]:
    """The address of a relay to `url`."""
    with Relay(url, spoil) as running:
        yield running.url
