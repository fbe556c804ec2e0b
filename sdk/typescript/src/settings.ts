/** Settings and arguments, checked before anything is sent. Messages never show a credential. */

import { HoldpointUsageError } from "./errors.js";
import { environment } from "./runtime.js";

/** The longest time that may be waited, in milliseconds: an approval stays open for at most seven days. */
export const TIMEOUT_MAX_MS = 7 * 24 * 60 * 60 * 1000;

/** Where the gateway is, and who asks. */
export interface HoldpointOptions {
  /**
   * The base URL: `http://PROXY/_holdpoint` for agents, `http://ADMIN` for reviewers (agents may use it too). Left out:
   * `HOLDPOINT_URL`.
   */
  url?: string | undefined;
  /** The bearer token. Left out: `HOLDPOINT_TOKEN`. */
  token?: string | undefined;
  /** How long a single operation may take, repeats included, in milliseconds. Default 60 000. */
  callTimeoutMs?: number | undefined;
  /**
   * How long {@link Holdpoint.requireApproval} and {@link Holdpoint.wait} go on while the gateway does not answer, in milliseconds.
   * Default 600 000 (ten minutes).
   */
  outageMs?: number | undefined;
  /** Sends the requests. Default: the global `fetch`. */
  fetch?: typeof fetch | undefined;
}

/** Settings that are known to be usable. */
export interface Settings {
  readonly url: string;
  readonly token: string;
  readonly callTimeoutMs: number;
  readonly outageMs: number;
  readonly fetch: typeof fetch | undefined;
}

/** Reads options and environment. */
export function settings(options: HoldpointOptions): Settings {
  return {
    url: baseUrl(options.url ?? environment("HOLDPOINT_URL")),
    token: bearer(options.token ?? environment("HOLDPOINT_TOKEN")),
    callTimeoutMs: milliseconds("callTimeoutMs", options.callTimeoutMs ?? 60_000, 1, TIMEOUT_MAX_MS),
    outageMs: milliseconds("outageMs", options.outageMs ?? 600_000, 0, TIMEOUT_MAX_MS),
    fetch: options.fetch,
  };
}

function baseUrl(text: string | undefined): string {
  if (text === undefined) throw new HoldpointUsageError("no URL: give `url`, or set HOLDPOINT_URL");
  let url: URL;
  try {
    url = new URL(text.trim());
  } catch {
    throw new HoldpointUsageError("`url` is not a URL; write one such as http://127.0.0.1:8080/_holdpoint");
  }
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    throw new HoldpointUsageError("`url` must begin with http:// or https://");
  }
  if (url.username !== "" || url.password !== "") {
    throw new HoldpointUsageError("`url` must not contain credentials; give the token as `token`");
  }
  if (url.search !== "" || url.hash !== "") {
    throw new HoldpointUsageError("`url` must end with its path, without `?` or `#`");
  }
  return `${url.origin}${url.pathname.replace(/\/+$/, "")}`;
}

function bearer(text: string | undefined): string {
  if (text === undefined) throw new HoldpointUsageError("no token: give `token`, or set HOLDPOINT_TOKEN");
  const token = text.trim();
  if (!/^[\x21-\x7e]+$/.test(token)) {
    throw new HoldpointUsageError("the token is empty or has characters that a header cannot carry");
  }
  return token;
}

/** A number of milliseconds within bounds. */
export function milliseconds(name: string, value: number, least: number, most: number): number {
  if (typeof value !== "number" || !(value >= least && value <= most)) {
    throw new HoldpointUsageError(`\`${name}\` must be a number of milliseconds from ${least} to ${most}`);
  }
  return Math.round(value);
}

/** An approval's id, which is going to stand in a path. */
export function approvalId(id: string): string {
  if (typeof id !== "string" || !/^[A-Za-z]{1,16}_[A-Za-z0-9]{1,64}$/.test(id)) {
    throw new HoldpointUsageError("`id` must be the id of an approval, such as apr_06h…");
  }
  return id;
}

/** A body, written once: repeats send the same bytes. */
export function json(name: string, value: unknown): string | undefined {
  try {
    return JSON.stringify(value);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new HoldpointUsageError(`\`${name}\` cannot be written as JSON: ${why}`);
  }
}

/** An `Idempotency-Key`. */
export function idempotencyKey(key: string): string {
  if (typeof key !== "string" || !/^[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?$/.test(key)) {
    throw new HoldpointUsageError("`idempotencyKey` must be 1 to 255 visible ASCII characters");
  }
  return key;
}
