// The real gateway, in a folder of its own, on ports that stay the same over restarts.

import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { setTimeout as pass } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Holdpoint, type HoldpointOptions } from "@holdpoint/client";

/** The checkout. This file runs from build/test/support. */
export const CHECKOUT = fileURLToPath(new URL("../../../../../", import.meta.url));
/** The gateway's binary; scripts/test-sdk-typescript.sh builds it. */
export const BINARY = process.env.HOLDPOINT_BINARY ?? join(CHECKOUT, "target/debug/holdpoint");

/** The credential of a person or a program. */
export const token = (id: string) => `hp_test_${id}_credential`;
const digest = (id: string) => createHash("sha256").update(token(id)).digest("hex");

const POLICY = `version: 1
default: block
rules:
  - { id: gate, match: "tools:POST *", action: require_approval, approval: { hold: 50ms, release: detached } }
`;

/** What a test may want otherwise. */
export interface Home {
  /** Further lines at the top level of the configuration. */
  keys?: string[];
  /** Where calls go. */
  upstream?: string;
}

/** A port that stays free while the gateway is away: the kernel gives out ports from 32 768 on, so nobody comes by chance. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 20_000);
    const server = createServer();
    const free = await new Promise<boolean>((resolve) => {
      server.once("error", () => resolve(false));
      server.listen(port, "127.0.0.1", () => resolve(true));
    });
    await new Promise((resolve) => server.close(resolve));
    if (free) return port;
  }
}

/** Asks until there is something, for at most thirty seconds. */
export async function until<T>(what: string, ask: () => Promise<T | undefined | false>): Promise<T> {
  const end = Date.now() + 30_000;
  for (;;) {
    const found = await ask();
    if (found !== undefined && found !== false) return found;
    if (Date.now() > end) throw new Error(`waited in vain: ${what}`);
    await pass(20);
  }
}

export class Gateway {
  readonly proxy: string;
  readonly admin: string;
  readonly folder: string;
  #child: ChildProcess | undefined;
  #log = "";

  private constructor(folder: string, proxy: number, admin: number) {
    this.folder = folder;
    this.proxy = `http://127.0.0.1:${proxy}`;
    this.admin = `http://127.0.0.1:${admin}`;
  }

  /** A configured gateway that does not run yet. It is ended with the test. */
  static async configured(t: Pick<TestContext, "after">, home: Home = {}): Promise<Gateway> {
    const folder = await mkdtemp(join(tmpdir(), "holdpoint-ts-"));
    const [proxy, admin] = [await freePort(), await freePort()];
    const gateway = new Gateway(folder, proxy, admin);
    t.after(async () => {
      await gateway.kill();
      await rm(folder, { recursive: true, force: true });
    });
    const people = (ids: string[], more: string) =>
      ids.map((id) => `  - { id: ${id}, ${more}token_sha256: "${digest(id)}" }\n`).join("");
    const configuration = `version: 1
proxy: { listen: "127.0.0.1:${proxy}" }
admin: { listen: "127.0.0.1:${admin}" }
store: "sqlite://holdpoint.db"
policies: [ policy.yaml ]
agents:
${people(["bot", "other-bot"], "")}reviewers:
${people(["alice", "bob"], "groups: [ ops ], role: admin, ")}upstreams:
  tools: { url: "${home.upstream ?? "http://127.0.0.1:9"}" }
routes:
  - { path: /tools/, upstream: tools }
${(home.keys ?? []).map((line) => `${line}\n`).join("")}`;
    await writeFile(join(folder, "holdpoint.yaml"), configuration);
    await writeFile(join(folder, "policy.yaml"), POLICY);
    return gateway;
  }

  /** A running gateway. */
  static async start(t: Pick<TestContext, "after">, home: Home = {}): Promise<Gateway> {
    const gateway = await Gateway.configured(t, home);
    await gateway.start();
    return gateway;
  }

  /** Starts it, again or for the first time, and waits until it is ready. */
  async start(): Promise<void> {
    const child = spawn(BINARY, ["serve", "-c", "holdpoint.yaml"], {
      cwd: this.folder,
      env: { PATH: process.env.PATH ?? "" },
      stdio: ["ignore", "ignore", "pipe"],
    });
    this.#child = child;
    const abandoned = () => child.kill("SIGKILL");
    process.once("exit", abandoned);
    child.once("exit", () => process.removeListener("exit", abandoned));
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      this.#log += text;
    });
    await until("the gateway is ready", async () => {
      if (child.exitCode !== null) throw new Error(`the gateway ended with ${child.exitCode}:\n${this.#log}`);
      return await fetch(`${this.admin}/readyz`).then(
        (answer) => answer.ok,
        () => false,
      );
    });
  }

  /** What it has logged. */
  get log(): string {
    return this.#log;
  }

  /** Ends it without warning. */
  async kill(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill(signal);
    await ended;
  }

  /** An agent's client, on the proxy listener. */
  agent(options: HoldpointOptions = {}, id = "bot"): Holdpoint {
    return new Holdpoint({ url: `${this.proxy}/_holdpoint`, token: token(id), ...options });
  }

  /** A reviewer's client. */
  reviewer(id = "alice"): Holdpoint {
    return new Holdpoint({ url: this.admin, token: token(id) });
  }

  /** All approvals there are, of any status. */
  async all(): Promise<Awaited<ReturnType<Holdpoint["list"]>>["approvals"]> {
    return (await this.reviewer().list({ sort: "oldest" })).approvals;
  }

  /** The one pending approval, once there is one. */
  async pending(): Promise<string> {
    return await until("an approval is pending", async () => {
      const { approvals } = await this.reviewer().list({ status: "pending" });
      return approvals.length === 1 ? approvals[0]?.id : undefined;
    });
  }
}

/** What a promise was rejected with. */
export async function failure(work: Promise<unknown>): Promise<unknown> {
  let result: unknown;
  try {
    result = await work;
  } catch (error) {
    return error;
  }
  throw new Error(`it was not rejected: ${JSON.stringify(result)}`);
}

/** That, as an instance of a class. */
export async function failureOf<T>(kind: abstract new (...given: never[]) => T, work: Promise<unknown>): Promise<T> {
  const error = await failure(work);
  if (error instanceof kind) return error;
  throw new Error(`expected ${kind.name}`, { cause: error });
}
