"""What is asked for, as the bytes that are sent and the hash that is approved."""

from __future__ import annotations

import hashlib
import json
import math
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from . import _config
from .errors import ApprovalMismatch, ConfigurationError
from .models import PublicApproval

#: Whatever JSON can say.
Json: TypeAlias = "Mapping[str, Any] | Sequence[Any] | str | int | float | bool | None"

ACTION_CHARS_MAX = 256
TRACE_ID_CHARS_MAX = 128
#: The longest time that the gateway keeps an approval open, in seconds.
EXPIRES_IN_MAX = 7 * 24 * 60 * 60


@dataclass(frozen=True)
class Ask:
    """A request for approval, fixed before anything is sent: every attempt sends the same bytes under the same key."""

    action: str
    key: str
    body: bytes = field(repr=False)
    payload_sha256: str

    def check(self, approval: PublicApproval) -> PublicApproval:
        """The approval, if it is the one that was asked for."""
        same = approval.kind == "action" and approval.name == self.action
        if not same or approval.payload_sha256 != self.payload_sha256:
            raise ApprovalMismatch(f"approval {approval.id} is about something else than {self.action!r} was asked for")
        return approval


def ask(
    action: str,
    context: Json = None,
    *,
    trace_id: str | None = None,
    expires_in: float | None = None,
    key: str | None = None,
) -> Ask:
    """Checks and fixes what is asked for. Without a key it gets one of its own."""
    if not action.strip() or len(action) > ACTION_CHARS_MAX:
        raise ConfigurationError("`action` must have 1 to 256 characters that are not all spaces")
    if trace_id is not None and len(trace_id) > TRACE_ID_CHARS_MAX:
        raise ConfigurationError("`trace_id` must have at most 128 characters")
    members: dict[str, Json] = {"action": action}
    if trace_id is not None:
        members["trace_id"] = trace_id
    if expires_in is not None:
        members["expires_in"] = f"{min(math.ceil(_config.seconds('expires_in', expires_in)), EXPIRES_IN_MAX)}s"
    body = encode(members)
    # The gateway hashes the context as it stands in the body. Left out, it is an empty object.
    payload = b"{}"
    if context is not None:
        payload = encode(context, "context")
        body = body[:-1] + b',"context":' + payload + b"}"
    return Ask(
        action=action,
        key=_config.idempotency_key(key) if key is not None else f"py-{uuid.uuid4()}",
        body=body,
        payload_sha256=hashlib.sha256(payload).hexdigest(),
    )


def encode(value: Json | Mapping[str, object], what: str = "the request") -> bytes:
    """JSON, or an error that says what is in the way."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_mapping)
        return text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        # The cause may quote the value; its words are kept, its frames are not.
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else _reason(error)
    raise ConfigurationError(f"`{what}` cannot be written as JSON: {reason}")


def _reason(error: Exception) -> str:
    return "it has text that is no Unicode" if isinstance(error, UnicodeError) else str(error)


def _mapping(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} is no JSON value")
