// npm `@modelcontextprotocol/sdk` 1.x, with its default time-out of 60 seconds.

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

import { main } from "./scenarios.mjs";

await main(async (options) => {
  const headers = options.token ? { Authorization: `Bearer ${options.token}` } : {};
  const transport = new StreamableHTTPClientTransport(new URL(options.url), { requestInit: { headers } });
  const client = new Client({ name: "sdk1", version: "1" });
  await client.connect(transport);
  // The SDK checks results against the schemas of the tools that were listed.
  const { tools } = await client.listTools();
  return {
    revision: transport.protocolVersion ?? null,
    list: async () => tools.map((tool) => tool.name),
    call: (name, given, how) => client.callTool({ name, arguments: given }, undefined, how),
    close: () => client.close(),
  };
});
