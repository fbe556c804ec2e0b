// The package as its users get it: packed, and installed into a clean folder.

import { execFile } from "node:child_process";
import { cp, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { promisify } from "node:util";
import { CHECKOUT, Gateway, token } from "./gateway.js";

export const PACKAGE = join(CHECKOUT, "sdk/typescript");
const run = promisify(execFile);

/** Runs a program; what it printed. */
export async function printed(
  program: string,
  given: string[],
  cwd: string,
  environment: { [name: string]: string } = {},
): Promise<string> {
  const env = { PATH: process.env.PATH ?? "", HOME: process.env.HOME ?? "", ...environment };
  const { stdout } = await run(program, given, { cwd, env, timeout: 120_000, maxBuffer: 1e7 });
  return stdout;
}

/** What npm needs to know besides the path. */
export function npmEnvironment(): { [name: string]: string } {
  const entries = Object.entries(process.env).filter(([name]) => /^npm_config_/i.test(name));
  return Object.fromEntries(entries.map(([name, value]) => [name, value ?? ""]));
}

/** A clean folder with the packed package installed, and with the fixtures. */
export async function installed(t: Pick<TestContext, "after">): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "holdpoint-ts-installed-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  // It is built already; packing would build it again below the feet of tests that run beside this one.
  await printed("npm", ["pack", "--ignore-scripts", "--pack-destination", folder], PACKAGE, npmEnvironment());
  const archive = (await readdir(folder)).find((name) => name.endsWith(".tgz"));
  if (archive === undefined) throw new Error("nothing was packed");
  await writeFile(join(folder, "package.json"), JSON.stringify({ name: "consumer", private: true, type: "module" }));
  await printed("npm", ["install", "--offline", "--ignore-scripts", `./${archive}`], folder, npmEnvironment());
  await cp(join(PACKAGE, "test/fixtures"), folder, { recursive: true });
  return folder;
}

/** A gateway whose reviewer approves `deploy`, rejects `drop` and leaves everything else alone. */
export async function reviewed(
  t: Pick<TestContext, "after">,
): Promise<{ gateway: Gateway; environment: { [name: string]: string } }> {
  const gateway = await Gateway.start(t);
  const reviewer = gateway.reviewer();
  const over = new AbortController();
  const timer = setInterval(async () => {
    try {
      const { approvals } = await reviewer.list({ status: "pending", signal: over.signal });
      for (const { id, name } of approvals) {
        if (name === "deploy") await reviewer.decide(id, "approved");
        if (name === "drop") await reviewer.decide(id, "rejected", { reason: "keep it" });
      }
    } catch {
      // The next round comes soon; what is missing in the end fails the test.
    }
  }, 50);
  t.after(() => {
    clearInterval(timer);
    over.abort();
  });
  return { gateway, environment: { HOLDPOINT_URL: `${gateway.proxy}/_holdpoint`, HOLDPOINT_TOKEN: token("bot") } };
}
