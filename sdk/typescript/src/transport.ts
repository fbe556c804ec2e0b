/** Requests: one try, and tries until one is answered. */

import { HoldpointApiError, HoldpointProtocolError, HoldpointUnreachable } from "./errors.js";
import { now, pause, retryAfter, sleep } from "./runtime.js";
import type { Settings } from "./settings.js";
import type { Problem } from "./types.js";

/** How long a try may go unanswered, in milliseconds, beyond what the server was asked to wait. */
const ATTEMPT_MS = 15_000;
/** The longest answer that is read, in bytes. */
const ANSWER_BYTES_MAX = 64 * 1024 * 1024;
/** What may pass when the answer is no problem document: whatever stands in between, not the gateway, said it. */
const PASSING = new Set([408, 425, 429, 500, 502, 503, 504]);

/** One request, as the operations describe it. */
export interface Request {
  method: "GET" | "POST";
  /** Below the base URL, with its query. */
  path: string;
  body?: string | undefined;
  idempotencyKey?: string | undefined;
  /** Whether it may be sent again when no answer came: the server may have done it already. */
  repeat: "always" | "when answered";
  /** How long the server was asked to wait, in milliseconds. */
  waitMs?: number;
  signal?: AbortSignal | undefined;
  /** Until when to try, on the clock of `now`. */
  deadline: number;
  /** How long to go on without any answer, in milliseconds; as long as until the deadline, when left out. */
  outageMs?: number;
  /** Hears of every try that may have reached the server without being answered with success. */
  onDoubt?: () => void;
}

/** An answer that says yes. */
export interface Answer {
  body: unknown;
  retryAfterMs: number | undefined;
}

/** What a single try came to. */
interface Tried {
  status: number;
  retryAfterMs: number | undefined;
  requestId: string | undefined;
  body: unknown;
}

/** Nothing came back that can be called an answer. */
class Lost {
  constructor(readonly why: string) {}
}

/** The deadline came before a success; what went wrong until then might have passed. */
export class OutOfTime {
  constructor(readonly failure: HoldpointApiError | HoldpointUnreachable) {}
}

/** Sends requests with the token. Whoever shows it (inspection, JSON) sees the URL and nothing else. */
export class Transport {
  readonly #settings: Settings;

  constructor(settings: Settings) {
    this.#settings = settings;
  }

  /** The base URL. */
  get url(): string {
    return this.#settings.url;
  }

  /** Sends until there is an answer, the deadline (throws {@link OutOfTime}) or the end of patience. */
  async send(request: Request): Promise<Answer> {
    let silentSince: number | undefined;
    for (let tries = 1; ; tries++) {
      const tried = await this.#attempt(request);
      let failure: HoldpointApiError | HoldpointUnreachable;
      if (tried instanceof Lost) {
        failure = new HoldpointUnreachable(this.url, tries, tried.why);
        silentSince ??= now();
        const over = now() - silentSince >= (request.outageMs ?? Number.POSITIVE_INFINITY);
        if (over || request.repeat === "when answered") throw failure;
      } else {
        if (tried.status >= 200 && tried.status <= 299) return tried;
        if (tried.status >= 500) request.onDoubt?.();
        failure = this.#problem(request, tried);
        silentSince = undefined;
        if (!failure.retryable) throw failure;
      }
      const wanted = pause(tries, failure instanceof HoldpointApiError ? failure.retryAfterMs : undefined);
      if (wanted >= request.deadline - now()) throw new OutOfTime(failure);
      await sleep(wanted, request.signal);
    }
  }

