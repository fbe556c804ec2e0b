// Every operation, and every way in which one can fail, on the real gateway; what is no gateway, on a small server.

import assert from "node:assert/strict";
import { createServer, type RequestListener } from "node:http";
import { createServer as createTcpServer } from "node:net";
import { type TestContext, test } from "node:test";
import { inspect } from "node:util";
import {
  ApprovalTimeout,
  Holdpoint,
  HoldpointApiError,
  HoldpointProtocolError,
  HoldpointUnreachable,
  HoldpointUsageError,
} from "@holdpoint/client";
import { dropping } from "./support/dropping.js";
import { failure, failureOf, Gateway, token, until } from "./support/gateway.js";

/** A server that is no gateway, answering as told. */
async function impostor(t: TestContext, answer: RequestListener): Promise<Holdpoint> {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  const address = server.address();
  assert.ok(address !== null && typeof address === "object");
  return new Holdpoint({ url: `http://127.0.0.1:${address.port}`, token: token("bot"), callTimeoutMs: 1_500, outageMs: 0 });
}

test("create, get and wait show the agent its approval", async (t) => {
  const gateway = await Gateway.start(t);
  const created = await gateway.agent().create("refund", { context: { usd: 500 }, traceId: "t-1", expiresInMs: 90_000 });
  assert.deepEqual([created.status, created.name, created.trace_id], ["pending", "refund", "t-1"]);
  assert.equal(Date.parse(created.expires_at) - Date.parse(created.requested_at), 90_000);
  assert.deepEqual(await gateway.agent().get(created.id), created);
  const waiting = gateway.agent().wait(created.id);
  await gateway.reviewer().decide(created.id, "rejected", { reason: "no" });
  assert.equal((await waiting).status, "rejected");
});

test("wait gives up in time and leaves the approval open", async (t) => {
  const gateway = await Gateway.start(t);
  const { id } = await gateway.agent().create("refund");
  const error = await failureOf(ApprovalTimeout, gateway.agent().wait(id, { timeoutMs: 300 }));
  assert.deepEqual([error.withdrawn, error.approvalId], [false, id]);
  assert.match(error.message, /it is still open$/);
  assert.equal((await gateway.agent().get(id)).status, "pending");
});

test("where the server holds nothing back, looks keep their distance", async (t) => {
  const gateway = await Gateway.start(t, { keys: ["limits: { wait_max: 1ms }"] });
  const { id } = await gateway.agent().create("refund");
  const looks: number[] = [];
  const counting: typeof fetch = (input, init) => {
    looks.push(Date.now());
    return fetch(input, init);
  };
  await failureOf(ApprovalTimeout, gateway.agent({ fetch: counting }).wait(id, { timeoutMs: 6_000, pollIntervalMs: 100 }));
  assert.equal(looks.length, 2, "the server's Retry-After of five seconds counts for more than pollIntervalMs");
  assert.ok((looks[1] ?? 0) - (looks[0] ?? 0) >= 4_990);
});

test("list filters, sorts and pages", async (t) => {
  const gateway = await Gateway.start(t);
  const before = new Date(Date.now() - 1_000);
  const ids: string[] = [];
  for (const action of ["a", "b", "c"]) ids.push((await gateway.agent().create(action, { traceId: "t-1" })).id);
  const [a, b, c] = ids as [string, string, string];
  await gateway.reviewer().decide(b, "approved");
  const reviewer = gateway.reviewer();
  const found = async (options: Parameters<Holdpoint["list"]>[0]) =>
    (await reviewer.list(options)).approvals.map((approval) => approval.id);
  assert.deepEqual(await found({}), [c, b, a]);
  assert.deepEqual(await found({ status: "approved" }), [b]);
  assert.deepEqual(await found({ status: ["pending", "approved"], sort: "oldest" }), [a, b, c]);
  assert.deepEqual(await found({ tool: "c", rule: "api", agent: "bot", risk: "medium", sla: "ok", traceId: "t-1", q: "C" }), [c]);
  assert.deepEqual(await found({ since: before, until: new Date(Date.now() + 1_000), limit: 1 }), [c]);
  assert.deepEqual(await found({ until: before }), []);
  const page = await reviewer.list({ limit: 2 });
  assert.deepEqual(await found({ limit: 2, cursor: page.next_cursor ?? "" }), [a]);
  const all: string[] = [];
  for await (const approval of reviewer.listAll({ limit: 1, sort: "oldest" })) all.push(approval.id);
  assert.deepEqual(all, [a, b, c]);
});

