// The tools of a support agent.

import { appendFile } from "node:fs/promises";
import { tool } from "ai";
import { z } from "zod";
import { gated } from "./gated.js";

/** Pays money back. It stands in a file here; with you it is a call to the payments service. */
export const refund = tool({
  description: "Refund a customer. A person has to approve it; the result says whether it was executed.",
  inputSchema: z.object({ customer: z.string(), usd: z.number().positive() }),
  execute: gated("refund", async ({ customer, usd }: { customer: string; usd: number }) => {
    await appendFile("refunds.jsonl", `${JSON.stringify({ customer, usd })}\n`);
    return { refunded: usd, customer };
  }),
});
