// Asking the real gateway.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as pass } from "node:timers/promises";
import {
  ApprovalCancelled,
  ApprovalError,
  ApprovalExpired,
  ApprovalRejected,
  ApprovalTimeout,
  HoldpointError,
  HoldpointUnreachable,
  requireApproval,
} from "@holdpoint/client";
import { failure, failureOf, Gateway, token, until } from "./support/gateway.js";

test("an approval resolves the question, on either listener, as soon as it is decided", async (t) => {
  const gateway = await Gateway.start(t);
  for (const url of [`${gateway.proxy}/_holdpoint`, `${gateway.admin}/`]) {
    const asked = requireApproval("deploy", { url, token: token("bot"), context: { version: "1.4.2" } });
    const id = await gateway.pending();
    const seen = await gateway.reviewer().get(id);
    assert.deepEqual("input" in seen && seen.input, { version: "1.4.2" });
    const decided = Date.now();
    await gateway.reviewer().decide(id, "approved", { reason: "looks good" });
    const approval = await asked;
    assert.deepEqual([approval.id, approval.status, approval.reason], [id, "approved", "looks good"]);
    assert.ok(Date.now() - decided < 2_000, "a long-poll hears of it at once");
  }
});

test("a rejection is thrown with the reviewer's reason", async (t) => {
  const gateway = await Gateway.start(t);
  for (const reason of ["not on a Friday", undefined]) {
    const asked = failureOf(ApprovalRejected, gateway.agent().requireApproval("deploy"));
    const id = await gateway.pending();
    await gateway.reviewer().decide(id, "rejected", { reason });
    const error = await asked;
    assert.ok(error instanceof ApprovalError && error instanceof HoldpointError);
    assert.deepEqual([error.name, error.reason, error.approvalId], ["ApprovalRejected", reason ?? null, id]);
    assert.equal(error.message, reason === undefined ? `${id} was rejected` : `${id} was rejected: not on a Friday`);
  }
});

test("an approval that expires is thrown as expired", async (t) => {
  const gateway = await Gateway.start(t);
  await gateway.agent().create("deploy", { idempotencyKey: "k", expiresInMs: 700 });
  const error = await failureOf(ApprovalExpired, gateway.agent().requireApproval("deploy", { idempotencyKey: "k" }));
  assert.equal(error.approval?.status, "expired");
});

test("an approval that somebody else withdraws is thrown as cancelled", async (t) => {
  const gateway = await Gateway.start(t);
  const asked = failureOf(ApprovalCancelled, gateway.agent().requireApproval("deploy"));
  await gateway.agent().cancel(await gateway.pending(), { reason: "superseded" });
  assert.equal((await asked).reason, "superseded");
});

test("when the time is over the approval is withdrawn and says so", async (t) => {
  const gateway = await Gateway.start(t);
  const error = await failureOf(ApprovalTimeout, gateway.agent().requireApproval("deploy", { timeoutMs: 400 }));
  assert.deepEqual([error.timeoutMs, error.withdrawn], [400, true]);
  const [approval] = await gateway.all();
  assert.deepEqual([approval?.id, approval?.status, approval?.reason], [error.approvalId, "cancelled", "nobody decided in time"]);
});

test("a decision between the last look and the withdrawal counts", async (t) => {
  const gateway = await Gateway.start(t);
  for (const decision of ["approved", "rejected"] as const) {
    // The reviewer is faster than the withdrawal, every time.
    const late: typeof fetch = async (input, init) => {
      if (String(input).endsWith("/cancel")) {
        await gateway.reviewer().decide(await gateway.pending(), decision, { reason: "just in time" });
      }
      return await fetch(input, init);
    };
    const asked = gateway.agent({ fetch: late }).requireApproval("deploy", { timeoutMs: 400 });
    if (decision === "approved") assert.equal((await asked).status, "approved");
    else assert.equal((await failureOf(ApprovalRejected, asked)).reason, "just in time");
  }
});

test("an approval is open for longer than its caller waits, and not for much longer", async (t) => {
  const gateway = await Gateway.start(t);
  const asked = failure(gateway.agent().requireApproval("deploy", { timeoutMs: 1_000 }));
  const open = await gateway.reviewer().get(await gateway.pending());
  assert.equal(Date.parse(open.expires_at) - Date.parse(open.requested_at), 61_000);
  await asked;
});

test("an aborted signal withdraws the approval and rejects with the signal's reason", async (t) => {
  const gateway = await Gateway.start(t);
  const controller = new AbortController();
  const asked = failure(gateway.agent().requireApproval("deploy", { signal: controller.signal }));
  await gateway.pending();
  controller.abort(new Error("SIGINT"));
  const error = await asked;
  assert.ok(error instanceof Error && error.message === "SIGINT", String(error));
  const [approval] = await gateway.all();
  assert.deepEqual([approval?.status, approval?.reason], ["cancelled", "the caller does not wait any more"]);
});

test("a signal that is aborted while the creation is under way withdraws what was created", async (t) => {
  const gateway = await Gateway.start(t);
  const controller = new AbortController();
  // The gateway has created it, and the caller gives up before the answer is there.
  const slow: typeof fetch = async (input, init) => {
    if (!String(input).endsWith("/v1/approvals") || controller.signal.aborted) return await fetch(input, init);
    await fetch(input, { ...init, signal: null });
    controller.abort(new Error("enough"));
    return await new Promise<never>(() => undefined);
  };
  const error = await failure(gateway.agent({ fetch: slow }).requireApproval("deploy", { signal: controller.signal }));
  assert.equal(error instanceof Error && error.message, "enough");
  assert.deepEqual(
    (await gateway.all()).map(({ status }) => status),
    ["cancelled"],
  );
});

