// call.ts CUSTOMER USD: calls the tool as the AI SDK does when a model asks for it, without a model.

import { refund } from "./tools.js";

const [customer = "", usd = ""] = process.argv.slice(2);
const input = { customer, usd: Number(usd) };
const options = { toolCallId: "call-1", messages: [], abortSignal: AbortSignal.timeout(60_000) };
console.log(JSON.stringify(await refund.execute?.(input, options)));
