// A tool whose work is done only after a human has approved it.

import { ApprovalError, requireApproval } from "@holdpoint/client";
import type { ToolCallOptions } from "ai";

/** What the model is told. */
export type Gated<OUTPUT> = { executed: true; result: OUTPUT } | { executed: false; why: string };

/**
 * The `execute` of a tool, behind a gate. What the reviewer sees is the input that the work gets: it is copied before it is shown, so
 * that nothing can change it afterwards.
 *
 * A refusal is an answer that the model can read and tell, not an error. Everything else (the gateway is away, the credential is wrong)
 * is thrown, and nothing was done.
 */
export function gated<INPUT, OUTPUT>(action: string, work: (input: INPUT) => Promise<OUTPUT>) {
  return async (given: INPUT, { toolCallId, abortSignal }: ToolCallOptions): Promise<Gated<OUTPUT>> => {
    const input = structuredClone(given);
    try {
      // No key made of `toolCallId`: some models count their calls from zero, and a key that comes again is an old approval.
      await requireApproval(action, { context: { input, toolCallId }, timeoutMs: 10 * 60 * 1000, signal: abortSignal });
    } catch (error) {
      if (error instanceof ApprovalError) return { executed: false, why: `NOT executed: ${error.message}` };
      throw error;
    }
    return { executed: true, result: await work(input) };
  };
}
