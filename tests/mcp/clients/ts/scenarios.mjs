// What both TypeScript clients do: the command line, the scenarios, and the lines they print (as clients/py/scenarios.py).
//
// A client has `revision`, `list()` and `call(tool, arguments, options)`; `options` are the SDK's own: `timeout` in
// milliseconds and an abort `signal`. Without them the SDK's defaults hold.

import { createInterface } from "node:readline";
import { parseArgs } from "node:util";

const CANCEL_MILLISECONDS = 2000;
const SHORT_MILLISECONDS = 3000;
const USUAL = { allowed: "safe_echo", blocked: "delete_repo" };
const ARGUMENT = { safe_echo: "text", delete_repo: "name" };

function emit(event, fields) {
  process.stdout.write(`${JSON.stringify({ event, ...fields })}\n`);
}

function argumentsOf(tool, key) {
  return tool === "safe_wait" ? { seconds: 20 } : { [ARGUMENT[tool] ?? "key"]: key };
}

function described(error) {
  const code = error?.code === undefined ? "" : ` (${error.code})`;
  return `${error?.name ?? "error"}${code}: ${error?.message ?? error}`;
}

function outcome(result) {
  const text = (result.content ?? []).map((block) => block.text ?? "").join("\n");
  return {
    is_error: result.isError === true,
    text,
    meta: result._meta ?? null,
    structured: result.structuredContent ?? null,
  };
}

// Prints what came of a call: a result, or whatever the SDK threw.
async function told(label, calling) {
  try {
    emit("result", { label, ...outcome(await calling) });
  } catch (error) {
    emit("error", { label, text: described(error) });
  }
}

// The driver writes a line when the client may go on.
function line() {
  return new Promise((resolve) => {
    const reader = createInterface({ input: process.stdin });
    const go = () => {
      reader.close();
      resolve();
    };
    reader.once("line", go);
    reader.once("close", resolve);
  });
}

async function scenario(client, options) {
  const given = options.arguments ? JSON.parse(options.arguments) : argumentsOf(options.tool, options.key);
  switch (options.scenario) {
    case "list":
      emit("result", { label: "list", is_error: false, tools: await client.list() });
      break;
    case "allowed":
    case "blocked":
    case "held":
      await told("call", client.call(options.tool, given, {}));
      break;
    case "held-short":
      await told("left", client.call(options.tool, given, { timeout: SHORT_MILLISECONDS }));
      await line();
      await told("repeat", client.call(options.tool, given, {}));
      break;
    case "cancel": {
      const abort = new AbortController();
      const timer = setTimeout(() => abort.abort("the user changed their mind"), CANCEL_MILLISECONDS);
      await told("cancelled", client.call(options.tool, given, { signal: abort.signal }));
      clearTimeout(timer);
      break;
    }
    default:
      throw new Error(`there is no scenario ${options.scenario}`);
  }
}

// Whether one more harmless call works, and what was said.
async function sessionAlive(client, options) {
  const key = `alive-${options.key}`;
  const [tool, given, expected] = options.alive ? JSON.parse(options.alive) : ["safe_echo", { text: key }, key];
  try {
    const { is_error, text } = outcome(await client.call(tool, given, {}));
    return { session_alive: !is_error && text.includes(expected), text };
  } catch (error) {
    return { session_alive: false, text: described(error) };
  }
}

// Reads the command line, connects and runs one scenario.
export async function main(connect) {
  const text = { type: "string" };
  const { values } = parseArgs({
    options: {
      url: text,
      token: { type: "string", default: "" },
      scenario: text,
      tool: text,
      arguments: text,
      alive: text,
      key: { type: "string", default: "k" },
      era: { type: "string", default: "default" },
    },
  });
  const options = { ...values, tool: values.tool ?? USUAL[values.scenario] ?? "held_tool" };
  let code = 0;
  try {
    const client = await connect(options);
    emit("connected", { protocol_version: client.revision });
    await scenario(client, options);
    emit("done", await sessionAlive(client, options));
    await client.close();
  } catch (error) {
    emit("error", { label: "session", text: described(error) });
    emit("done", { session_alive: false, text: "the session ended by an exception" });
    code = 1;
  }
  // A stream that the server leaves open must not keep the program running.
  process.exit(code);
}
