// Writes src/schema.ts from the server's OpenAPI document: the approvals' operations and what they refer to.
// `node scripts/generate.mjs --check` writes nothing and fails when the file is not what it would write.

import { readFile, writeFile } from "node:fs/promises";
import openapiTS, { astToString } from "openapi-typescript";

const source = new URL("../../../openapi.json", import.meta.url);
const target = new URL("../src/schema.ts", import.meta.url);

/** The document without what this package does not speak of. */
function approvalsOnly(document) {
  const paths = Object.fromEntries(Object.entries(document.paths).filter(([path]) => path.startsWith("/v1/approvals")));
  const schemas = {};
  const visit = (value) => {
    if (value === null || typeof value !== "object") return;
    const name = typeof value.$ref === "string" ? value.$ref.replace("#/components/schemas/", "") : undefined;
    if (name !== undefined && !(name in schemas)) {
      schemas[name] = document.components.schemas[name];
      visit(schemas[name]);
    }
    for (const inner of Object.values(value)) visit(inner);
  };
  visit(paths);
  // The reviewers' view is what `readApproval` answers to reviewers; the document says so in words.
  visit({ $ref: "#/components/schemas/Approval" });
  const sorted = Object.fromEntries(Object.entries(schemas).sort(([a], [b]) => (a < b ? -1 : 1)));
  return { ...document, paths, components: { ...document.components, schemas: sorted } };
}

const document = approvalsOnly(JSON.parse(await readFile(source, "utf8")));
const body = astToString(await openapiTS(document, { alphabetize: true, defaultNonNullable: false }));
const text = `// Generated from openapi.json by scripts/generate.mjs; \`npm run generate\` writes it anew.\n\n${body}`;

if (process.argv.includes("--check")) {
  if ((await readFile(target, "utf8")) !== text) {
    console.error("src/schema.ts is not what openapi.json says: run `npm run generate` and commit the result");
    process.exit(1);
  }
} else {
  await writeFile(target, text);
}
