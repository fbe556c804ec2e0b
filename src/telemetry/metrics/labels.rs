//! The label values: enums, so that nothing from the network can become one.

use crate::domain::approval::Status;
use crate::domain::time::Timestamp;

/// Writes an enum of label values with `ALL` and `as_str`.
macro_rules! labels {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident => $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_meta])* $variant,)+ }

        impl $name {
            /// Every value, in the order of the variants.
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];

            /// The value of the label.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text,)+ }
            }
        }
    };
}

labels! {
    /// What policy said.
    Verdict {
        /// Let through.
        Allowed => "ALLOWED",
        /// Refused.
        Blocked => "BLOCKED",
        /// Let through and written down.
        Audit => "AUDIT",
        /// Parked.
        WaitingForApproval => "WAITING_FOR_APPROVAL",
    }
}

labels! {
    /// Whether a rule acted.
    Mode {
        /// It did.
        Enforce => "enforce",
        /// It only recorded what it would have done.
        Shadow => "shadow",
    }
}

labels! {
    /// Why input was refused before policy.
    RejectReason {
        /// A key twice in one object.
        DuplicateKey => "duplicate_key",
        /// A key that another reader could take for a reserved one.
        ConfusableKey => "confusable_key",
        /// Not one strict JSON document.
        BadJson => "bad_json",
        /// A JSON-RPC batch.
        Batch => "batch",
        /// MCP headers that contradict the body.
        HeaderMismatch => "header_mismatch",
        /// Length or transfer coding that two readers could read differently.
        Framing => "framing",
        /// A target that is not in its canonical form.
        Path => "path",
        /// Body or headers over their limit.
        TooLarge => "too_large",
        /// JSON nested over its limit.
        TooDeep => "too_deep",
        /// The rest of a request that did not come in time.
        Timeout => "timeout",
        /// A content type or coding that policy cannot read.
        MediaType => "media_type",
        /// A method that is not served.
        Method => "method",
        /// Host missing, doubled or malformed.
        Host => "host",
        /// A web page of elsewhere, without a credential.
        CrossSite => "cross_site",
        /// A header or field that would change the method.
        MethodOverride => "method_override",
        /// No credential, or one that is not known.
        Unauthenticated => "unauthenticated",
        /// A header that may not be sent.
        Header => "header",
        /// No route for the path.
        NoRoute => "no_route",
        /// A tool name outside the accepted characters.
        ToolName => "tool_name",
        /// A body where the method has none.
        BodyNotAllowed => "body_not_allowed",
    }
}

labels! {
    /// Who asked for an approval.
    Source {
        /// A call through the proxy.
        Proxy => "proxy",
        /// The API.
        Sdk => "sdk",
    }
}

labels! {
    /// How an approval was closed.
    ClosedAs {
        /// A reviewer approved.
        Approved => "approved",
        /// A reviewer rejected.
        Rejected => "rejected",
        /// Nobody decided in time.
        Expired => "expired",
        /// Taken back.
        Cancelled => "cancelled",
    }
}

labels! {
    /// Whether a decision came within its SLA.
    SlaOutcome {
        /// In time.
        Met => "met",
        /// Late.
        Breached => "breached",
        /// Never.
        Expired => "expired",
    }
}

labels! {
    /// What a reviewer decided.
    DecisionLabel {
        /// Approve.
        Approved => "approved",
        /// Reject.
        Rejected => "rejected",
    }
}

labels! {
    /// Whether a decision was one of several at once.
    Batch {
        /// One approval.
        Single => "single",
        /// A bulk decision.
        Bulk => "bulk",
    }
}

labels! {
    /// What a release did.
    ReleaseOutcome {
        /// The upstream answered.
        Succeeded => "succeeded",
        /// Nothing was sent.
        Failed => "failed",
        /// Nobody knows.
        Unknown => "unknown",
    }
}

labels! {
    /// How a request to an upstream ended, as far as its response head.
    UpstreamOutcome {
        /// With a response.
        Answered => "answered",
        /// Nothing was sent.
        NotSent => "not_sent",
        /// The connection was lost after something may have been sent.
        Lost => "lost",
        /// No response in time.
        TimedOut => "timed_out",
    }
}

labels! {
    /// What was found that must never be.
    Violation {
        /// The call about to be sent is not the one that was approved.
        FingerprintMismatch => "fingerprint_mismatch",
        /// A permit was presented twice.
        PermitReused => "permit_reused",
        /// A record of the audit trail does not follow from the one before.
        AuditChain => "audit_chain",
        /// The store holds what it must not.
        StoreCorrupt => "store_corrupt",
    }
}

labels! {
    /// What was asked of the store.
    StoreOperation {
        /// Park a call.
        Park => "park",
        /// Apply a command to an approval.
        Apply => "apply",
        /// Record the end of a release.
        Finish => "finish",
        /// Write a record of the trail.
        Record => "record",
        /// Read one approval, request, result or session.
        Read => "read",
        /// Read a page of approvals.
        List => "list",
        /// Read what is due, ready, or the queue's figures.
        Sweep => "sweep",
        /// Read the trail.
        Audit => "audit",
        /// Open or close a session.
        Session => "session",
        /// List, accept or read tool definitions.
        Tools => "tools",
        /// Recover, forget, check, measure.
        Maintain => "maintain",
    }
}

labels! {
    /// How somebody tried to get at the admin listener.
    AuthMethod {
        /// Without any credential.
        None => "none",
        /// A bearer token.
        Token => "token",
        /// A session cookie.
        Session => "session",
        /// A one-time link.
        Link => "link",
        /// A form without its token, or from another site.
        Csrf => "csrf",
    }
}

labels! {
    /// Which of the two listeners.
    ListenerName {
        /// What agents reach.
        Proxy => "proxy",
        /// What reviewers reach.
        Admin => "admin",
    }
}

impl ClosedAs {
    /// The result of an approval in this state; `None` while pending.
    #[must_use]
    pub const fn of(status: Status) -> Option<Self> {
        match status {
            Status::Pending => None,
            Status::Approved => Some(ClosedAs::Approved),
            Status::Rejected => Some(ClosedAs::Rejected),
            Status::Expired => Some(ClosedAs::Expired),
            Status::Cancelled => Some(ClosedAs::Cancelled),
        }
    }
}

impl SlaOutcome {
    /// Whether an approval that was due at `sla_at` and closed at `at` kept its SLA; `None` for one that was taken back,
    /// which nobody had to decide any more.
    #[must_use]
    pub fn of(result: ClosedAs, sla_at: Timestamp, at: Timestamp) -> Option<Self> {
        match result {
            ClosedAs::Approved | ClosedAs::Rejected if at <= sla_at => Some(SlaOutcome::Met),
            ClosedAs::Approved | ClosedAs::Rejected => Some(SlaOutcome::Breached),
            ClosedAs::Expired => Some(SlaOutcome::Expired),
            ClosedAs::Cancelled => None,
        }
    }
}
