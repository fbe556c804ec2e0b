// Reads JSON bodies as servers in JavaScript do, and says what it read: one line in, one line out.
//
// A line in is a body in base64. A line out is null when the body is refused, else
//   document   the body: objects as lists of members in any order, numbers by the bits of the double that they became
//   call       method, tool and arguments as a JSON-RPC server finds them

import readline from "node:readline";

const bits = (number) => {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleBE(number);
  return bytes.toString("hex");
};

// A value with its kind. The order of members is not told: JavaScript puts keys that are whole numbers first.
const told = (value) => {
  if (value === null || value === undefined) return ["null"];
  if (typeof value === "boolean") return ["bool", value];
  if (typeof value === "number") return ["double", bits(value)];
  if (typeof value === "string") return ["text", value];
  if (Array.isArray(value)) return ["array", value.map(told)];
  return ["object", Object.keys(value).map((key) => [key, told(value[key])])];
};

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

const read = (body) => {
  let document;
  try {
    document = JSON.parse(strict.decode(body));
  } catch {
    return null;
  }
  const params = document?.params;
  return { document: told(document), call: [document?.method, params?.name, params?.arguments].map(told) };
};

for await (const line of readline.createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  process.stdout.write(`${JSON.stringify(read(Buffer.from(line, "base64")))}\n`);
}
