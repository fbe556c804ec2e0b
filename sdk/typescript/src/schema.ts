// Generated from openapi.json by scripts/generate.mjs; `npm run generate` writes it anew.

export interface paths {
    "/v1/approvals": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The queue and the history. */
        get: operations["listApprovals"];
        put?: never;
        /** Ask for approval of an action that is no proxied call. `Idempotency-Key` makes it safe to repeat. */
        post: operations["createApproval"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/approvals/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** One approval: an agent sees its own, without its reviewers; a reviewer sees all of any. */
        get: operations["readApproval"];
        put?: never;
        /** Approve or reject. The first decision stands; the same one by the same reviewer again is answered like the first. */
        post: operations["decideApproval"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/approvals/{id}/cancel": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Take one's own pending approval back. */
        post: operations["cancelApproval"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/approvals/{id}/resolve": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Settle an unknown outcome: the call ran, or it did not. */
        post: operations["resolveApproval"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/approvals/{id}/result": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The upstream's answer to a detached call, with its status, headers and body. */
        get: operations["readResult"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/approvals/{id}/timeline": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Every event of one approval, oldest first. */
        get: operations["readTimeline"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/approvals/bulk-decide": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Decide many approvals, each for itself. Critical risk is left out. */
        post: operations["bulkDecide"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/approvals/stats": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The queue in figures. */
        get: operations["readStats"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /** @description An approval as reviewers see it. */
        Approval: {
            /** @description Who asks. */
            agent: string;
            /** @description Who must approve. */
            approvers: components["schemas"]["Slot"][];
            /** @description Whether the caller still waits. */
            caller: components["schemas"]["Caller"];
            /** @description When it was closed. */
            decided_at: string | null;
            /** @description Who closed it, when, by what way; null while pending. */
            decided_by: components["schemas"]["DecidedBy"] | null;
            /** @description When it expires undecided. */
            expires_at: string;
            /** @description Until when a retry of the same call may use the approval; null unless approved. */
            grant_expires_at: string | null;
            /** @description The id. */
            id: string;
            /** @description The input, redacted, digits and order as sent. */
            input: unknown;
            /**
             * @description `call` or `action`.
             * @enum {string}
             */
            kind: "call" | "action";
            /** @description The HTTP method of a call. */
            method: string | null;
            /** @description The tool, or the action. */
            name: string;
            /** @description What became of the held call; null for an action. */
            outcome: components["schemas"]["Outcome"] | null;
            /**
             * Format: uint64
             * @description Length of the raw payload in bytes.
             */
            payload_bytes: number;
            /** @description SHA-256 of the payload that was asked about. */
            payload_sha256: string;
            /** @description The policy revision that parked it. */
            policy_revision: string;
            /** @description What the reviewer or the policy said. */
            reason: string | null;
            /** @description `attached` or `detached`; null for an action. */
            release: string | null;
            /** @description When it was asked. */
            requested_at: string;
            /** @description Who settled an unknown outcome; null unless somebody did. */
            resolution: components["schemas"]["Resolution"] | null;
            /**
             * @description `low`, `medium`, `high` or `critical`.
             * @enum {string}
             */
            risk: "low" | "medium" | "high" | "critical";
            /** @description The rule that parked it; `api` for an action. */
            rule: string;
            /** @description The rule's reason. */
            rule_reason: string | null;
            /**
             * @description `ok`, `due_soon`, `breached` or `expired`.
             * @enum {string}
             */
            sla: "ok" | "due_soon" | "breached" | "expired";
            /** @description From when on a decision is late. */
            sla_at: string | null;
            /** @description The revision since which its rule is another; null while it is not. */
            stale_since: string | null;
            /**
             * @description `pending`, `approved`, `rejected`, `expired` or `cancelled`.
             * @enum {string}
             */
            status: "pending" | "approved" | "rejected" | "expired" | "cancelled";
            /** @description Who is still needed; empty once it is closed. */
            still_needed: components["schemas"]["Slot"][];
            /** @description One line. */
            summary: string;
            /** @description Path and query of a call. */
            target: string | null;
            /** @description The trace. */
            trace_id: string | null;
            /** @description The upstream of a call. */
            upstream: string | null;
            /** @description Approving votes so far. */
            votes: components["schemas"]["Vote"][];
        };
        /** @description A page of the queue or the history. */
        ApprovalList: {
            /** @description At most `limit`. */
            approvals: components["schemas"]["Approval"][];
            /** @description Send it as `cursor`, with the same filters, for the next page; null at the end. */
            next_cursor: string | null;
        };
        /** @description A page of the trail. */
        AuditPage: {
            /**
             * Format: uint64
             * @description Send it as `after` for the next page; null when there are no more.
             */
            next_after: number | null;
            /** @description Oldest first. */
            records: components["schemas"]["RecordView"][];
        };
        /** @description What a bulk decision came to, in the order of the ids. */
        BulkAnswer: {
            /** @description One line for each id. */
            results: components["schemas"]["BulkLine"][];
        };
        /** @description One decision on many approvals. */
        BulkDecide: {
            /** @description What is decided on each. */
            decision: components["schemas"]["Decision"];
            /** @description The approvals: 1 to 200, each once. */
            ids: string[];
            /**
             * @description The reason for each: at most 2 000 characters.
             * @default null
             */
            reason?: string | null;
        };
        /** @description One line of a bulk decision. */
        BulkLine: {
            /** @description Why, where it is not `decided`. */
            detail: string | null;
            /** @description The id as it was sent. */
            id: string;
            /** @description What became of it. */
            result: components["schemas"]["BulkResult"];
            /** @description The approval's status now. */
            status: string | null;
        };
        /** @description What became of one approval in a bulk decision. */
        BulkResult: "decided" | "already_decided" | "expired" | "forbidden" | "not_found" | "unavailable";
        /** @description Whether anybody waits for the answer. */
        Caller: {
            /** @description When the last of them left. */
            left_at: string | null;
            /**
             * Format: uint32
             * @description Live requests that wait.
             */
            waiting: number;
        };
        /** @description Takes a pending approval back. */
        Cancel: {
            /**
             * @description Why: at most 2 000 characters.
             * @default null
             */
            reason?: string | null;
        };
        /** @description Asks for approval of an action that is no proxied call. */
        CreateApproval: {
            /** @description What is to be done: 1 to 256 characters. */
            action: string;
            /**
             * @description What a reviewer needs to know: any JSON value, shown with its digits and order as sent.
             * @default null
             */
            context?: unknown;
            /**
             * @description How long it stays open, such as `30m`; an hour when left out, at most seven days.
             * @default null
             */
            expires_in?: string | null;
            /**
             * @description The trace it belongs to, at most 128 characters; without it, the one in `traceparent`.
             * @default null
             */
            trace_id?: string | null;
        };
        /** @description A decision. */
        Decide: {
            /** @description What is decided. */
            decision: components["schemas"]["Decision"];
            /**
             * @description The payload hash that the reviewer saw; the decision is refused when it is not the one that is held.
             * @default null
             */
            payload_sha256?: string | null;
            /**
             * @description For the caller and the trail: at most 2 000 characters.
             * @default null
             */
            reason?: string | null;
        };
        /** @description Who closed an approval. */
        DecidedBy: {
            /** @description When. */
            at: string;
            /** @description `api` or `dashboard`; null unless a reviewer. */
            channel: string | null;
            /** @description The reviewer's id. */
            id: string | null;
            /** @description `reviewer`, `agent`, `policy`, `operator` or `gateway`. */
            kind: string;
            /** @description Why. */
            reason: string | null;
        };
        /** @description What a reviewer decides. */
        Decision: "approved" | "rejected";
        /** @description What became of a held call. */
        Outcome: {
            /** @description Since when; null while held. */
            at: string | null;
            /** @description What was seen, where it failed or is unknown. */
            detail: string | null;
            /** @description What an unknown outcome was found to be. */
            resolved: components["schemas"]["ResolvedOutcome"] | null;
            /** @description Whether the same call may be tried again under this approval; null unless it failed. */
            retry_allowed: boolean | null;
            /**
             * @description `held`, `releasing`, `succeeded`, `failed`, `unknown` or `resolved`.
             * @enum {string}
             */
            state: "held" | "releasing" | "succeeded" | "failed" | "unknown" | "resolved";
            /**
             * Format: uint16
             * @description The upstream's status, where it answered.
             */
            upstream_status: number | null;
        };
        /** @description Pending approvals of one rule and risk. */
        PendingByRule: {
            /**
             * Format: uint64
             * @description How many.
             */
            pending: number;
            /** @description The risk. */
            risk: string;
            /** @description The rule. */
            rule: string;
        };
        /** @description What went wrong. `docs/reference/problems.md` has a section for each code. */
        Problem: {
            /** @enum {string} */
            code: "blocked" | "rejected" | "expired" | "cancelled" | "approval_pending" | "already_released" | "idempotency_key_reused" | "queue_full" | "too_many_attempts" | "too_many_streams" | "store_unavailable" | "draining" | "internal" | "upstream_unreachable" | "outcome_unknown" | "upstream_timeout" | "result_too_large" | "tools_refused" | "definition_changed" | "unauthenticated" | "forbidden" | "cross_site" | "not_found" | "no_route" | "method_not_allowed" | "method_not_implemented" | "invalid_request" | "already_decided" | "payload_mismatch" | "not_unknown" | "no_result" | "duplicate_key" | "confusable_key" | "bad_json" | "too_deep" | "too_large" | "headers_too_large" | "unsupported_media_type" | "body_not_allowed" | "path" | "target_too_long" | "expectation_failed" | "version_not_supported" | "framing" | "host" | "method_override" | "tool_name" | "batch" | "invalid_message" | "header_mismatch" | "request_timeout" | "body_incomplete";
            /** @description What is wrong with this very request, and what to do. */
            detail: string;
            /** @description Whether the same request may be sent again and may then succeed. */
            retryable: boolean;
            status: number;
            title: string;
            /** Format: uri */
            type: string;
        };
        /** @description An approval as the agent that asked sees it. */
        PublicApproval: {
            /** @description When it was closed. */
            decided_at: string | null;
            /** @description When it expires undecided. */
            expires_at: string;
            /** @description The id. */
            id: string;
            /**
             * @description `call` or `action`.
             * @enum {string}
             */
            kind: "call" | "action";
            /** @description The tool, or the action. */
            name: string;
            /** @description What became of the held call; null for an action. */
            outcome: components["schemas"]["Outcome"] | null;
            /** @description SHA-256 of the payload that was asked about. */
            payload_sha256: string;
            /** @description What the reviewer or the policy said. */
            reason: string | null;
            /** @description When it was asked. */
            requested_at: string;
            /**
             * @description `low`, `medium`, `high` or `critical`.
             * @enum {string}
             */
            risk: "low" | "medium" | "high" | "critical";
            /** @description The rule that parked it; `api` for an action. */
            rule: string;
            /** @description The rule's reason. */
            rule_reason: string | null;
            /**
             * @description `pending`, `approved`, `rejected`, `expired` or `cancelled`.
             * @enum {string}
             */
            status: "pending" | "approved" | "rejected" | "expired" | "cancelled";
            /** @description The trace. */
            trace_id: string | null;
        };
        /** @description A record of the trail. */
        RecordView: {
            /** @description The event: the bytes between `"event":` and `,"previous":` are the ones that were hashed. */
            event: unknown;
            /** @description SHA-256 over the previous hash, the place as eight bytes big-endian, and the event's bytes. */
            hash: string;
            /** @description The hash of the record before, in hexadecimal; 64 zeros for the first. */
            previous: string;
            /**
             * Format: uint64
             * @description Its place: counts from 1 without gaps.
             */
            seq: number;
        };
        /** @description How an unknown outcome was settled. */
        Resolution: {
            /** @description When. */
            at: string;
            /** @description By whom. */
            by: string;
            /** @description How. */
            note: string;
            /** @description What was found. */
            outcome: components["schemas"]["ResolvedOutcome"];
        };
        /** @description Settles an unknown outcome. */
        Resolve: {
            /** @description How: 1 to 2 000 characters. */
            note: string;
            /** @description What was found. */
            outcome: components["schemas"]["ResolvedOutcome"];
        };
        /** @description What an unknown outcome was found to be. */
        ResolvedOutcome: "committed" | "not_committed";
        /** @description Approvals that are needed. */
        Slot: {
            /**
             * Format: uint32
             * @description How many distinct people.
             */
            count: number;
            /** @description The group; null for any reviewer. */
            group: string | null;
        };
        /** @description The queue in figures. */
        Stats: {
            /** @description Pending by rule and risk. */
            by_rule: components["schemas"]["PendingByRule"][];
            /** @description The server's clock. */
            now: string;
            /** @description When the oldest pending one was created. */
            oldest_pending_at: string | null;
            /**
             * Format: uint64
             * @description Pending past their SLA.
             */
            overdue: number;
            /**
             * Format: uint64
             * @description Pending approvals.
             */
            pending: number;
        };
        /** @description An approving vote. */
        Vote: {
            /** @description When. */
            at: string;
            /** @description Who. */
            by: string;
            /** @description `api` or `dashboard`. */
            channel: string;
            /** @description In which groups at that time. */
            groups: string[];
            /** @description What was said. */
            reason: string | null;
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
    listApprovals: {
        parameters: {
            query?: {
                /** @description The agent, whole. */
                agent?: string;
                /** @description The `next_cursor` of an earlier answer to the same filters. */
                cursor?: string;
                /** @description At most so many; 50 when left out. */
                limit?: number;
                /** @description Text in the name, the summary, the agent or the preview, in any case. */
                q?: string;
                /** @description The risk. */
                risk?: "low" | "medium" | "high" | "critical";
                /** @description The rule, whole. */
                rule?: string;
                /** @description Asked at or after. */
                since?: string;
                /** @description The SLA state at this moment. */
                sla?: "ok" | "due_soon" | "breached" | "expired";
                /** @description `newest` first when left out. */
                sort?: "newest" | "oldest";
                /** @description One or several, with commas between; any when left out. */
                status?: string;
                /** @description The tool or the action, whole. */
                tool?: string;
                /** @description The trace, whole. */
                trace_id?: string;
                /** @description Asked before. */
                until?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ApprovalList"];
                };
            };
            /** @description `invalid_request` */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `unauthenticated` */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `forbidden` */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `store_unavailable` */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    createApproval: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["CreateApproval"];
            };
        };
        responses: {
            /** @description The approval; `Location` is where to follow it. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PublicApproval"];
                };
            };
            /** @description `bad_json`, `duplicate_key`, `invalid_request` */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `unauthenticated` */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `forbidden` */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `too_large` */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `idempotency_key_reused` */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `queue_full` */
            429: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `store_unavailable` */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    readApproval: {
        parameters: {
            query?: {
                /** @description Wait until it is decided and, for a held call, finished; at most `limits.wait_max`. `Prefer: wait=25` does the same. */
                wait?: string;
            };
            header?: never;
            path: {
                /** @description The approval's id. */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The approval; for reviewers with the members of `Approval`. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PublicApproval"];
                };
            };
            /** @description `invalid_request` */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `unauthenticated` */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `forbidden` */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `not_found` */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `store_unavailable` */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    decideApproval: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The approval's id. */
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Decide"];
            };
        };
        responses: {
            /** @description The approval, decided, or still pending for want of more approvals. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Approval"];
                };
            };
            /** @description `invalid_request` */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `unauthenticated` */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `forbidden` */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `not_found` */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `already_decided`, `payload_mismatch` */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `store_unavailable` */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    cancelApproval: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The approval's id. */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                "application/json": components["schemas"]["Cancel"];
            };
        };
        responses: {
            /** @description The approval, cancelled. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PublicApproval"];
                };
            };
            /** @description `invalid_request` */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `unauthenticated` */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `forbidden` */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `not_found` */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `already_decided` */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `store_unavailable` */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    resolveApproval: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The approval's id. */
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Resolve"];
            };
        };
        responses: {
            /** @description The approval, its outcome resolved. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Approval"];
                };
            };
            /** @description `invalid_request` */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `unauthenticated` */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `forbidden` */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `not_found` */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `not_unknown` */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `store_unavailable` */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    readResult: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The approval's id. */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The upstream's answer; its own status stands in place of 200. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "*/*": unknown;
                };
            };
            /** @description `unauthenticated` */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `forbidden` */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `not_found` */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `no_result` */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `result_too_large` */
            502: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `store_unavailable` */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    readTimeline: {
        parameters: {
            query?: {
                /** @description Only records behind this sequence number. */
                after?: number;
                /** @description At most so many records; 100 when left out. */
                limit?: number;
            };
            header?: never;
            path: {
                /** @description The approval's id. */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Its records in the audit trail. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AuditPage"];
                };
            };
            /** @description `invalid_request` */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `unauthenticated` */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `forbidden` */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `not_found` */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `store_unavailable` */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    bulkDecide: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["BulkDecide"];
            };
        };
        responses: {
            /** @description One result for each id, in their order. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["BulkAnswer"];
                };
            };
            /** @description `invalid_request` */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `unauthenticated` */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `forbidden` */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `store_unavailable` */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    readStats: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The figures. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Stats"];
                };
            };
            /** @description `unauthenticated` */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `forbidden` */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `store_unavailable` */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
}
