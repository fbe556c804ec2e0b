/** The client of the approvals API. */

import { type Creation, checked, creation, follow, Question, type RequireApprovalOptions, type WaitOptions } from "./ask.js";
import { ApprovalTimeout, HoldpointProtocolError, HoldpointUsageError } from "./errors.js";
import { newKey, now } from "./runtime.js";
import {
  approvalId,
  type HoldpointOptions,
  idempotencyKey,
  json,
  milliseconds,
  type Settings,
  settings,
  TIMEOUT_MAX_MS,
} from "./settings.js";
import { OutOfTime, type Request, Transport } from "./transport.js";
import type {
  Approval,
  ApprovalList,
  AuditPage,
  BulkAnswer,
  Decision,
  ListQuery,
  PublicApproval,
  ResolvedOutcome,
  Stats,
  Status,
} from "./types.js";

/** What every operation takes. */
export interface CallOptions {
  /** Stops it; it then rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
}

/** What {@link Holdpoint.create} takes. */
export interface CreateOptions extends Creation, CallOptions {
  /** Makes it safe to repeat: the same key, action and context are the same approval. Left out: a random one. */
  idempotencyKey?: string | undefined;
}

/** What {@link Holdpoint.decide} takes. */
export interface DecideOptions extends CallOptions {
  /** For the caller and the trail: at most 2 000 characters. */
  reason?: string | undefined;
  /** The payload hash that was seen; the decision is refused when it is not the approval's. */
  payloadSha256?: string | undefined;
}

/** What {@link Holdpoint.list} takes: filters, and which page. */
export interface ListOptions extends CallOptions {
  /** One status or several; any when left out. */
  status?: Status | readonly Status[] | undefined;
  /** The tool or the action, whole. */
  tool?: string | undefined;
  /** The rule, whole; `api` for actions. */
  rule?: string | undefined;
  /** The agent, whole. */
  agent?: string | undefined;
  /** The risk. */
  risk?: ListQuery["risk"] | undefined;
  /** The SLA state at this moment. */
  sla?: ListQuery["sla"] | undefined;
  /** The trace, whole. */
  traceId?: string | undefined;
  /** Text in the name, the summary, the agent or the preview, in any case. */
  q?: string | undefined;
  /** Asked at or after: a `Date`, or RFC 3339. */
  since?: Date | string | undefined;
  /** Asked before: a `Date`, or RFC 3339. */
  until?: Date | string | undefined;
  /** `newest` first when left out. */
  sort?: ListQuery["sort"] | undefined;
  /** At most so many on a page: 1 to 200. Default 50. */
  limit?: number | undefined;
  /** The `next_cursor` of an earlier page with the same filters. */
  cursor?: string | undefined;
}

/** What {@link Holdpoint.timeline} takes. */
export interface TimelineOptions extends CallOptions {
  /** Only records behind this sequence number. */
  after?: number | undefined;
  /** At most so many records: 1 to 1 000. Default 100. */
  limit?: number | undefined;
}

/**
 * The approvals API. Operations are repeated while that is safe and may help (lost connections, 429, 503), with growing pauses and never
 * before `Retry-After`, until `callTimeoutMs`.
 *
 * They reject with {@link HoldpointApiError} (the gateway said no), {@link HoldpointUnreachable} (nobody answered),
 * {@link HoldpointProtocolError} (something else answered) or {@link HoldpointUsageError} (nothing was sent).
 *
 * @example
 * ```ts
 * const holdpoint = new Holdpoint({ url: "http://127.0.0.1:8081", token: aliceToken });
 * const { approvals } = await holdpoint.list({ status: "pending" });
 * ```
 */
export class Holdpoint {
  readonly #settings: Settings;
  readonly #transport: Transport;

  /**
   * @param options - what is left out comes from `HOLDPOINT_URL` and `HOLDPOINT_TOKEN`
   * @throws {@link HoldpointUsageError} when URL or token are missing or unusable
   */
  constructor(options: HoldpointOptions = {}) {
    this.#settings = settings(options);
    this.#transport = new Transport(this.#settings);
  }

  /** The base URL. */
  get url(): string {
    return this.#transport.url;
  }