  /** One try. The signal's reason is thrown; everything else that keeps an answer away is `Lost`. */
  async #attempt(request: Request): Promise<Tried | Lost> {
    const { signal } = request;
    if (signal?.aborted) throw signal.reason;
    const controller = new AbortController();
    const stop = () => controller.abort(signal?.reason);
    signal?.addEventListener("abort", stop, { once: true });
    const ms = Math.max(1, Math.min((request.waitMs ?? 0) + ATTEMPT_MS, request.deadline - now()));
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      controller.abort();
    }, ms);
    // A `fetch` that does not listen to its signal must not keep anybody waiting.
    const ended = new Promise<never>((_, reject) => {
      controller.signal.addEventListener("abort", () => reject(controller.signal.reason), { once: true });
    });
    try {
      return await Promise.race([this.#exchange(request, controller.signal), ended]);
    } catch (error) {
      // It was sent, whoever gave up on it: the server may have done what it was asked.
      request.onDoubt?.();
      if (signal?.aborted) throw signal.reason;
      if (error instanceof HoldpointProtocolError) throw error;
      return new Lost(late ? `no answer within ${Math.round(ms)} ms` : this.#redact(reason(error)));
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", stop);
    }
  }

  async #exchange(request: Request, signal: AbortSignal): Promise<Tried> {
    const headers: Record<string, string> = { accept: "application/json", authorization: `Bearer ${this.#settings.token}` };
    if (request.body !== undefined) headers["content-type"] = "application/json";
    if (request.idempotencyKey !== undefined) headers["idempotency-key"] = request.idempotencyKey;
    const init: RequestInit = { method: request.method, headers, signal, redirect: "manual" };
    if (request.body !== undefined) init.body = request.body;
    // Some frameworks answer a GET from a cache of their own; some runtimes refuse the option instead.
    if ("cache" in Request.prototype) init.cache = "no-store";
    const send = this.#settings.fetch ?? globalThis.fetch;
    const response = await send(this.url + request.path, init);
    const text = await readBounded(response);
    const succeeded = response.status >= 200 && response.status <= 299;
    return {
      status: response.status,
      retryAfterMs: retryAfter(response.headers.get("retry-after")),
      requestId: response.headers.get("holdpoint-request-id") ?? undefined,
      body: succeeded ? this.#parsed(request, text) : quietlyParsed(text),
    };
  }

  #parsed(request: Request, text: string): unknown {
    try {
      return JSON.parse(text);
    } catch {
      const detail = "the answer is not JSON. Is the URL the gateway's (http://PROXY/_holdpoint, or http://ADMIN)?";
      throw new HoldpointProtocolError(`${request.method} ${this.url}${request.path}: ${detail}`);
    }
  }

  #problem(request: Request, tried: Tried): HoldpointApiError {
    const { status, retryAfterMs, requestId } = tried;
    const problem = isProblem(tried.body) ? this.#redacted(tried.body) : undefined;
    const what = problem === undefined ? unexplained(status) : `${problem.code}: ${problem.detail}`;
    const message = `${request.method} ${this.url}${request.path} was answered ${status} ${what}`;
    const retryable = problem?.retryable ?? PASSING.has(status);
    return new HoldpointApiError(message, { status, retryable, retryAfterMs, requestId, problem });
  }

  #redact(text: string): string {
    return text.replaceAll(this.#settings.token, "[token]");
  }

  /** A problem document without the token, should whoever answered have quoted it. */
  #redacted(problem: Problem): Problem {
    const text = JSON.stringify(problem);
    return text.includes(this.#settings.token) ? JSON.parse(this.#redact(text)) : problem;
  }
}

function unexplained(status: number): string {
  const redirected = status === 0 || (status >= 300 && status <= 399);
  return redirected ? "with a redirect; set the URL to where it leads" : "without saying why";
}

function isProblem(body: unknown): body is Problem {
  if (typeof body !== "object" || body === null) return false;
  const { code, detail, retryable } = body as Record<string, unknown>;
  return typeof code === "string" && typeof detail === "string" && typeof retryable === "boolean";
}

function quietlyParsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The body as text. A body that is too long is no answer of the gateway's; one that breaks off throws. */
async function readBounded(response: Response): Promise<string> {
  if (response.body === null) return "";
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let [text, length] = ["", 0];
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return text + decoder.decode();
    length += value.byteLength;
    if (length > ANSWER_BYTES_MAX) {
      reader.cancel().catch(() => undefined);
      throw new HoldpointProtocolError(`the answer is longer than ${ANSWER_BYTES_MAX} bytes`);
    }
    text += decoder.decode(value, { stream: true });
  }
}

/** Why a `fetch` failed, in words: runtimes put the telling part into `cause`. */
function reason(error: unknown): string {
  if (!(error instanceof Error)) return "the request failed";
  const cause = error.cause instanceof Error ? error.cause : undefined;
  const code = (cause as { code?: unknown } | undefined)?.code;
  return [error.message, cause?.message || code].filter((part) => typeof part === "string" && part !== "").join(": ");
}
