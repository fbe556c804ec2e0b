// A gateway in memory behind a wire that fails by script: what the property tests ask.

import type { VirtualTime } from "./virtual-time.js";

/** What happens to one request. */
export type Fault =
  | { kind: "none" }
  | { kind: "request lost" }
  | { kind: "answer lost" }
  | { kind: "answer cut" }
  | { kind: "slow"; ms: number }
  | { kind: "silence"; done: boolean }
  | { kind: "refused"; status: number; retryAfterS: number | undefined; asDate: boolean; problem: boolean };

/** What the reviewer does, in milliseconds after the creation. */
export interface Plan {
  after: number;
  status: "approved" | "rejected" | "cancelled" | "never";
}

/** A span of virtual time in which nothing answers. */
export interface Outage {
  from: number;
  to: number;
}

/** One request as it was sent. */
export interface Sent {
  at: number;
  method: string;
  path: string;
  key: string | null;
  body: string;
  /** From when on the same may be sent again, where the answer said so. */
  notBefore: number;
}

interface Record {
  id: string;
  status: string;
  reason: string | null;
  expiresAt: number;
  key: string;
}

export class ScriptedGateway {
  readonly sent: Sent[] = [];
  readonly approvals: Record[] = [];
  /** The most requests that were under way at the same time. */
  most = 0;
  /** When the last fault of the script was met. */
  lastMetAt = 0;
  #underWay = 0;

  constructor(
    private readonly time: VirtualTime,
    private readonly faults: Fault[],
    private readonly outages: Outage[],
    private readonly plan: Plan,
  ) {}

  /** Whether the script holds no more faults. */
  get calm(): boolean {
    return this.faults.every(({ kind }) => kind === "none");
  }

  readonly fetch: typeof fetch = async (input, init) => {
    const path = new URL(String(input)).pathname;
    const method = init?.method ?? "GET";
    const headers = new Headers(init?.headers);
    const body = typeof init?.body === "string" ? init.body : "";
    const sent = { at: this.time.now, method, path, key: headers.get("idempotency-key"), body, notBefore: 0 };
    this.sent.push(sent);
    this.#underWay += 1;
    this.most = Math.max(this.most, this.#underWay);
    try {
      const wait = Number(/wait=(\d+)ms/.exec(String(input))?.[1] ?? 0);
      return await this.#lost(this.#serve(sent, wait), init?.signal ?? undefined);
    } finally {
      this.#underWay -= 1;
    }
  };

  /** The answer, unless the caller leaves or the gateway goes down first. */
  #lost(answer: Promise<Response>, signal: AbortSignal | undefined): Promise<Response> {
    return new Promise((resolve, reject) => {
      const end = () => this.time.clearTimeout(down);
      const next = this.outages.find(({ from }) => from >= this.time.now);
      const gone = () => reject(new TypeError("fetch failed", { cause: new Error("connection reset") }));
      const down = next === undefined ? undefined : this.time.setTimeout(gone, next.from - this.time.now);
      signal?.addEventListener("abort", () => {
        end();
        reject(signal.reason);
      });
      answer.then(resolve, reject).finally(end);
    });
  }

  async #serve(sent: Sent, wait: number): Promise<Response> {
    if (this.outages.some(({ from, to }) => from <= this.time.now && this.time.now < to)) throw refused();
    const fault = this.faults.shift() ?? { kind: "none" };
    if (fault.kind !== "none") this.lastMetAt = this.time.now;
    switch (fault.kind) {
      case "request lost":
        throw refused();
      case "slow":
        await this.#pass(fault.ms);
        break;
      case "silence":
        if (fault.done) this.#handle(sent);
        return await new Promise<never>(() => undefined);
      case "refused":
        return this.#refusal(sent, fault);
    }
    const answer = sent.method === "GET" ? await this.#read(sent, wait) : this.#handle(sent);
    if (fault.kind === "answer lost") throw refused();
    return fault.kind === "answer cut" ? cut(answer) : answer;
  }

  #refusal(sent: Sent, fault: Fault & { kind: "refused" }): Response {
    const headers: { [name: string]: string } = {};
    if (fault.retryAfterS !== undefined) {
      const date = new Date(Math.ceil((Date.now() + fault.retryAfterS * 1000) / 1000) * 1000).toUTCString();
      headers["retry-after"] = fault.asDate ? date : String(fault.retryAfterS);
      sent.notBefore = this.time.now + fault.retryAfterS * 1000;
    }
    const problem = { type: "t", title: "t", status: fault.status, code: "draining", detail: "later", retryable: true };
    return new Response(fault.problem ? JSON.stringify(problem) : "<html>", { status: fault.status, headers });
  }

  #handle(sent: Sent): Response {
    if (sent.path.endsWith("/cancel")) return this.#cancel(sent);
    const key = sent.key ?? "";
    let approval = this.approvals.find((one) => one.key === key);
    if (approval === undefined) {
      const expiresIn = Number(/^(\d+)ms$/.exec(JSON.parse(sent.body).expires_in)?.[1]);
      const id = `apr_${this.approvals.length + 1}`;
      const made: Record = { id, status: "pending", reason: null, expiresAt: this.time.now + expiresIn, key };
      this.approvals.push(made);
      approval = made;
      const close = (status: string, reason: string | null) => {
        if (made.status === "pending") Object.assign(made, { status, reason });
      };
      this.time.setTimeout(() => close("expired", null), expiresIn);
      if (this.plan.status !== "never") this.time.setTimeout(() => close(this.plan.status, "said so"), this.plan.after);
    }
    return json(201, view(approval));
  }

  #cancel(sent: Sent): Response {
    const approval = this.#named(sent);
    if (approval.status !== "pending") {
      const detail = `it is ${approval.status}`;
      return json(409, { type: "t", title: "t", status: 409, code: "already_decided", detail, retryable: false });
    }
    Object.assign(approval, { status: "cancelled", reason: JSON.parse(sent.body).reason });
    return json(200, view(approval));
  }

  async #read(sent: Sent, wait: number): Promise<Response> {
    const approval = this.#named(sent);
    const end = this.time.now + wait;
    while (approval.status === "pending" && this.time.now < end) await this.#pass(Math.min(500, end - this.time.now));
    const response = json(200, view(approval));
    if (approval.status === "pending") response.headers.set("retry-after", "5");
    return response;
  }

  #named(sent: Sent): Record {
    const approval = this.approvals.find(({ id }) => sent.path.split("/").includes(id));
    if (approval === undefined) throw new Error(`nobody was told of ${sent.path}`);
    return approval;
  }

  #pass(ms: number): Promise<void> {
    return new Promise((resolve) => this.time.setTimeout(resolve, ms));
  }
}

function view({ id, status, reason, expiresAt }: Record) {
  return {
    id,
    status,
    reason,
    kind: "action",
    name: "deploy",
    expires_at: new Date(Date.UTC(2030, 0) + expiresAt).toISOString(),
  };
}

function json(status: number, body: unknown): Response {
  return new Response(JSON.stringify(body), { status });
}

function refused(): TypeError {
  return new TypeError("fetch failed", { cause: Object.assign(new Error(""), { code: "ECONNREFUSED" }) });
}

/** The first half of an answer. */
function cut(answer: Response): Response {
  const body = new ReadableStream({
    start(stream) {
      stream.enqueue(new TextEncoder().encode('{"id":"apr_1","status":"appr'));
      stream.error(new TypeError("terminated"));
    },
  });
  return new Response(body, { status: answer.status });
}