  /**
   * Asks a human and waits for the answer: resolves when, and only when, the approval was given. For agents.
   *
   * The question is created once, however often an answer is lost. A restart of the gateway is waited out, up to `outageMs`. When the
   * time is over, the signal is aborted or anything else goes wrong, the approval is withdrawn on the server, which takes at most
   * five seconds more. A decision that was made before the withdrawal counts, unless the signal was aborted.
   *
   * @param action - what is to be done: 1 to 256 characters
   * @returns the approval, `approved`
   * @throws {@link ApprovalRejected}, {@link ApprovalExpired}, {@link ApprovalCancelled}, {@link ApprovalTimeout}: it was not approved
   * @throws the signal's reason, when it was aborted
   * @throws {@link HoldpointApiError}, {@link HoldpointUnreachable}, {@link HoldpointProtocolError}, {@link HoldpointUsageError}
   */
  async requireApproval(action: string, options: RequireApprovalOptions = {}): Promise<PublicApproval> {
    return await new Question(this.#transport, this.#settings, action, options).answer();
  }

  /** Creates an approval and does not wait. For agents. */
  async create(action: string, options: CreateOptions = {}): Promise<PublicApproval> {
    const body = creation(action, options);
    const key = options.idempotencyKey === undefined ? await newKey() : idempotencyKey(options.idempotencyKey);
    const path = "/v1/approvals";
    return checked(await this.#call({ method: "POST", path, body, idempotencyKey: key, repeat: "always" }, options));
  }

  /**
   * One approval as it stands. An agent sees its own, as {@link PublicApproval}; a reviewer sees any, as {@link Approval}:
   * `"agent" in approval` tells them apart.
   */
  async get(id: string, options: CallOptions = {}): Promise<PublicApproval | Approval> {
    return checked(await this.#read(`/v1/approvals/${approvalId(id)}`, options), id);
  }

  /**
   * Waits until an approval is no longer pending, and resolves to it, whatever was decided. Never withdraws it.
   *
   * @throws {@link ApprovalTimeout} when it is still pending after `timeoutMs`
   */
  async wait(id: string, options: WaitOptions = {}): Promise<PublicApproval | Approval> {
    const timeoutMs = milliseconds("timeoutMs", options.timeoutMs ?? 3_600_000, 1, TIMEOUT_MAX_MS);
    const deadline = now() + timeoutMs;
    try {
      return await follow(this.#transport, this.#settings, approvalId(id), options, deadline);
    } catch (error) {
      throw error instanceof OutOfTime ? new ApprovalTimeout(timeoutMs, "left open", undefined, id) : error;
    }
  }

  /** A page of the queue and the history. For reviewers. */
  async list(options: ListOptions = {}): Promise<ApprovalList> {
    const { status, traceId, since, until, signal: _, ...same } = options;
    const statuses = typeof status === "string" ? status : status?.join(",");
    const times = { since: time("since", since), until: time("until", until) };
    const query = { ...same, ...times, status: statuses, trace_id: traceId };
    const list = (await this.#read(`/v1/approvals${queryString(query)}`, options)) as ApprovalList;
    return shaped(list, Array.isArray(list?.approvals), "a list of approvals");
  }

  /** All approvals that match, page by page. For reviewers. */
  async *listAll(options: Omit<ListOptions, "cursor"> = {}): AsyncGenerator<Approval, void, undefined> {
    let cursor: string | undefined;
    do {
      const page = await this.list({ ...options, cursor });
      yield* page.approvals;
      cursor = page.next_cursor ?? undefined;
    } while (cursor !== undefined);
  }

  /**
   * Decides. For reviewers. The first decision stands; the same one by the same reviewer again is answered like the first, so it is safe
   * to repeat.
   *
   * @returns the approval; still `pending` where more reviewers are needed
   * @throws {@link HoldpointApiError} with code `already_decided`, `payload_mismatch`, `forbidden` or `not_found`
   */
  async decide(id: string, decision: Decision, options: DecideOptions = {}): Promise<Approval> {
    const body = { decision, reason: options.reason, payload_sha256: options.payloadSha256 };
    return (await this.#change(`/v1/approvals/${approvalId(id)}`, body, options, id)) as Approval;
  }

  /**
   * Decides many, each for itself: look at every line of the result. For reviewers.
   *
   * @param ids - 1 to 200, each once
   */
  async bulkDecide(
    ids: readonly string[],
    decision: Decision,
    options: CallOptions & { reason?: string | undefined } = {},
  ): Promise<BulkAnswer> {
    const body = JSON.stringify({ ids, decision, reason: options.reason });
    const path = "/v1/approvals/bulk-decide";
    const answer = (await this.#call({ method: "POST", path, body, repeat: "always" }, options)) as BulkAnswer;
    return shaped(answer, Array.isArray(answer?.results), "the results of a bulk decision");
  }

  /**
   * Takes a pending approval back. For the agent that asked.
   *
   * @throws {@link HoldpointApiError} with code `already_decided` when somebody was first
   */
  async cancel(id: string, options: CallOptions & { reason?: string | undefined } = {}): Promise<PublicApproval> {
    return await this.#change(`/v1/approvals/${approvalId(id)}/cancel`, { reason: options.reason }, options, id);
  }

  /**
   * Settles an unknown outcome after somebody looked. For reviewers. It is not sent again when its answer is lost: look at the approval
   * first.
   *
   * @param note - how it was found out: 1 to 2 000 characters
   */
  async resolve(id: string, outcome: ResolvedOutcome, note: string, options: CallOptions = {}): Promise<Approval> {
    const body = JSON.stringify({ outcome, note });
    const path = `/v1/approvals/${approvalId(id)}/resolve`;
    return checked(await this.#call({ method: "POST", path, body, repeat: "when answered" }, options), id) as Approval;
  }

  /** Every event of one approval, oldest first, as records of the audit trail. For reviewers. */
  async timeline(id: string, options: TimelineOptions = {}): Promise<AuditPage> {
    const query = queryString({ after: options.after, limit: options.limit });
    const page = (await this.#read(`/v1/approvals/${approvalId(id)}/timeline${query}`, options)) as AuditPage;
    return shaped(page, Array.isArray(page?.records), "a timeline");
  }

  /** The queue in figures. For reviewers. */
  async stats(options: CallOptions = {}): Promise<Stats> {
    const stats = (await this.#read("/v1/approvals/stats", options)) as Stats;
    return shaped(stats, typeof stats?.pending === "number", "the figures of the queue");
  }

  async #read(path: string, options: CallOptions): Promise<unknown> {
    return await this.#call({ method: "GET", path, repeat: "always" }, options);
  }

  async #change(path: string, members: object, options: CallOptions, id: string): Promise<PublicApproval> {
    const body = json("the body", members);
    return checked(await this.#call({ method: "POST", path, body, repeat: "always" }, options), id);
  }

  async #call(request: Omit<Request, "signal" | "deadline">, { signal }: CallOptions): Promise<unknown> {
    const deadline = now() + this.#settings.callTimeoutMs;
    try {
      return (await this.#transport.send({ ...request, signal, deadline })).body;
    } catch (error) {
      throw error instanceof OutOfTime ? error.failure : error;
    }
  }
}

/**
 * Asks a human and waits: {@link Holdpoint.requireApproval} with the settings given along, or from `HOLDPOINT_URL` and
 * `HOLDPOINT_TOKEN`.
 *
 * @example
 * ```ts
 * await requireApproval("deploy", { context: { version: "1.4.2" } });
 * deploy(); // a human said yes
 * ```
 */
export async function requireApproval(
  action: string,
  options: RequireApprovalOptions & HoldpointOptions = {},
): Promise<PublicApproval> {
  return await new Holdpoint(options).requireApproval(action, options);
}

function shaped<T>(value: T, fits: boolean, what: string): T {
  if (fits) return value;
  throw new HoldpointProtocolError(`the answer is not ${what}. Is the URL the gateway's?`);
}

function time(name: string, value: Date | string | undefined): string | undefined {
  if (!(value instanceof Date)) return value;
  if (Number.isNaN(value.getTime())) throw new HoldpointUsageError(`\`${name}\` is not a valid date`);
  return value.toISOString();
}

function queryString(members: Record<string, string | number | undefined>): string {
  const given = Object.entries(members).filter((member): member is [string, string | number] => member[1] !== undefined);
  if (given.length === 0) return "";
  return `?${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}`;
}