test("decide binds to the payload that was seen, and the first decision stands", async (t) => {
  const gateway = await Gateway.start(t);
  const { id, payload_sha256 } = await gateway.agent().create("refund");
  const mismatch = gateway.reviewer().decide(id, "approved", { payloadSha256: "0".repeat(64) });
  assert.equal((await failureOf(HoldpointApiError, mismatch)).code, "payload_mismatch");
  const decided = await gateway.reviewer().decide(id, "approved", { payloadSha256: payload_sha256, reason: "ok" });
  assert.deepEqual([decided.status, decided.decided_by?.id], ["approved", "alice"]);
  assert.equal((await gateway.reviewer().decide(id, "approved", { reason: "ok" })).status, "approved");
  const error = await failureOf(HoldpointApiError, gateway.reviewer("bob").decide(id, "rejected"));
  assert.deepEqual([error.status, error.code, error.retryable], [409, "already_decided", false]);
  assert.equal((error.problem as unknown as { standing: { id: string } }).standing.id, "alice");
  assert.match(error.requestId ?? "", /^req_/);
});

test("bulkDecide says for each id what became of it", async (t) => {
  const gateway = await Gateway.start(t);
  const [open, done] = [await gateway.agent().create("a"), await gateway.agent().create("b")];
  await gateway.agent().cancel(done.id);
  const missing = `${open.id.slice(0, -4)}0000`;
  const { results } = await gateway.reviewer().bulkDecide([open.id, done.id, missing], "rejected", { reason: "no" });
  assert.deepEqual(
    results.map((line) => line.result),
    ["decided", "already_decided", "not_found"],
  );
  assert.equal((await gateway.agent().get(open.id)).reason, "no");
});

test("cancel, timeline and stats", async (t) => {
  const gateway = await Gateway.start(t);
  const { id } = await gateway.agent().create("refund");
  assert.equal((await gateway.reviewer().stats()).pending, 1);
  assert.equal((await gateway.agent().cancel(id, { reason: "not needed" })).status, "cancelled");
  assert.equal((await gateway.reviewer().stats()).pending, 0);
  const { records } = await gateway.reviewer().timeline(id);
  assert.equal(records.length, 2);
  const [first] = records;
  assert.deepEqual((await gateway.reviewer().timeline(id, { after: first?.seq ?? 0, limit: 1 })).records, records.slice(1));
});

test("resolve settles a call whose outcome is unknown", async (t) => {
  // An upstream that hangs up on what it was sent.
  const upstream = createTcpServer((socket) => socket.once("data", () => socket.destroy()));
  await new Promise<void>((resolve) => upstream.listen(0, "127.0.0.1", resolve));
  t.after(() => upstream.close());
  const address = upstream.address();
  assert.ok(address !== null && typeof address === "object");
  const gateway = await Gateway.start(t, { upstream: `http://127.0.0.1:${address.port}` });
  const headers = { authorization: `Bearer ${token("bot")}`, "content-type": "application/json", prefer: "respond-async" };
  assert.equal((await fetch(`${gateway.proxy}/tools/pay`, { method: "POST", headers, body: "{}" })).status, 202);
  const id = await gateway.pending();
  await gateway.reviewer().decide(id, "approved");
  await until("the outcome is unknown", async () => (await gateway.reviewer().get(id)).outcome?.state === "unknown");
  const resolved = await gateway.reviewer().resolve(id, "not_committed", "the ledger has no such payment");
  assert.deepEqual([resolved.outcome?.state, resolved.resolution?.outcome], ["resolved", "not_committed"]);
  const again = gateway.reviewer().resolve(id, "committed", "it has");
  assert.equal((await failureOf(HoldpointApiError, again)).code, "not_unknown");
});

