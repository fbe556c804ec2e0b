/**
 * Everything this package throws on its own account. One exception: an aborted signal rejects with the signal's own reason, as
 * `fetch` does.
 *
 * - {@link HoldpointError}
 *   - {@link ApprovalError}: no human approved. {@link ApprovalRejected}, {@link ApprovalExpired}, {@link ApprovalCancelled},
 *     {@link ApprovalTimeout}
 *   - {@link HoldpointApiError}: the gateway answered with a problem
 *   - {@link HoldpointUnreachable}: nobody answered for too long
 *   - {@link HoldpointProtocolError}: what answered is not a Holdpoint gateway
 *   - {@link HoldpointUsageError}: a setting is missing or an argument is out of range
 *
 * No error holds the token, and none holds the context that was asked about.
 */

import type { Problem, PublicApproval } from "./types.js";

/** The base of every error of this package. */
export class HoldpointError extends Error {
  static {
    HoldpointError.prototype.name = "HoldpointError";
  }
}

/**
 * The base of every way in which an approval was not given. Whatever it is, the action must not happen.
 */
export class ApprovalError extends HoldpointError {
  static {
    ApprovalError.prototype.name = "ApprovalError";
  }

  /** The approval as it was last seen; `undefined` when its creation was never confirmed. */
  readonly approval: PublicApproval | undefined;

  /** The approval's id; `undefined` when its creation was never confirmed. */
  readonly approvalId: string | undefined;

  constructor(message: string, approval: PublicApproval | undefined, approvalId = approval?.id) {
    super(message);
    this.approval = approval;
    this.approvalId = approvalId;
  }
}

/** A reviewer said no. */
export class ApprovalRejected extends ApprovalError {
  static {
    ApprovalRejected.prototype.name = "ApprovalRejected";
  }

  /** What the reviewer said; `null` when nothing was said. */
  readonly reason: string | null;

  constructor(approval: PublicApproval) {
    super(`${approval.id} was rejected${said(approval)}`, approval);
    this.reason = approval.reason;
  }
}

/** Nobody decided before the approval expired on the server. */
export class ApprovalExpired extends ApprovalError {
  static {
    ApprovalExpired.prototype.name = "ApprovalExpired";
  }

  constructor(approval: PublicApproval) {
    super(`${approval.id} expired: nobody decided before ${approval.expires_at}`, approval);
  }
}

/** The approval was withdrawn, by another run of the same agent or by policy. Not by this call: see {@link ApprovalTimeout}. */
export class ApprovalCancelled extends ApprovalError {
  static {
    ApprovalCancelled.prototype.name = "ApprovalCancelled";
  }

  /** Why it was withdrawn; `null` when nothing was said. */
  readonly reason: string | null;

  constructor(approval: PublicApproval) {
    super(`${approval.id} was cancelled${said(approval)}`, approval);
    this.reason = approval.reason;
  }
}

const FATES = {
  withdrawn: "it was withdrawn",
  unconfirmed: "the gateway did not confirm that it was withdrawn",
  "left open": "it is still open",
} as const;

/** What became of an approval whose caller's time was over. */
export type Fate = keyof typeof FATES;

/** Nobody decided within `timeoutMs`. */
export class ApprovalTimeout extends ApprovalError {
  static {
    ApprovalTimeout.prototype.name = "ApprovalTimeout";
  }

  /** How long was waited, in milliseconds. */
  readonly timeoutMs: number;

  /**
   * Whether the approval is known to be withdrawn on the server. `false`: a reviewer may still see it until it expires. From
   * `requireApproval` that means that the gateway did not confirm the withdrawal, and a later decision has no effect; `wait` never
   * withdraws.
   */
  readonly withdrawn: boolean;

  constructor(timeoutMs: number, fate: Fate, approval: PublicApproval | undefined, approvalId = approval?.id) {
    const what = approvalId ?? "the approval";
    super(`${what} was not decided within ${timeoutMs} ms; ${FATES[fate]}`, approval, approvalId);
    this.timeoutMs = timeoutMs;
    this.withdrawn = fate === "withdrawn";
  }
}

/** The gateway answered with a problem that repeating cannot help, or that did not pass in time. */
export class HoldpointApiError extends HoldpointError {
  static {
    HoldpointApiError.prototype.name = "HoldpointApiError";
  }

  /** The HTTP status. */
  readonly status: number;

  /** The stable code, such as `not_found`; `undefined` when what answered sent no problem document (a proxy in between). */
  readonly code: string | undefined;

  /** Whether the same request may be sent again without harm and may then succeed. */
  readonly retryable: boolean;

  /** After how many milliseconds to come back, where the answer said so. */
  readonly retryAfterMs: number | undefined;

  /** The request's id in the gateway's log, where there is one. */
  readonly requestId: string | undefined;

  /** The whole problem document (RFC 9457), where there is one. */
  readonly problem: Problem | undefined;

  constructor(message: string, answer: ApiErrorFields) {
    super(message);
    this.status = answer.status;
    this.code = answer.problem?.code;
    this.retryable = answer.retryable;
    this.retryAfterMs = answer.retryAfterMs;
    this.requestId = answer.requestId;
    this.problem = answer.problem;
  }
}

/** What an {@link HoldpointApiError} is made of. */
export interface ApiErrorFields {
  /** The HTTP status. */
  status: number;
  /** Whether repeating is safe and may help. */
  retryable: boolean;
  /** `Retry-After`, in milliseconds. */
  retryAfterMs: number | undefined;
  /** `Holdpoint-Request-Id`. */
  requestId: string | undefined;
  /** The body, where it is a problem document. */
  problem: Problem | undefined;
}

/** No answer came from the gateway for longer than was to be waited. */
export class HoldpointUnreachable extends HoldpointError {
  static {
    HoldpointUnreachable.prototype.name = "HoldpointUnreachable";
  }

  /** How often it was tried. */
  readonly attempts: number;

  constructor(url: string, attempts: number, last: string) {
    super(`${url} did not answer (tries: ${attempts}; the last one: ${last})`);
    this.attempts = attempts;
  }
}

/** Something answered, and not as the approvals API does. Most often the URL is another service's. */
export class HoldpointProtocolError extends HoldpointError {
  static {
    HoldpointProtocolError.prototype.name = "HoldpointProtocolError";
  }
}

/** A setting is missing or an argument is out of range. Nothing was sent. */
export class HoldpointUsageError extends HoldpointError {
  static {
    HoldpointUsageError.prototype.name = "HoldpointUsageError";
  }
}

function said(approval: PublicApproval): string {
  return approval.reason === null ? "" : `: ${approval.reason}`;
}
