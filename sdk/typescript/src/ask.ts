/** Asking and waiting: the way from a question to a human's yes, or to an error. */

import {
  ApprovalCancelled,
  ApprovalError,
  ApprovalExpired,
  ApprovalRejected,
  ApprovalTimeout,
  HoldpointApiError,
  HoldpointProtocolError,
  HoldpointUnreachable,
  HoldpointUsageError,
} from "./errors.js";
import { newKey, now, sleep } from "./runtime.js";
import { idempotencyKey, json, milliseconds, type Settings, TIMEOUT_MAX_MS } from "./settings.js";
import { OutOfTime, type Transport } from "./transport.js";
import type { Approval, PublicApproval, Status } from "./types.js";

/** How long one long-poll asks the server to wait, in milliseconds: shorter than what proxies in between cut off. */
const LONG_POLL_MS = 25_000;
/** How long a withdrawal may take, in milliseconds. */
const WITHDRAW_MS = 5_000;
/** How much longer than its caller an approval stays open, in milliseconds: the caller's own time-out comes first. */
const EXPIRY_MARGIN_MS = 60_000;

const STATUSES: readonly string[] = ["pending", "approved", "rejected", "expired", "cancelled"] satisfies Status[];

/** How long to wait for a decision, and how to stop. */
export interface WaitOptions {
  /** How long to wait for a decision, in milliseconds: 1 to 604 800 000 (seven days). Default 3 600 000 (an hour). */
  timeoutMs?: number | undefined;
  /**
   * The least time between two looks at the approval, in milliseconds: 100 to 3 600 000. Default 5 000. It matters only where the
   * server answers a look at once; usually it holds the answer back until there is a decision.
   */
  pollIntervalMs?: number | undefined;
  /** Stops waiting. */
  signal?: AbortSignal | undefined;
}

/** What to ask, and how to wait for the answer. */
export interface RequireApprovalOptions extends WaitOptions {
  /** What a reviewer needs to know: anything that can be written as JSON. */
  context?: unknown;
  /** Names the question for good. Left out: a random one, so that each call is a question of its own. */
  idempotencyKey?: string | undefined;
  /** The trace it belongs to, at most 128 characters. */
  traceId?: string | undefined;
  /** Hears of the approval once it is created and nobody has decided yet: to print its id, say. */
  onPending?: ((approval: PublicApproval) => void) | undefined;
}

/** Waits until an approval is no longer pending. */
export async function follow(
  transport: Transport,
  settings: Settings,
  id: string,
  options: WaitOptions,
  deadline: number,
): Promise<PublicApproval | Approval> {
  const { signal } = options;
  const least = milliseconds("pollIntervalMs", options.pollIntervalMs ?? 5_000, 100, 3_600_000);
  const over = () => new OutOfTime(new HoldpointUnreachable(transport.url, 0, "the time is over"));
  for (;;) {
    const begun = now();
    if (begun >= deadline) throw over();
    const waitMs = Math.min(LONG_POLL_MS, Math.floor(deadline - begun));
    const path = `/v1/approvals/${id}?wait=${waitMs}ms`;
    const { outageMs } = settings;
    const answer = await transport.send({ method: "GET", path, repeat: "always", waitMs, signal, deadline, outageMs });
    const approval = checked(answer.body, id);
    if (approval.status !== "pending") return approval;
    // The server says how far apart looks should be; one that it held back for so long has kept that distance already.
    const gap = Math.max(least, answer.retryAfterMs ?? 0) - (now() - begun);
    const left = deadline - now();
    if (gap > 0) await sleep(Math.min(gap, left), signal);
    // Timers may fire a little early: what was to be slept to the end is over.
    if (gap >= left) throw over();
  }
}

/** An approval as it came over the wire, if that is what came. Nothing that is in doubt counts as approved. */
export function checked(body: unknown, id?: string): PublicApproval {
  const approval = body as PublicApproval | null;
  if (typeof approval !== "object" || approval === null || typeof approval.id !== "string") {
    throw new HoldpointProtocolError("the answer is not an approval. Is the URL the gateway's?");
  }
  if (id !== undefined && approval.id !== id) {
    throw new HoldpointProtocolError(`the answer is about ${approval.id}, not about ${id}`);
  }
  if (!STATUSES.includes(approval.status)) {
    throw new HoldpointProtocolError(`${approval.id} has a status that this version does not know`);
  }
  return approval;
}

/** One question, from its creation to its end. */
export class Question {
  readonly #transport: Transport;
  readonly #settings: Settings;
  readonly #action: string;
  readonly #options: RequireApprovalOptions;
  readonly #timeoutMs: number;
  readonly #deadline: number;
  readonly #body: string;
  #key = "";
  #approval: PublicApproval | undefined;
  /** Whether the server may have created it without this side knowing. */
  #inDoubt = false;

