// The package itself: what is in it, what it says of itself, and that a consumer can compile and run against it.

import assert from "node:assert/strict";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { VERSION } from "@holdpoint/client";
import ts from "typescript";
import { CHECKOUT, Gateway, token } from "./support/gateway.js";
import { installed, npmEnvironment, PACKAGE, printed } from "./support/installed.js";

const text = (path: string) => readFile(join(CHECKOUT, path), "utf8");

test("version and licence follow the server's", async () => {
  const cargo = /^version = "(.+)"$/m.exec(await text("Cargo.toml"))?.[1];
  const manifest = JSON.parse(await text("sdk/typescript/package.json"));
  const lock = JSON.parse(await text("sdk/typescript/package-lock.json"));
  assert.deepEqual([manifest.version, lock.version, VERSION], [cargo, cargo, cargo]);
  assert.equal(await text("sdk/typescript/LICENSE"), await text("LICENSE"));
});

test("the types are those of the server's OpenAPI document", async () => {
  await printed(process.execPath, ["scripts/generate.mjs", "--check"], PACKAGE);
});

test("it depends on nothing and imports nothing but itself", async () => {
  const manifest = JSON.parse(await text("sdk/typescript/package.json"));
  for (const kind of ["dependencies", "peerDependencies", "optionalDependencies"]) assert.ok(!(kind in manifest), kind);
  for (const file of (await readdir(join(PACKAGE, "dist"))).filter((name) => name.endsWith(".js"))) {
    const { importedFiles } = ts.preProcessFile(await text(`sdk/typescript/dist/${file}`));
    for (const { fileName } of importedFiles) assert.match(fileName, /^\.\/[a-z]+\.js$/, file);
  }
});

test("everything that is exported is explained", () => {
  const program = ts.createProgram([join(PACKAGE, "src/index.ts")], { strict: true, target: ts.ScriptTarget.ES2022 });
  const checker = program.getTypeChecker();
  const entry = program.getSourceFile(join(PACKAGE, "src/index.ts"));
  const module = entry === undefined ? undefined : checker.getSymbolAtLocation(entry);
  assert.ok(module !== undefined);
  const explained = (symbol: ts.Symbol) => symbol.getDocumentationComment(checker).length > 0;
  let seen = 0;
  for (const exported of checker.getExportsOfModule(module)) {
    const symbol = exported.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(exported) : exported;
    assert.ok(explained(symbol), `${symbol.name} has no comment`);
    seen += 1;
    for (const member of symbol.members?.values() ?? []) {
      const hidden = member.name.startsWith("__") || /#/.test(member.name);
      assert.ok(hidden || explained(member), `${symbol.name}.${member.name} has no comment`);
      seen += hidden ? 0 : 1;
    }
  }
  assert.ok(seen > 80, `only ${seen} were found`);
});

test("packed and installed, it compiles under a consumer's settings and runs", async (t) => {
  const folder = await installed(t);
  const packed = await readdir(join(folder, "node_modules/@holdpoint/client"));
  assert.deepEqual(packed.sort(), ["LICENSE", "README.md", "dist", "package.json"]);
  const gateway = await Gateway.start(t);
  const environment = {
    HOLDPOINT_URL: `${gateway.proxy}/_holdpoint`,
    HOLDPOINT_TOKEN: token("bot"),
    ADMIN_URL: gateway.admin,
    ADMIN_TOKEN: token("alice"),
  };
  const tsc = join(PACKAGE, "node_modules/typescript/bin/tsc");
  const typeRoots = [join(PACKAGE, "node_modules/@types")];
  for (const [resolution, module] of [
    ["node16", "node16"],
    ["nodenext", "nodenext"],
    ["bundler", "esnext"],
  ]) {
    const compilerOptions = { strict: true, target: "es2022", module, moduleResolution: resolution, types: ["node"], typeRoots };
    const config = { compilerOptions: { ...compilerOptions, outDir: resolution }, files: ["consumer.ts"] };
    await writeFile(join(folder, "tsconfig.json"), JSON.stringify(config));
    await printed(process.execPath, [tsc, "-p", "."], folder);
    const said = JSON.parse(await printed(process.execPath, [`${resolution}/consumer.js`], folder, environment));
    assert.deepEqual(said, { same: true, status: "approved", reason: null });
  }
});

test("npm finds nothing wrong with the manifest", async () => {
  const said = await printed("npm", ["pack", "--dry-run", "--ignore-scripts", "--json"], PACKAGE, npmEnvironment());
  const [archive] = Object.values(JSON.parse(said)) as { files: { path: string }[]; unpackedSize: number }[];
  assert.ok(archive !== undefined && archive.unpackedSize < 200_000, said);
});
