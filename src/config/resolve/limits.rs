//! `limits`: each within its range, and none that another makes unreachable.

use super::{Context, at};
use crate::config::diagnostic::Code;
use crate::config::model::limits::LimitsModel;
use crate::config::model::values::ByteSize;
use crate::config::settings::Limits;

/// The least request head that an HTTP/1 connection can be limited to.
const HEADER_BYTES_LEAST: u64 = 8 * 1024;
/// The most: every open connection may hold one.
const HEADER_BYTES_MOST: u64 = 1024 * 1024;
/// The longest wait that may be granted; longer ones outlive any connection.
const WAIT_SECONDS_MOST: u64 = 60 * 60;

pub(in crate::config) fn limits(context: &mut Context<'_>, model: &LimitsModel) -> Limits {
    let header = model.header_bytes_max.0.0;
    if !(HEADER_BYTES_LEAST..=HEADER_BYTES_MOST).contains(&header) {
        let at = at!["limits", "header_bytes_max"];
        context.error(&at, Code::BadValue, "`header_bytes_max` is out of range", "write a size from 8KiB to 1MiB");
    }
    if model.wait_max.0.as_secs() > WAIT_SECONDS_MOST {
        let at = at!["limits", "wait_max"];
        context.error(&at, Code::BadValue, "`wait_max` is out of range", "write a duration up to `1h`");
    }
    if model.body_bytes_max.0 > model.held_bytes_max.0 {
        let at = at!["limits", "body_bytes_max"];
        let message = "`body_bytes_max` is above `held_bytes_max`, so a body that is accepted could never be held";
        context.error(&at, Code::Conflict, message, "raise `held_bytes_max` or lower `body_bytes_max`");
    }
    if model.pending_per_agent_max > model.pending_total_max {
        let at = at!["limits", "pending_per_agent_max"];
        let message = "`pending_per_agent_max` is above `pending_total_max`, so it could never be reached";
        context.error(&at, Code::Conflict, message, "raise `pending_total_max` or lower `pending_per_agent_max`");
    }
    Limits {
        body_bytes_max: size(model.body_bytes_max.0),
        header_bytes_max: size(model.header_bytes_max.0),
        pending_per_agent_max: count(model.pending_per_agent_max),
        pending_total_max: count(model.pending_total_max),
        held_bytes_max: size(model.held_bytes_max.0),
        connections_max: count(model.connections_max),
        response_bytes_max: size(model.response_bytes_max.0),
        wait_max: model.wait_max.0,
    }
}

/// On a machine whose addresses are narrower than the size, the limit is the machine's.
fn size(bytes: ByteSize) -> usize {
    usize::try_from(bytes.0).unwrap_or(usize::MAX)
}

fn count(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