  constructor(transport: Transport, settings: Settings, action: string, options: RequireApprovalOptions) {
    this.#transport = transport;
    this.#settings = settings;
    this.#action = action;
    this.#options = options;
    this.#timeoutMs = milliseconds("timeoutMs", options.timeoutMs ?? 3_600_000, 1, TIMEOUT_MAX_MS);
    milliseconds("pollIntervalMs", options.pollIntervalMs ?? 5_000, 100, 3_600_000);
    const expiresInMs = Math.min(this.#timeoutMs + EXPIRY_MARGIN_MS, TIMEOUT_MAX_MS);
    this.#body = creation(action, { ...options, expiresInMs });
    this.#deadline = now() + this.#timeoutMs;
  }

  /** Asks and waits. */
  async answer(): Promise<PublicApproval> {
    const { signal, idempotencyKey: given } = this.#options;
    signal?.throwIfAborted();
    this.#key = given === undefined ? await newKey() : idempotencyKey(given);
    try {
      let approval = await this.#create(this.#deadline, signal);
      if (approval.status === "pending") {
        this.#options.onPending?.(approval);
        approval = await follow(this.#transport, this.#settings, approval.id, this.#options, this.#deadline);
      }
      signal?.throwIfAborted();
      return verdict(approval);
    } catch (error) {
      return await this.#ended(error);
    }
  }

  async #create(deadline: number, signal: AbortSignal | undefined): Promise<PublicApproval> {
    const { body } = await this.#transport.send({
      method: "POST",
      path: "/v1/approvals",
      body: this.#body,
      idempotencyKey: this.#key,
      repeat: "always",
      signal,
      deadline,
      outageMs: this.#settings.outageMs,
      onDoubt: () => {
        this.#inDoubt = true;
      },
    });
    const approval = checked(body);
    this.#approval = approval;
    if (approval.kind !== "action" || approval.name !== this.#action) {
      throw new HoldpointProtocolError(`${approval.id} is about something else than what was asked`);
    }
    return approval;
  }

  /** No yes was heard: takes the question back where it may still stand, and says what came of it. */
  async #ended(error: unknown): Promise<PublicApproval> {
    if (error instanceof ApprovalError) throw error;
    const { signal } = this.#options;
    if (error instanceof OutOfTime && !signal?.aborted) {
      try {
        await sleep(this.#deadline - now(), signal);
      } catch {
        // Aborted in the last moment: the next line but one says so.
      }
    }
    const timedOut = error instanceof OutOfTime && !signal?.aborted;
    const standing = await this.#withdraw(timedOut ? "nobody decided in time" : "the caller does not wait any more");
    if (signal?.aborted) throw signal.reason;
    if (!timedOut && !(error instanceof HoldpointUnreachable)) throw error;
    // Somebody may have decided between the last look and the withdrawal. The decision came first, so it counts.
    if (standing !== undefined && standing.status !== "pending" && standing.status !== "cancelled") return verdict(standing);
    if (!timedOut) throw error;
    const fate = standing?.status === "cancelled" ? "withdrawn" : "unconfirmed";
    throw new ApprovalTimeout(this.#timeoutMs, fate, standing ?? this.#approval);
  }

  /** Takes the approval back. What stands then; `undefined` when the gateway did not say. */
  async #withdraw(why: string): Promise<PublicApproval | undefined> {
    const deadline = now() + WITHDRAW_MS;
    try {
      if (this.#approval === undefined) {
        if (!this.#inDoubt) return undefined;
        // An answer was lost, and with it the id. The same key finds the approval again, or makes one that is closed at once.
        await this.#create(deadline, undefined);
      }
      const standing = this.#approval as PublicApproval | undefined;
      if (standing === undefined || standing.status !== "pending") return standing;
      const path = `/v1/approvals/${standing.id}`;
      const body = JSON.stringify({ reason: why });
      try {
        const request = { method: "POST", path: `${path}/cancel`, body, repeat: "always", deadline } as const;
        return checked((await this.#transport.send(request)).body, standing.id);
      } catch (error) {
        if (!(error instanceof HoldpointApiError) || error.code !== "already_decided") return undefined;
        return checked((await this.#transport.send({ method: "GET", path, repeat: "always", deadline })).body, standing.id);
      }
    } catch {
      // It expires on the server in any case. What brought us here is what the caller has to hear.
      return undefined;
    }
  }
}

/** What a creation says. */
export interface Creation {
  /** What a reviewer needs to know: anything that can be written as JSON. */
  context?: unknown;
  /** The trace it belongs to, at most 128 characters. */
  traceId?: string | undefined;
  /** How long it stays open, in milliseconds: 1 to 604 800 000 (seven days). The server's default is an hour. */
  expiresInMs?: number | undefined;
}

/** The body of a creation. */
export function creation(action: string, options: Creation): string {
  if (typeof action !== "string" || action.trim() === "" || [...action].length > 256) {
    throw new HoldpointUsageError("`action` must have 1 to 256 characters that are not all spaces");
  }
  const { context, traceId, expiresInMs } = options;
  const open = expiresInMs === undefined ? undefined : milliseconds("expiresInMs", expiresInMs, 1, TIMEOUT_MAX_MS);
  const members = { action, context, trace_id: traceId, expires_in: open === undefined ? undefined : `${open}ms` };
  return json("context", members) as string;
}

/** The approval, if a human said yes; otherwise the error that says why not. */
function verdict(approval: PublicApproval): PublicApproval {
  switch (approval.status) {
    case "approved":
      return approval;
    case "rejected":
      throw new ApprovalRejected(approval);
    case "expired":
      throw new ApprovalExpired(approval);
    case "cancelled":
      throw new ApprovalCancelled(approval);
    default:
      throw new HoldpointProtocolError(`${approval.id} is ${approval.status} after it was said to be decided`);
  }
}
