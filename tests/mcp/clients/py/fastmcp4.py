"""FastMCP's client, with a bearer token as its documentation shows it."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastmcp import Client

from scenarios import Outcome, joined, main


class FastMcp:
    """A client of FastMCP."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.revision = client.protocol_version

    async def list(self) -> list[str]:
        return [tool.name for tool in await self._client.list_tools()]

    async def call(self, tool: str, arguments: dict[str, Any], seconds: float | None) -> Outcome:
        result = await self._client.call_tool(tool, arguments, timeout=seconds, raise_on_error=False)
        return Outcome(result.is_error, joined(result.content), result.meta, result.structured_content)


@asynccontextmanager
async def connect(options: Namespace) -> AsyncIterator[FastMcp]:
    async with Client(options.url, auth=options.token or None) as client:
        yield FastMcp(client)


if __name__ == "__main__":
    main(connect)
