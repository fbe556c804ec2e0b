// deploy.ts VERSION: puts a build live once a human has approved it.

import { access, rename, symlink } from "node:fs/promises";
import { ApprovalError, requireApproval } from "@holdpoint/client";

const version = process.argv[2];
if (version === undefined || !/^\d+\.\d+\.\d+$/.test(version)) {
  console.error("usage: deploy VERSION, such as 1.4.2");
  process.exit(2);
}

// Ctrl-C takes the question back: nobody decides about a deployment that will not happen.
const stop = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.abort(new Error(`stopped by ${signal}`)));

try {
  await access(`builds/${version}`);
  const approval = await requireApproval("deploy shop", {
    context: { version, build: `builds/${version}` },
    timeoutMs: 15 * 60 * 1000,
    signal: stop.signal,
    onPending: ({ id }) => console.log(`waiting for approval ${id}`),
  });
  // A link that is renamed over the old one: there is no moment without a version.
  await symlink(`builds/${version}`, "current.new");
  await rename("current.new", "current");
  console.log(`deployed ${version}, approved as ${approval.id}: ${approval.reason ?? "no comment"}`);
} catch (error) {
  console.error(`not deployed: ${error instanceof Error ? error.message : String(error)}`);
  // 3: a human (or nobody) decided so. 1: something broke.
  process.exitCode = error instanceof ApprovalError ? 3 : 1;
}
