//! Quorum, SLA and expiry.
