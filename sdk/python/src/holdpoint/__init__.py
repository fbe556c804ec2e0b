"""Ask for a human's approval before code goes on.

>>> from holdpoint import require_approval
>>> approval = require_approval("deploy", {"service": "shop", "version": "1.4.2"})  # doctest: +SKIP

returns once a reviewer has approved, and raises in every other case. `HOLDPOINT_URL` and `HOLDPOINT_TOKEN` say where the gateway is and
who asks. `Holdpoint` and `AsyncHoldpoint` are the whole approvals API.
"""

from ._ask import Json
from ._async_client import AsyncHoldpoint
from ._client import Holdpoint
from ._require import require_approval, require_approval_async, requires_approval
from ._version import __version__
from .errors import (
    ApiError,
    ApprovalCancelled,
    ApprovalExpired,
    ApprovalMismatch,
    ApprovalRejected,
    ApprovalTimeout,
    ConfigurationError,
    GatewayError,
    GatewayUnreachable,
    HoldpointError,
    NotApproved,
    UnexpectedAnswer,
)
from .models import Approval, PublicApproval

__all__ = [
    "ApiError",
    "Approval",
    "ApprovalCancelled",
    "ApprovalExpired",
    "ApprovalMismatch",
    "ApprovalRejected",
    "ApprovalTimeout",
    "AsyncHoldpoint",
    "ConfigurationError",
    "GatewayError",
    "GatewayUnreachable",
    "Holdpoint",
    "HoldpointError",
    "Json",
    "NotApproved",
    "PublicApproval",
    "UnexpectedAnswer",
    "__version__",
    "require_approval",
    "require_approval_async",
    "requires_approval",
]
