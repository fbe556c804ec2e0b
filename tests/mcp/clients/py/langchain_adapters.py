"""LangChain's MCP adapters: tools of one session, invoked as an agent invokes them.

What reaches the agent is a tool message: its status and its text. `_meta` is not handed out.
"""

from __future__ import annotations

import asyncio
from argparse import Namespace
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from langchain_core.tools import BaseTool
from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_mcp_adapters.tools import load_mcp_tools

from scenarios import Outcome, main


class LangChain:
    """The tools of a session."""

    revision = None

    def __init__(self, tools: list[BaseTool]) -> None:
        self._tools = {tool.name: tool for tool in tools}

    async def list(self) -> list[str]:
        return list(self._tools)

    async def call(self, tool: str, arguments: dict[str, Any], seconds: float | None) -> Outcome:
        asked = {"type": "tool_call", "id": "call-1", "name": tool, "args": arguments}
        async with asyncio.timeout(seconds):
            message = await self._tools[tool].ainvoke(asked)
        content = message.content
        blocks = [content] if isinstance(content, str) else [block.get("text", "") for block in content]
        structured = message.artifact.get("structured_content") if message.artifact else None
        return Outcome(message.status == "error", "\n".join(blocks), None, structured)


@asynccontextmanager
async def connect(options: Namespace) -> AsyncIterator[LangChain]:
    headers = {"Authorization": f"Bearer {options.token}"} if options.token else {}
    there = {"transport": "streamable_http", "url": options.url, "headers": headers}
    client = MultiServerMCPClient({"upstream": there})
    async with client.session("upstream") as session:
        yield LangChain(await load_mcp_tools(session))


if __name__ == "__main__":
    main(connect)
