// The page that newcomers paste from: its code compiles and runs, and its table of defaults is true.

import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { token } from "./support/gateway.js";
import { installed, PACKAGE, printed, reviewed } from "./support/installed.js";
import { blocks } from "./support/page.js";

const page = await readFile(join(PACKAGE, "README.md"), "utf8");

/** What each block prints, in order. */
const PRINTED = [
  /^deploying\n$/,
  /^waiting for approval apr_\w+\ndeploying\n$/,
  /^true\n$/,
  /^bot asks: refund \{ usd: 500 \}\napproved checked\n409 already_decided\n$/,
];

test("the code of the page compiles as it stands and does what it says", async (t) => {
  const code = blocks(page).filter(({ language }) => language === "ts");
  assert.equal(code.length, PRINTED.length);
  const folder = await installed(t);
  const { gateway, environment } = await reviewed(t);
  const compilerOptions = {
    strict: true,
    target: "es2022",
    module: "nodenext",
    types: ["node"],
    typeRoots: [join(PACKAGE, "node_modules/@types")],
    outDir: "out",
  };
  const files = code.map((_, i) => `page${i}.ts`);
  await writeFile(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, files }));
  for (const [i, { text }] of code.entries()) await writeFile(join(folder, `page${i}.ts`), text);
  await printed(process.execPath, [join(PACKAGE, "node_modules/typescript/bin/tsc"), "-p", "."], folder);
  const people = { ...environment, ADMIN_URL: gateway.admin, ALICE_TOKEN: token("alice") };
  for (const [i, expected] of PRINTED.entries()) {
    assert.match(await printed(process.execPath, [`out/page${i}.js`], folder, people), expected);
  }
});

test("every error and every operation is on the page", async () => {
  const exported = await import("@holdpoint/client");
  for (const name of Object.keys(exported).filter((name) => name !== "VERSION")) assert.ok(page.includes(`\`${name}`), name);
  const operations = Object.getOwnPropertyNames(exported.Holdpoint.prototype).filter(
    (name) => !["constructor", "url"].includes(name),
  );
  for (const name of operations) assert.ok(page.includes(`\`${name}\``), name);
});
