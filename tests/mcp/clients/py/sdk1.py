"""PyPI `mcp` 1.x as its own documentation uses it: one client session over streamable HTTP."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client

from scenarios import Outcome, joined, main


class Sdk1:
    """A session of the 1.x line."""

    def __init__(self, session: ClientSession, revision: str | None) -> None:
        self._session = session
        self.revision = revision

    async def list(self) -> list[str]:
        return [tool.name for tool in (await self._session.list_tools()).tools]

    async def call(self, tool: str, arguments: dict[str, Any], seconds: float | None) -> Outcome:
        limit = timedelta(seconds=seconds) if seconds else None
        result = await self._session.call_tool(tool, arguments, read_timeout_seconds=limit)
        return Outcome(result.isError, joined(result.content), result.meta, result.structuredContent)


@asynccontextmanager
async def connect(options: Namespace) -> AsyncIterator[Sdk1]:
    headers = {"Authorization": f"Bearer {options.token}"} if options.token else {}
    async with streamablehttp_client(options.url, headers=headers) as (read, write, _):
        async with ClientSession(read, write) as session:
            answer = await session.initialize()
            yield Sdk1(session, str(answer.protocolVersion))


if __name__ == "__main__":
    main(connect)