test("a signal that is aborted before sends nothing", async (t) => {
  const gateway = await Gateway.start(t);
  const error = await failure(gateway.agent().requireApproval("deploy", { signal: AbortSignal.abort() }));
  assert.equal(error instanceof DOMException && error.name, "AbortError");
  assert.deepEqual(await gateway.all(), []);
});

test("an approval whose answer comes together with the abort does not let the code go on", async (t) => {
  const gateway = await Gateway.start(t);
  const controller = new AbortController();
  await gateway.agent().create("deploy", { idempotencyKey: "k" });
  const id = await gateway.pending();
  // The caller gives up while the answer that says approved is on its way.
  const crossing: typeof fetch = async (input, init) => {
    if (String(input).includes("?wait=")) await gateway.reviewer().decide(id, "approved");
    const response = await fetch(input, init);
    if (String(input).includes("?wait=")) controller.abort(new Error("stop"));
    return response;
  };
  const options = { idempotencyKey: "k", signal: controller.signal };
  const error = await failure(gateway.agent({ fetch: crossing }).requireApproval("deploy", options));
  assert.equal(error instanceof Error && error.message, "stop");
  assert.equal((await gateway.agent().get(id)).status, "approved");
});

test("a restart of the gateway in the middle is waited out", async (t) => {
  const gateway = await Gateway.start(t);
  for (const signal of ["SIGKILL", "SIGTERM"] as const) {
    const asked = gateway.agent().requireApproval("deploy", { pollIntervalMs: 100 });
    const id = await gateway.pending();
    await gateway.kill(signal);
    await pass(600);
    await gateway.start();
    await gateway.reviewer().decide(id, "approved");
    assert.equal((await asked).id, id);
  }
  assert.equal((await gateway.all()).length, 2);
});

test("a gateway that starts later than its caller is waited for", async (t) => {
  const gateway = await Gateway.configured(t);
  const asked = gateway.agent().requireApproval("deploy");
  await pass(500);
  await gateway.start();
  await gateway.reviewer().decide(await gateway.pending(), "approved");
  assert.equal((await asked).status, "approved");
  assert.equal((await gateway.all()).length, 1);
});

test("a gateway that stays away ends the question after outageMs", async (t) => {
  const gateway = await Gateway.configured(t);
  const error = await failureOf(HoldpointUnreachable, gateway.agent({ outageMs: 300 }).requireApproval("deploy"));
  assert.match(error.message, /did not answer \(tries: \d+; the last one: .*ECONNREFUSED/);
});

test("a gateway that is away when the time is over leaves the withdrawal unconfirmed", async (t) => {
  const gateway = await Gateway.start(t);
  const asked = failureOf(ApprovalTimeout, gateway.agent().requireApproval("deploy", { timeoutMs: 800 }));
  const id = await gateway.pending();
  await gateway.kill();
  const error = await asked;
  assert.deepEqual([error.approvalId, error.withdrawn], [id, false]);
});

test("the same key continues the same question after the caller was restarted", async (t) => {
  const gateway = await Gateway.start(t);
  const options = { idempotencyKey: "deploy-1.4.2", context: { version: "1.4.2" } };
  const asked: string[] = [];
  const onPending = ({ id }: { id: string }) => asked.push(id);
  // The first caller is gone without a word, as after a crash.
  await gateway.agent().create("deploy", options);
  const again = gateway.agent().requireApproval("deploy", { ...options, onPending });
  const id = await gateway.pending();
  await until("the second caller has heard that it is pending", async () => asked.length > 0);
  await gateway.reviewer().decide(id, "approved");
  await again;
  assert.deepEqual(asked, [id]);
  assert.equal((await gateway.agent().requireApproval("deploy", { ...options, onPending })).id, id);
  assert.deepEqual(asked, [id], "what is decided is not asked again");
});

test("a full queue is waited out, no faster than Retry-After says", async (t) => {
  const gateway = await Gateway.start(t, { keys: ["limits: { pending_per_agent_max: 1 }"] });
  const first = await gateway.agent().create("first");
  let refused: number | undefined;
  const heard: typeof fetch = async (input, init) => {
    const response = await fetch(input, init);
    if (response.status === 429) refused ??= Date.now();
    return response;
  };
  const asked = gateway.agent({ fetch: heard }).requireApproval("second");
  const begun = await until("the second one was refused", async () => refused);
  await gateway.agent().cancel(first.id);
  await gateway.reviewer().decide(await gateway.pending(), "approved");
  assert.equal((await asked).name, "second");
  assert.ok(Date.now() - begun >= 5_000, "the gateway said: in five seconds");
});

test("what fails in the caller's own hands withdraws the approval too", async (t) => {
  const gateway = await Gateway.start(t);
  const onPending = () => {
    throw new Error("the pager is broken");
  };
  const error = await failure(gateway.agent().requireApproval("deploy", { onPending }));
  assert.equal(error instanceof Error && error.message, "the pager is broken");
  assert.equal((await gateway.all())[0]?.status, "cancelled");
});
