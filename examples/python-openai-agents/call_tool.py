"""Calls the agent's tool as a runner would, with the arguments that a model would write."""

import asyncio
import sys

from agents import FunctionTool
from agents.tool_context import ToolContext
from tools import support


async def main(arguments: str) -> None:
    """Calls it once and prints what the model would read."""
    (tool,) = support.tools
    if not isinstance(tool, FunctionTool):
        raise TypeError("the agent's tool is a function")
    context = ToolContext(None, tool_name=tool.name, tool_call_id="call-1", tool_arguments=arguments)
    print(await tool.on_invoke_tool(context, arguments))


asyncio.run(main(sys.argv[1]))
