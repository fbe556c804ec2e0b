"""PyPI `mcp` 2.x: its client, probing for the newest revision as it does by itself, or with sessions (`--era legacy`)."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from scenarios import Outcome, joined, main

# The SDK's own limits, which a client handed to it replaces.
CONNECT_SECONDS = 30
READ_SECONDS = 300


class Sdk2:
    """A client of the 2.x line."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.revision = client.protocol_version

    async def list(self) -> list[str]:
        return [tool.name for tool in (await self._client.list_tools()).tools]

    async def call(self, tool: str, arguments: dict[str, Any], seconds: float | None) -> Outcome:
        result = await self._client.call_tool(tool, arguments, read_timeout_seconds=seconds)
        return Outcome(result.is_error, joined(result.content), result.meta, result.structured_content)


@asynccontextmanager
async def connect(options: Namespace) -> AsyncIterator[Sdk2]:
    headers = {"Authorization": f"Bearer {options.token}"} if options.token else {}
    limits = httpx2.Timeout(CONNECT_SECONDS, read=READ_SECONDS)
    mode = "legacy" if options.era == "legacy" else "auto"
    async with httpx2.AsyncClient(headers=headers, timeout=limits) as http:
        async with Client(streamable_http_client(options.url, http_client=http), mode=mode) as client:
            yield Sdk2(client)


if __name__ == "__main__":
    main(connect)
