// Whatever the wire does: one question is one approval, and nothing but a human's yes lets the code go on.

import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import {
  ApprovalCancelled,
  ApprovalExpired,
  ApprovalRejected,
  ApprovalTimeout,
  Holdpoint,
  type PublicApproval,
} from "@holdpoint/client";
import fc from "fast-check";
import { type Fault, type Outage, type Plan, ScriptedGateway } from "./support/scripted.js";
import { VirtualTime } from "./support/virtual-time.js";

const RUNS = Number(process.env.PROPERTY_RUNS ?? 120);
const TOKEN = "hp_the_token_of_the_properties";
const MINUTE = 60_000;

const fault: fc.Arbitrary<Fault> = fc.oneof(
  fc.record({ kind: fc.constant("none" as const) }),
  fc.record({ kind: fc.constant("request lost" as const) }),
  fc.record({ kind: fc.constant("answer lost" as const) }),
  fc.record({ kind: fc.constant("answer cut" as const) }),
  fc.record({ kind: fc.constant("slow" as const), ms: fc.integer({ min: 1, max: 20_000 }) }),
  fc.record({ kind: fc.constant("silence" as const), done: fc.boolean() }),
  fc.record({
    kind: fc.constant("refused" as const),
    status: fc.constantFrom(429, 500, 502, 503, 504),
    retryAfterS: fc.option(fc.integer({ min: 0, max: 40 }), { nil: undefined }),
    asDate: fc.boolean(),
    problem: fc.boolean(),
  }),
);

const plan: fc.Arbitrary<Plan> = fc.record({
  after: fc.integer({ min: 0, max: 20 * MINUTE }),
  status: fc.constantFrom("approved", "approved", "rejected", "cancelled", "never"),
});

/** Restarts and longer absences, five minutes at most, each a minute or more after the last one. */
const outages: fc.Arbitrary<Outage[]> = fc
  .array(fc.record({ gap: fc.integer({ min: 1, max: 3 * MINUTE }), length: fc.integer({ min: 1, max: 5 * MINUTE }) }), {
    maxLength: 3,
  })
  .map((spans) => {
    let end = -1;
    return spans.map(({ gap, length }) => {
      const from = end < 0 ? gap : end + MINUTE + gap;
      end = from + length;
      return { from, to: end };
    });
  });

interface Ended {
  at: number;
  approval?: PublicApproval;
  error?: unknown;
}

/** One question in virtual time, and how it ended. */
async function ask(script: {
  faults: Fault[];
  outages: Outage[];
  plan: Plan;
  timeoutMs: number;
  abortAt: number | undefined;
  seed: number;
}) {
  const time = new VirtualTime(script.seed);
  const gateway = new ScriptedGateway(time, [...script.faults], script.outages, script.plan);
  const client = new Holdpoint({ url: "http://gateway.test", token: TOKEN, fetch: gateway.fetch });
  const ended = await time.run<Ended>(async () => {
    const controller = new AbortController();
    if (script.abortAt !== undefined) setTimeout(() => controller.abort(new Error("stop")), script.abortAt);
    try {
      const options = { timeoutMs: script.timeoutMs, signal: controller.signal, context: { version: 1 } };
      const approval = await client.requireApproval("deploy", options);
      return { at: time.now, approval };
    } catch (error) {
      return { at: time.now, error };
    }
  });
  return { gateway, ended };
}

const script = fc.record({
  faults: fc.array(fault, { maxLength: 10 }),
  outages,
  plan,
  timeoutMs: fc.oneof(fc.integer({ min: 1, max: 5_000 }), fc.integer({ min: 5_000, max: 30 * MINUTE })),
  abortAt: fc.option(fc.integer({ min: 0, max: 20 * MINUTE }), { nil: undefined, freq: 3 }),
  seed: fc.nat(),
});

type Script = typeof script extends fc.Arbitrary<infer S> ? S : never;