test("a no of the gateway is an error with its code, and is not repeated", async (t) => {
  const gateway = await Gateway.start(t);
  let sent = 0;
  const counting: typeof fetch = (input, init) => {
    sent += 1;
    return fetch(input, init);
  };
  const agent = gateway.agent({ fetch: counting });
  const { id } = await gateway.agent({}, "other-bot").create("a");
  await gateway.agent().create("a", { idempotencyKey: "k" });
  const cases: [string, number, () => Promise<unknown>][] = [
    ["not_found", 404, () => agent.get(id)],
    ["not_found", 404, () => agent.cancel(id)],
    ["forbidden", 403, () => gateway.agent({ url: gateway.admin, fetch: counting }).stats()],
    ["idempotency_key_reused", 422, () => agent.create("b", { idempotencyKey: "k" })],
    ["idempotency_key_reused", 422, () => agent.requireApproval("b", { idempotencyKey: "k" })],
    ["invalid_request", 400, () => agent.create("a", { traceId: "t".repeat(129) })],
    ["unauthenticated", 401, () => gateway.agent({ token: "wrong", fetch: counting }).requireApproval("a")],
  ];
  for (const [code, status, work] of cases) {
    sent = 0;
    const error = await failureOf(HoldpointApiError, work());
    assert.deepEqual([error.code, error.status, error.retryable, sent], [code, status, false, 1], error.message);
    assert.match(error.message, new RegExp(`was answered ${status} ${code}: .`));
  }
});

test("an answer that is lost on the way never makes a second approval", async (t) => {
  const gateway = await Gateway.start(t);
  for (const drop of ["after the request", "in the middle of the answer"] as const) {
    const wire = await dropping(t, gateway.proxy, drop, 3);
    const agent = gateway.agent({ url: `${wire.url}/_holdpoint` });
    const asked = agent.requireApproval(`deploy, dropped ${drop}`);
    const id = await gateway.pending();
    await gateway.reviewer().decide(id, "approved");
    assert.equal((await asked).id, id);
    assert.equal(wire.dropped(), 3);
  }
  assert.equal((await gateway.all()).length, 2);
});

test("an approval whose creation was never confirmed is withdrawn all the same", async (t) => {
  const gateway = await Gateway.start(t);
  const wire = await dropping(t, gateway.proxy, "after the request", 2);
  const agent = gateway.agent({ url: `${wire.url}/_holdpoint` });
  const controller = new AbortController();
  const asked = failure(agent.requireApproval("deploy", { signal: controller.signal }));
  await until("two answers are lost", async () => wire.dropped() === 2);
  controller.abort();
  await asked;
  const approvals = await gateway.all();
  assert.deepEqual(
    approvals.map(({ status }) => status),
    ["cancelled"],
  );
});

test("resolve is not sent again when its answer is lost", async (t) => {
  const gateway = await Gateway.start(t);
  const wire = await dropping(t, gateway.admin, "after the request", 9);
  const reviewer = new Holdpoint({ url: wire.url, token: token("alice") });
  const { id } = await gateway.agent().create("a");
  await failureOf(HoldpointUnreachable, reviewer.resolve(id, "committed", "seen"));
  assert.equal(wire.dropped(), 1);
});

