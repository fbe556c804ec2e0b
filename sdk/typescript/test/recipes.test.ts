// docs/recipes/curl.md, block by block, on the real gateway.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as pass } from "node:timers/promises";
import { CHECKOUT, Gateway, token } from "./support/gateway.js";
import { blocks, runPage } from "./support/page.js";

test("the curl recipes do what their page says", async (t) => {
  const upstream = createServer(async (request, response) => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of request) chunks.push(chunk);
    response.end(`{"paid": ${JSON.parse(Buffer.concat(chunks).toString()).usd}}`);
  });
  await new Promise<void>((resolve) => upstream.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    upstream.close();
    upstream.closeAllConnections();
  });
  const address = upstream.address();
  const gateway = await Gateway.start(t, { upstream: `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}` });
  const folder = await mkdtemp(join(tmpdir(), "holdpoint-ts-recipes-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const page = (await readFile(join(CHECKOUT, "docs/recipes/curl.md"), "utf8"))
    .replaceAll("http://127.0.0.1:8080", gateway.proxy)
    .replaceAll("http://127.0.0.1:8081", gateway.admin);
  await runPage(page, folder, { HOLDPOINT_TOKEN: token("bot"), ALICE_TOKEN: token("alice") });
});

/** A script that goes on behind the page's function only if that lets it. */
async function deployScript(gateway: Gateway, credential = token("bot")) {
  const page = await readFile(join(CHECKOUT, "docs/recipes/curl.md"), "utf8");
  const block = blocks(page).find(({ text }) => text.startsWith("require_approval() ("));
  assert.ok(block !== undefined);
  const script = `set -euo pipefail\n${block.text}\nrequire_approval deploy\necho DEPLOYED`;
  const child = spawn("bash", ["-c", script], {
    env: { PATH: process.env.PATH ?? "", HOLDPOINT_URL: `${gateway.proxy}/_holdpoint`, HOLDPOINT_TOKEN: credential },
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
  }
  const ended = new Promise<[number | null, string]>((resolve) => child.once("close", (code) => resolve([code, output])));
  return { ended, pid: child.pid ?? Number.NaN };
}

test("the curl function waits for a gateway that starts late and one that is restarted", async (t) => {
  const gateway = await Gateway.configured(t);
  const { ended } = await deployScript(gateway);
  await pass(300);
  await gateway.start();
  const id = await gateway.pending();
  await gateway.kill();
  await pass(300);
  await gateway.start();
  await gateway.reviewer().decide(id, "approved");
  assert.deepEqual(await ended, [0, "DEPLOYED\n"]);
  assert.equal((await gateway.all()).length, 1);
});

test("under `set -e` a no of a reviewer or of the gateway stops the script", async (t) => {
  const gateway = await Gateway.start(t);
  const rejected = await deployScript(gateway);
  const id = await gateway.pending();
  await gateway.reviewer().decide(id, "rejected", { reason: "not today" });
  assert.deepEqual(await rejected.ended, [1, `${id} was rejected: not today\n`]);
  const [code, output] = await (await deployScript(gateway, "wrong")).ended;
  assert.equal(code, 2);
  assert.match(output, /^the gateway refused: unauthenticated: /);
});

test("the curl function withdraws when it is stopped", async (t) => {
  const gateway = await Gateway.start(t);
  for (const name of ["SIGINT", "SIGTERM", "SIGINT", "SIGTERM"] as const) {
    const { ended, pid } = await deployScript(gateway);
    const id = await gateway.pending();
    // As the terminal does it: everything that runs is told, and what is not the shell dies of it.
    process.kill(-pid, name);
    const [, output] = await ended;
    assert.equal(output, "", "nothing was deployed");
    const approval = await gateway.agent().get(id);
    assert.deepEqual([approval.status, approval.reason], ["cancelled", "the caller was stopped"]);
  }
});

test("the curl function withdraws when its script is killed above it", async (t) => {
  const gateway = await Gateway.start(t);
  const { ended, pid } = await deployScript(gateway);
  const id = await gateway.pending();
  process.kill(pid, "SIGKILL");
  const [, output] = await ended;
  assert.equal(output, "");
  assert.equal((await gateway.agent().get(id)).status, "cancelled");
});
