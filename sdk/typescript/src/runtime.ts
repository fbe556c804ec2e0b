/** What differs between runtimes, and time. Everything here uses web-standard globals and looks them up when they are needed. */

import { HoldpointUsageError } from "./errors.js";

/** Milliseconds of a clock that is never set back. */
export function now(): number {
  return performance.now();
}

/** Timers take at most so many milliseconds; longer ones would fire at once. */
const TIMER_MAX_MS = 2 ** 31 - 1;

/** Waits, unless the signal stops it; then it rejects with the signal's reason. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const stop = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(
      () => {
        signal?.removeEventListener("abort", stop);
        resolve();
      },
      Math.min(Math.max(ms, 0), TIMER_MAX_MS),
    );
    signal?.addEventListener("abort", stop, { once: true });
  });
}

interface Surroundings {
  process?: { env?: Record<string, string | undefined> };
  Deno?: { env?: { get?: (name: string) => string | undefined } };
}

/** An environment variable; `undefined` where there is none, no environment, or no permission to read it. */
export function environment(name: string): string | undefined {
  const surroundings = globalThis as Surroundings;
  for (const read of [() => surroundings.Deno?.env?.get?.(name), () => surroundings.process?.env?.[name]]) {
    try {
      const value = read();
      if (typeof value === "string" && value !== "") return value;
    } catch {
      // Deno throws where reading is not permitted: the same as not being set.
    }
  }
  return undefined;
}

/** A key that nobody has used and nobody can guess. */
export async function newKey(): Promise<string> {
  if (globalThis.crypto === undefined) {
    // Node 18 has it behind its own module only. A name in a variable keeps bundlers for other runtimes from looking for it.
    const name = "node:crypto";
    const module: { webcrypto: Crypto } = await import(/* webpackIgnore: true */ /* @vite-ignore */ name);
    return module.webcrypto.randomUUID();
  }
  if (typeof globalThis.crypto.randomUUID !== "function") {
    throw new HoldpointUsageError("this runtime makes no random keys (crypto.randomUUID); give an `idempotencyKey`");
  }
  return globalThis.crypto.randomUUID();
}

/** The first pause after something failed, in milliseconds. */
const BACKOFF_FIRST_MS = 250;
/** The longest pause that is chosen here, in milliseconds. What the server asks for may be longer. */
const BACKOFF_MAX_MS = 10_000;

/**
 * The pause before the next try. It doubles with each one that failed, and half of it is random, so that clients that failed together do
 * not come back together. What the server asks for (`Retry-After`) is never undercut.
 */
export function pause(failures: number, retryAfterMs: number | undefined): number {
  const most = Math.min(BACKOFF_FIRST_MS * 2 ** Math.min(failures - 1, 16), BACKOFF_MAX_MS);
  const own = most / 2 + (Math.random() * most) / 2;
  if (retryAfterMs === undefined) return own;
  return Math.max(own, retryAfterMs + (Math.random() * most) / 2);
}

/** `Retry-After` in milliseconds: whole seconds, or a date. What is neither counts as absent. */
export function retryAfter(value: string | null): number | undefined {
  if (value === null) return undefined;
  if (/^\d{1,9}$/.test(value.trim())) return Number(value) * 1000;
  const at = Date.parse(value);
  return Number.isNaN(at) ? undefined : Math.max(0, at - Date.now());
}
