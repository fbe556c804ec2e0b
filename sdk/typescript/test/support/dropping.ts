// A wire that loses answers: it passes connections on to the gateway and cuts the first few once the request is through.

import { connect, createServer } from "node:net";
import type { TestContext } from "node:test";

/** Where a connection is cut. */
export type Drop = "after the request" | "in the middle of the answer";

/** Cuts the first `count` connections that carry a request; those behind them pass untouched. */
export async function dropping(t: Pick<TestContext, "after">, target: string, drop: Drop, count: number) {
  const { hostname, port } = new URL(target);
  let dropped = 0;
  const server = createServer((near) => {
    const far = connect(Number(port), hostname);
    near.pipe(far);
    far.on("data", (bytes) => {
      if (dropped >= count) return near.write(bytes);
      dropped += 1;
      if (drop === "in the middle of the answer") near.write(bytes.subarray(0, bytes.length - 10));
      // The answer is there, so the gateway has done what it was asked.
      setImmediate(() => near.resetAndDestroy());
      return false;
    });
    near.on("close", () => far.destroy()).on("error", () => far.destroy());
    far.on("close", () => near.destroy()).on("error", () => near.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return { url: `http://127.0.0.1:${address.port}`, dropped: () => dropped };
}
