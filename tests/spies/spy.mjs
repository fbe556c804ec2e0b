// An upstream that writes down what it received and what Node made of it: one JSON line for each request.
//
// The first line is `{"port": N}`. `raw` holds the bytes as they came, in base64; `path` and `names` are this language's
// reading of them.

import http from "node:http";
import net from "node:net";
import { Duplex } from "node:stream";

const write = (document) => process.stdout.write(JSON.stringify(document) + "\n");

// The members that a lenient server might take for `wanted`: any case, any compatible form, spaces and invisibles left out.
const members = (object, wanted) =>
  Object.entries(object)
    .filter(([key]) => key.normalize("NFKC").toLowerCase().replace(/[^\p{L}\p{N}]/gu, "") === wanted)
    .map(([, value]) => value);

// Everything that some tool server would take for a tool's name: batches are run, keys are folded.
const names = (document) => {
  if (Array.isArray(document)) return document.flatMap(names);
  if (document === null || typeof document !== "object") return [];
  return members(document, "params")
    .filter((params) => params !== null && typeof params === "object")
    .flatMap((params) => members(params, "name"))
    .filter((name) => typeof name === "string");
};

// The tools that a server which goes by its headers would run: every copy, each part of a list, and out of base64.
const mirrored = (headers) =>
  headers
    .filter(([name]) => name === "mcp-name")
    .flatMap(([, value]) => [value, ...value.split(",")])
    .map((part) => part.trim())
    .flatMap((part) =>
      part.toLowerCase().startsWith("=?base64?")
        ? [part, Buffer.from(part.slice(9).replace(/\?=$/, ""), "base64").toString("utf8")]
        : [part.toLowerCase()],
    );

const spy = http.createServer((request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    const body = Buffer.concat(parts);
    let document = null;
    try {
      document = JSON.parse(body.toString("utf8"));
    } catch {
      // Not JSON to this reader.
    }
    const overridden = request.headers["x-original-url"] ?? request.headers["x-rewrite-url"];
    let path = overridden ?? request.url.split("?")[0];
    try {
      path = decodeURIComponent(path);
    } catch {
      // Taken as it is.
    }
    const socket = request.socket;
    const raw = Buffer.concat(socket.seen.splice(0));
    const headers = [];
    for (let at = 0; at < request.rawHeaders.length; at += 2) {
      headers.push([request.rawHeaders[at].toLowerCase(), request.rawHeaders[at + 1]]);
    }
    write({
      raw: raw.toString("base64"),
      method: request.headers["x-http-method-override"] ?? request.method,
      target: request.url,
      path,
      headers,
      body: body.toString("base64"),
      names: [...names(document), ...mirrored(headers)],
    });
    const text = '{"ok":true,"by":"node"}';
    response.writeHead(200, { "content-type": "application/json", "content-length": text.length });
    response.end(request.method === "HEAD" ? undefined : text);
  });
});

// The HTTP server reads from a stream that remembers what went through it.
class Tap extends Duplex {
  constructor(socket) {
    super();
    this.socket = socket;
    this.seen = [];
    socket.on("data", (bytes) => {
      this.seen.push(bytes);
      this.push(bytes);
    });
    socket.on("end", () => this.push(null));
    socket.on("error", () => this.destroy());
    socket.on("close", () => this.destroy());
  }
  _read() {}
  _write(bytes, encoding, done) {
    this.socket.write(bytes, encoding, done);
  }
  _final(done) {
    this.socket.end(done);
  }
  _destroy(error, done) {
    this.socket.destroy();
    done(null);
  }
}

const listener = net.createServer((socket) => spy.emit("connection", new Tap(socket)));
listener.listen(0, "127.0.0.1", () => write({ port: listener.address().port }));
