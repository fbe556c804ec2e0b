// npm `@modelcontextprotocol/client` 2.x: with sessions as it does by itself, or on the newest revision (`--era modern`).

import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";

import { main } from "./scenarios.mjs";

await main(async (options) => {
  const headers = options.token ? { Authorization: `Bearer ${options.token}` } : {};
  const transport = new StreamableHTTPClientTransport(new URL(options.url), { requestInit: { headers } });
  const negotiation = options.era === "modern" ? { versionNegotiation: { mode: { pin: "2026-07-28" } } } : {};
  const client = new Client({ name: "sdk2", version: "1" }, negotiation);
  await client.connect(transport);
  // The SDK checks results against the schemas of the tools that were listed.
  const { tools } = await client.listTools();
  return {
    revision: client.getNegotiatedProtocolVersion?.() ?? transport.protocolVersion ?? null,
    list: async () => tools.map((tool) => tool.name),
    call: (name, given, how) => client.callTool({ name, arguments: given }, how),
    close: () => client.close(),
  };
});