test("what is no gateway is called that, and nothing it says counts as approved", async (t) => {
  const approved = { id: "apr_1", status: "approved", kind: "action", name: "deploy", reason: null };
  const answers: [RegExp, string][] = [
    [/not JSON/, "<html>sign in</html>"],
    [/not an approval/, "null"],
    [/not an approval/, "[]"],
    [/not an approval/, JSON.stringify({ status: "approved" })],
    [/a status that this version does not know/, JSON.stringify({ ...approved, status: "APPROVED" })],
    [/about something else/, JSON.stringify({ ...approved, name: "another" })],
    [/about something else/, JSON.stringify({ ...approved, kind: "call" })],
  ];
  for (const [words, body] of answers) {
    const client = await impostor(t, (_, response) => response.end(body));
    const error = await failureOf(HoldpointProtocolError, client.requireApproval("deploy"));
    assert.match(error.message, words);
  }
  const swapping = await impostor(t, (request, response) => {
    const asked = request.method === "POST";
    response.end(JSON.stringify(asked ? { ...approved, status: "pending" } : { ...approved, id: "apr_2" }));
  });
  assert.match(
    (await failureOf(HoldpointProtocolError, swapping.requireApproval("deploy"))).message,
    /about apr_2, not about apr_1/,
  );
});

test("a redirect is not followed: the token stays where it was sent", async (t) => {
  let followed = 0;
  const client = await impostor(t, (request, response) => {
    if (request.url?.startsWith("/elsewhere")) followed += 1;
    response.writeHead(302, { location: "/elsewhere" }).end();
  });
  const error = await failureOf(HoldpointApiError, client.stats());
  assert.match(error.message, /answered 302 with a redirect; set the URL to where it leads/);
  assert.equal(followed, 0);
});

test("an operation that nobody answers ends after callTimeoutMs, whatever it was sent with", async (t) => {
  const silent = await impostor(t, () => undefined);
  const deaf = new Holdpoint({ url: silent.url, token: "t", callTimeoutMs: 300, fetch: () => new Promise(() => undefined) });
  for (const client of [silent, deaf]) {
    const begun = Date.now();
    const error = await failureOf(HoldpointUnreachable, client.stats());
    assert.match(error.message, /no answer within \d+ ms/);
    assert.ok(Date.now() - begun < 3_000);
  }
  const signal = AbortSignal.timeout(50);
  const error = await failure(silent.stats({ signal }));
  assert.equal(error, signal.reason);
});

test("what stands in between may answer without a problem document", async (t) => {
  let answers = [502, 503, 504, 429, 500];
  const client = await impostor(t, (_, response) => {
    const status = answers.shift();
    if (status === undefined) response.end(JSON.stringify({ pending: 0, now: "" }));
    else response.writeHead(status, { "retry-after": "0" }).end("<html>");
  });
  answers = [503];
  assert.equal((await client.stats()).pending, 0);
  answers = [404];
  const error = await failureOf(HoldpointApiError, client.stats());
  assert.deepEqual([error.status, error.code, error.problem], [404, undefined, undefined]);
  answers = [429, 429, 429, 429, 429, 429, 429, 429, 429];
  assert.deepEqual((await failureOf(HoldpointApiError, client.stats())).retryAfterMs, 0);
});

test("the token is in nothing that can be shown", async (t) => {
  const secret = "hp_a_secret_that_nobody_may_see";
  const problem = { type: "t", title: "t", status: 400, code: "bad_json", detail: `you sent ${secret}`, retryable: false };
  const quoting = await impostor(t, (_, response) => response.writeHead(400).end(JSON.stringify(problem)));
  const failing: typeof fetch = () => Promise.reject(new TypeError("failed", { cause: new Error(`with Bearer ${secret}`) }));
  const url = quoting.url;
  const client = new Holdpoint({ url, token: secret });
  const broken = new Holdpoint({ url, token: secret, outageMs: 0, fetch: failing });
  const shown: unknown[] = [
    client,
    await failure(client.get("apr_1")),
    await failure(client.requireApproval("deploy")),
    await failure(broken.requireApproval("deploy")),
    await failure(Promise.resolve().then(() => new Holdpoint({ url, token: `${secret}\u0000` }))),
    await failure(Promise.resolve().then(() => new Holdpoint({ url: `http://me:${secret}@127.0.0.1`, token: "t" }))),
  ];
  for (const value of shown) {
    const text = `${inspect(value, { depth: 9, showHidden: true, getters: true })} ${JSON.stringify(value)} ${String(value)}`;
    assert.ok(!text.includes(secret), text);
  }
  assert.match(String(shown[1]), /you sent \[token\]/);
  assert.match(String(shown[3]), /failed: with Bearer \[token\]/);
});

