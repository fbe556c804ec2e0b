/**
 * The API's documents under their own names, as the server's OpenAPI document describes them. Members are in the API's spelling;
 * times are RFC 3339 texts in UTC.
 */

import type { components, operations } from "./schema.js";

type Schemas = components["schemas"];

/** An approval as the agent that asked sees it. */
export type PublicApproval = Schemas["PublicApproval"];

/** An approval as reviewers see it: all of {@link PublicApproval}, and the input, the votes, who decided and how. */
export type Approval = Schemas["Approval"];

/** `pending`, `approved`, `rejected`, `expired` or `cancelled`. */
export type Status = PublicApproval["status"];

/** `approved` or `rejected`. */
export type Decision = Schemas["Decision"];

/** `committed` (the call ran) or `not_committed`. */
export type ResolvedOutcome = Schemas["ResolvedOutcome"];

/** A page of the queue or the history. */
export type ApprovalList = Schemas["ApprovalList"];

/** What a bulk decision came to: one line for each id, in their order. */
export type BulkAnswer = Schemas["BulkAnswer"];

/** What became of one approval in a bulk decision. */
export type BulkLine = Schemas["BulkLine"];

/** A page of the audit trail. */
export type AuditPage = Schemas["AuditPage"];

/** The queue in figures. */
export type Stats = Schemas["Stats"];

/** An RFC 9457 problem document. */
export type Problem = Schemas["Problem"];

/** The filters of the list, in the API's spelling. */
export type ListQuery = NonNullable<operations["listApprovals"]["parameters"]["query"]>;
