"""The OpenAI Agents SDK's MCP server object, with its own default of 5 seconds for every call.

The time-out is a setting of the connection there, not of a call, and short as it is: that default is the short one.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from agents.mcp import MCPServerStreamableHttp

from scenarios import Outcome, joined, main


class OpenAiAgents:
    """A connected server object."""

    revision = None

    def __init__(self, server: MCPServerStreamableHttp) -> None:
        self._server = server

    async def list(self) -> list[str]:
        return [tool.name for tool in await self._server.list_tools()]

    async def call(self, tool: str, arguments: dict[str, Any], seconds: float | None) -> Outcome:
        result = await self._server.call_tool(tool, arguments)
        return Outcome(result.isError, joined(result.content), result.meta, result.structuredContent)


@asynccontextmanager
async def connect(options: Namespace) -> AsyncIterator[OpenAiAgents]:
    headers = {"Authorization": f"Bearer {options.token}"} if options.token else {}
    async with MCPServerStreamableHttp({"url": options.url, "headers": headers}) as server:
        yield OpenAiAgents(server)


if __name__ == "__main__":
    main(connect)
