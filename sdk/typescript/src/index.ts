/**
 * The client of the Holdpoint approvals API: code asks, waits, and goes on only when a human approved.
 *
 * @packageDocumentation
 */

export type { Creation, RequireApprovalOptions, WaitOptions } from "./ask.js";
export {
  type CallOptions,
  type CreateOptions,
  type DecideOptions,
  Holdpoint,
  type ListOptions,
  requireApproval,
  type TimelineOptions,
} from "./client.js";
export {
  type ApiErrorFields,
  ApprovalCancelled,
  ApprovalError,
  ApprovalExpired,
  ApprovalRejected,
  ApprovalTimeout,
  type Fate,
  HoldpointApiError,
  HoldpointError,
  HoldpointProtocolError,
  HoldpointUnreachable,
  HoldpointUsageError,
} from "./errors.js";
export type { HoldpointOptions } from "./settings.js";
export type {
  Approval,
  ApprovalList,
  AuditPage,
  BulkAnswer,
  BulkLine,
  Decision,
  ListQuery,
  Problem,
  PublicApproval,
  ResolvedOutcome,
  Stats,
  Status,
} from "./types.js";
export { VERSION } from "./version.js";
