// A page is run as it says: every `sh` block is pasted into one shell, in order, and every line of a `text` block must be found in what
// the block before it printed.

import { spawn } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout as pass } from "node:timers/promises";
import { BINARY } from "./gateway.js";

/** A fenced block of a page. */
export interface Block {
  language: string;
  text: string;
}

/** The fenced blocks of a Markdown page. */
export function blocks(page: string): Block[] {
  return [...page.matchAll(/^```(.*)\n([\s\S]*?)^```$/gm)].map(([, language, text]) => ({
    language: (language ?? "").trim(),
    text: text ?? "",
  }));
}

const MARK = "----- end of block";
/** How long a page may take, in milliseconds. */
const BOUND_MS = 240_000;

/** Runs a page in a folder. */
export async function runPage(page: string, folder: string, environment: { [name: string]: string }): Promise<void> {
  const all = blocks(page);
  const pasted = all.filter(({ language }) => language === "sh").map(({ text }) => `${text}\necho\necho '${MARK}'\n`);
  const begin = "set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n";
  const { status, output } = await paste(begin + pasted.join(""), folder, environment);
  const outputs = output.split(MARK);
  let ran = 0;
  for (const { language, text } of all) {
    if (language === "sh") ran += 1;
    if (language !== "text") continue;
    for (const line of text.trimEnd().split("\n")) {
      if (outputs[ran - 1]?.includes(line) !== true) throw new Error(`\`${line}\` was not printed by block ${ran}:\n${output}`);
    }
  }
  if (status !== 0 || outputs.length !== ran + 1) throw new Error(`the shell ended with ${status}:\n${output}`);
}

async function paste(script: string, folder: string, environment: { [name: string]: string }) {
  await writeFile(join(folder, ".page.sh"), script);
  // A group of its own: what the shell has started can be ended with it.
  const shell = spawn("bash", [".page.sh"], {
    cwd: folder,
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...environment, HOME: process.env.HOME ?? "", PATH: `${dirname(BINARY)}:${process.env.PATH}` },
  });
  let output = "";
  for (const stream of [shell.stdout, shell.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
  }
  const bound = new AbortController();
  const ended = new Promise<number | string | null>((resolve) => shell.once("exit", (code, signal) => resolve(code ?? signal)));
  const late = pass(BOUND_MS, "too late", { signal: bound.signal }).catch(() => null);
  const status = await Promise.race([ended, late]);
  bound.abort();
  try {
    process.kill(-(shell.pid ?? Number.NaN), "SIGKILL");
  } catch {
    // Nothing of it is left.
  }
  // Everything that was written is read before it is looked at.
  await pass(50);
  return { status, output };
}
