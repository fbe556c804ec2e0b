//! The fingerprint of a call: what an approval is bound to.
//!
//! SHA-256 over the raw parts, each framed by its length, behind a version tag. Raw, because any canonical form of JSON
//! folds values together that differ (2^53 and its neighbour); framed, so that no part can run into the next.

use crate::domain::call::Fingerprint;
use sha2::{Digest as _, Sha256};

/// Set apart from every other digest; a change to the framing takes a new tag.
const TAG: &[u8] = b"holdpoint.call.v1";
/// Marks of an absent and a present body: no body and an empty one are different calls.
const BODY_ABSENT: &[u8] = &[0];
const BODY_PRESENT: &[u8] = &[1];

/// The parts of a call that an approval binds, as they were received and judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallParts<'a> {
    /// The authenticated caller.
    pub agent: &'a str,
    /// The upstream's configured name.
    pub upstream: &'a str,
    /// The tool's name.
    pub tool: &'a str,
    /// The HTTP method.
    pub method: &'a str,
    /// Path and query, as sent upstream.
    pub target: &'a str,
    /// The raw body; `None` when the request carried none at all.
    pub body: Option<&'a [u8]>,
}

/// Digests the parts of a call. Equal exactly when every part is equal byte for byte.
pub fn fingerprint(call: &CallParts<'_>) -> Fingerprint {
    let mut digest = Sha256::new();
    for part in [TAG, call.agent.as_bytes(), call.upstream.as_bytes(), call.tool.as_bytes(), call.method.as_bytes()] {
        frame(&mut digest, part);
    }
    frame(&mut digest, call.target.as_bytes());
    match call.body {
        None => digest.update(BODY_ABSENT),
        Some(body) => {
            digest.update(BODY_PRESENT);
            frame(&mut digest, body);
        }
    }
    Fingerprint(digest.finalize().into())
}

fn frame(digest: &mut Sha256, part: &[u8]) {
    digest.update((part.len() as u64).to_be_bytes());
    digest.update(part);
}

#[cfg(test)]
mod tests {
    use super::{CallParts, fingerprint};
    use std::collections::HashMap;

    const CALL: CallParts<'_> = CallParts {
        agent: "support-bot",
        upstream: "payments",
        tool: "payments.refund",
        method: "POST",
        target: "/refunds?dry=0",
        body: Some(br#"{"amount":1}"#),
    };

    #[test]
    fn calls_that_differ_anywhere_have_different_fingerprints() {
        let mut calls = vec![
            CALL,
            CallParts { agent: "other-bot", ..CALL },
            CallParts { upstream: "payment", ..CALL },
            CallParts { tool: "payments.Refund", ..CALL },
            CallParts { method: "PUT", ..CALL },
            CallParts { target: "/refunds?dry=1", ..CALL },
            // Fields that run into each other when nothing frames them.
            CallParts { agent: "a|b", upstream: "c", ..CALL },
            CallParts { agent: "a", upstream: "b|c", ..CALL },
            CallParts { agent: "support-botpayments", upstream: "", ..CALL },
            CallParts { agent: "", upstream: "support-botpayments", ..CALL },
        ];
        let bodies: [Option<&[u8]>; 10] = [
            None,
            Some(b""),
            Some(b"null"),
            Some(b"{}"),
            Some(b" {}"),
            Some(b"1"),
            Some(b"1.0"),
            Some(b"\"1\""),
            Some(b"9007199254740992"),
            Some(b"9007199254740993"),
        ];
        calls.extend(bodies.map(|body| CallParts { body, ..CALL }));
        let mut seen = HashMap::new();
        for call in calls {
            if let Some(twin) = seen.insert(fingerprint(&call), call) {
                panic!("{call:?} and {twin:?} have one fingerprint");
            }
        }
    }

    #[test]
    fn the_same_call_keeps_its_fingerprint_across_versions() {
        // Stored approvals are matched by this value: it may change only together with the tag.
        assert_eq!(fingerprint(&CALL), fingerprint(&CALL.clone()));
        let hex: String = fingerprint(&CALL).0.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, EXPECTED);
    }

    /// Computed independently, from the framing that the module describes.
    const EXPECTED: &str = "1328427c6df16986208fefc3381fdd04de4d16525cb76697426adf8498d57fa1";
}