test("what cannot be used is refused before anything is sent", async () => {
  const url = "http://127.0.0.1:9";
  const never: typeof fetch = () => assert.fail("sent");
  const client = new Holdpoint({ url, token: "t", fetch: never });
  const loop: { self?: unknown } = {};
  loop.self = loop;
  const cases: [RegExp, () => unknown][] = [
    [/no URL: give `url`, or set HOLDPOINT_URL/, () => new Holdpoint({ token: "t" })],
    [/no token: give `token`, or set HOLDPOINT_TOKEN/, () => new Holdpoint({ url })],
    [/is not a URL/, () => new Holdpoint({ url: "gateway", token: "t" })],
    [/http:\/\/ or https:\/\//, () => new Holdpoint({ url: "ftp://127.0.0.1", token: "t" })],
    [/must not contain credentials/, () => new Holdpoint({ url: "http://me:pw@127.0.0.1", token: "t" })],
    [/without `\?` or `#`/, () => new Holdpoint({ url: `${url}/?a=b`, token: "t" })],
    [/the token is empty/, () => new Holdpoint({ url, token: " " })],
    [/`callTimeoutMs` must be a number of milliseconds from 1/, () => new Holdpoint({ url, token: "t", callTimeoutMs: 0 })],
    [/`outageMs` must be/, () => new Holdpoint({ url, token: "t", outageMs: Number.NaN })],
    [/`action` must have 1 to 256/, () => client.requireApproval(" ")],
    [/`action` must have 1 to 256/, () => client.create("a".repeat(257))],
    [/`context` cannot be written as JSON/, () => client.requireApproval("a", { context: loop })],
    [/`context` cannot be written as JSON/, () => client.create("a", { context: 1n })],
    [/`timeoutMs` must be .* 604800000/, () => client.requireApproval("a", { timeoutMs: Number.POSITIVE_INFINITY })],
    [/`pollIntervalMs` must be .* 100/, () => client.requireApproval("a", { pollIntervalMs: 10 })],
    [/`expiresInMs` must be/, () => client.create("a", { expiresInMs: 0 })],
    [/`idempotencyKey` must be 1 to 255/, () => client.requireApproval("a", { idempotencyKey: "" })],
    [/`idempotencyKey` must be 1 to 255/, () => client.create("a", { idempotencyKey: "ä" })],
    [/`id` must be the id of an approval/, () => client.get("stats")],
    [/`id` must be the id of an approval/, () => client.decide("../policy/simulate", "approved")],
    [/`since` is not a valid date/, () => client.list({ since: new Date("never") })],
  ];
  for (const [words, work] of cases) {
    const error = await failureOf(HoldpointUsageError, Promise.resolve().then(work));
    assert.match(error.message, words);
  }
});

test("URL and token come from the environment where they are not given", async (t) => {
  const gateway = await Gateway.start(t);
  process.env.HOLDPOINT_URL = `${gateway.proxy}/_holdpoint/`;
  process.env.HOLDPOINT_TOKEN = `${token("bot")}\n`;
  t.after(() => {
    delete process.env.HOLDPOINT_URL;
    delete process.env.HOLDPOINT_TOKEN;
  });
  const { id } = await new Holdpoint().create("a");
  assert.equal((await gateway.all())[0]?.id, id);
});
