// The examples, run as their pages say, on the real gateway; no model is asked.

import assert from "node:assert/strict";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { CHECKOUT, freePort } from "./support/gateway.js";
import { npmEnvironment, PACKAGE } from "./support/installed.js";
import { runPage } from "./support/page.js";

const LEFT_OUT = ["node_modules", "dist"];

/** A copy of the example with free ports, in a folder that stands to the client as the checkout does. */
async function run(t: TestContext, example: string): Promise<void> {
  const root = await mkdtemp(join(tmpdir(), "holdpoint-ts-example-"));
  t.after(() => rm(root, { recursive: true, force: true }));
  const folder = join(root, "examples", example);
  await mkdir(join(root, "sdk"), { recursive: true });
  await symlink(PACKAGE, join(root, "sdk/typescript"));
  const source = join(CHECKOUT, "examples", example);
  await cp(source, folder, { recursive: true, filter: (path) => !LEFT_OUT.some((name) => path === join(source, name)) });
  const [proxy, admin] = [await freePort(), await freePort()];
  for (const name of ["README.md", "holdpoint.yaml"]) {
    const text = await readFile(join(folder, name), "utf8");
    await writeFile(join(folder, name), text.replaceAll("8080", String(proxy)).replaceAll("8081", String(admin)));
  }
  await runPage(await readFile(join(folder, "README.md"), "utf8"), folder, {
    ...npmEnvironment(),
    npm_config_prefer_offline: "true",
  });
}

test("the deploy script does what its page says", async (t) => {
  await run(t, "typescript-deploy");
});

test("the tool of the Vercel AI SDK does what its page says", async (t) => {
  await run(t, "typescript-vercel-ai");
});

test("every TypeScript example is run here and keeps its secrets out of its files", async () => {
  const source = await readFile(join(PACKAGE, "test/examples.test.ts"), "utf8");
  const examples = (await readdir(join(CHECKOUT, "examples"))).filter((name) => name.startsWith("typescript-"));
  assert.ok(examples.length >= 2);
  for (const name of examples) {
    assert.ok(source.includes(`run(t, "${name}")`), `examples/${name} has no test`);
    const configuration = await readFile(join(CHECKOUT, "examples", name, "holdpoint.yaml"), "utf8");
    for (const [line] of configuration.matchAll(/^.*token_sha256.*$/gm)) assert.match(line, /\$\{/);
  }
});