/** What the outcome may be, given what stands on the server. */
function checkOutcome({ abortAt, timeoutMs }: Script, gateway: ScriptedGateway, { at, approval, error }: Ended) {
  const stands = gateway.approvals[0]?.status;
  if (error === undefined) {
    assert.equal(approval?.status, "approved");
    assert.equal(stands, "approved", "it resolved without a human's yes");
    assert.ok(abortAt === undefined || at <= abortAt, "it went on after it was stopped");
  } else if (error instanceof ApprovalRejected) {
    assert.equal(stands, "rejected");
    assert.equal(error.reason, "said so");
  } else if (error instanceof ApprovalExpired) {
    assert.equal(stands, "expired");
  } else if (error instanceof ApprovalCancelled) {
    assert.equal(stands, "cancelled");
  } else if (error instanceof ApprovalTimeout) {
    assert.ok(at >= timeoutMs, "it gave up early");
    if (error.withdrawn) assert.equal(stands, "cancelled");
  } else {
    assert.ok(abortAt !== undefined && at >= abortAt && error instanceof Error && error.message === "stop", inspect(error));
  }
}

/** How it may behave on the wire. */
function checkManners({ abortAt, timeoutMs, faults }: Script, gateway: ScriptedGateway, { at, error }: Ended) {
  const { sent, approvals } = gateway;
  assert.ok(approvals.length <= 1, "it asked twice");
  assert.ok(gateway.most <= 1, "it talked across itself");
  const creations = sent.filter(({ path }) => path === "/v1/approvals");
  assert.ok(new Set(creations.map(({ key, body }) => `${key} ${body}`)).size <= 1, "it repeated something else");
  assert.match(creations[0]?.key ?? "none was needed", /^[0-9a-f-]{36}$|needed/);
  const end = Math.min(timeoutMs, abortAt ?? timeoutMs);
  assert.ok(at <= end + 5_100, `it ended ${at - end} ms late`);
  sent.forEach((request, i) => {
    const next = sent[i + 1];
    if (next === undefined || next.at >= end) return;
    assert.ok(next.at >= request.notBefore, `it came back ${request.notBefore - next.at} ms before Retry-After`);
  });
  assert.ok(sent.length <= 30 + faults.length + at / 4_000, `${sent.length} requests in ${at} ms`);
  const shown = `${inspect(error, { depth: 5, showHidden: true })} ${JSON.stringify(error)}`;
  assert.ok(!shown.includes(TOKEN), "the token is in the error");
}

test("whatever is lost, one question is one approval, and only a human's yes resolves it", async () => {
  await fc.assert(
    fc.asyncProperty(script, async (script) => {
      const { gateway, ended } = await ask(script);
      checkOutcome(script, gateway, ended);
      checkManners(script, gateway, ended);
    }),
    { numRuns: RUNS },
  );
});

test("whoever stops asking leaves nothing open, if the gateway can be reached", async () => {
  await fc.assert(
    fc.asyncProperty(script, async (script) => {
      const { gateway, ended } = await ask(script);
      const end = Math.min(script.timeoutMs, script.abortAt ?? script.timeoutMs);
      const away = script.outages.some(({ from, to }) => from <= end + 5_000 && end <= to);
      // What the wire does to the withdrawal itself is not the question here.
      fc.pre(!away && gateway.calm && gateway.lastMetAt < end);
      const open = gateway.approvals.filter(({ status }) => status === "pending");
      assert.deepEqual(open, [], inspect(ended.error));
      if (ended.error instanceof ApprovalTimeout && gateway.approvals.length === 1) assert.ok(ended.error.withdrawn);
    }),
    { numRuns: RUNS },
  );
});

test("five minutes without the gateway, and then some faults, do not lose an approval", async () => {
  const patient = fc.record({
    faults: fc.array(fault, { maxLength: 6 }),
    outages,
    plan: fc.record({ after: fc.integer({ min: 0, max: 20 * MINUTE }), status: fc.constant("approved" as const) }),
    seed: fc.nat(),
  });
  await fc.assert(
    fc.asyncProperty(patient, async (given) => {
      const { gateway, ended } = await ask({ ...given, timeoutMs: 120 * MINUTE, abortAt: undefined });
      assert.equal(ended.approval?.status, "approved", inspect(ended.error));
      // Every fault costs at most a silence (40 s) or a Retry-After (40 s) and the pause behind it.
      const restarts = Math.max(0, ...given.outages.map(({ to }) => to));
      const created = gateway.sent.findLast(({ path }) => path === "/v1/approvals")?.at ?? 0;
      const latest = Math.max(restarts, created + given.plan.after) + 60_000 * (given.faults.length + 1);
      assert.ok(ended.at <= latest, `it heard of it only after ${ended.at} ms, not ${latest}`);
    }),
    { numRuns: RUNS },
  );
});
