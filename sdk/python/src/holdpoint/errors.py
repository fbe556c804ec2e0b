"""What can go wrong. Everything here is a `HoldpointError`; whoever catches that one and stops is safe.

* `NotApproved`: nobody approved, so do not go on. It is `ApprovalRejected`, `ApprovalExpired`, `ApprovalCancelled` or
  `ApprovalTimeout`.
* `ApprovalMismatch`: something was approved, and it is not what was asked for, or not any more.
* `GatewayError`: the gateway could not be asked, or refused to answer. It is `GatewayUnreachable`, `ApiError` or
  `UnexpectedAnswer`.
* `ConfigurationError`: the client was not told where the gateway is, or what it was told makes no sense.

No error carries a credential, and none carries the context that was sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .models import PublicApproval

__all__ = [
    "ApiError",
    "ApprovalCancelled",
    "ApprovalExpired",
    "ApprovalMismatch",
    "ApprovalRejected",
    "ApprovalTimeout",
    "ConfigurationError",
    "GatewayError",
    "GatewayUnreachable",
    "HoldpointError",
    "NotApproved",
    "UnexpectedAnswer",
]


class HoldpointError(Exception):
    """Whatever this package raises on purpose."""


class ConfigurationError(HoldpointError, ValueError):
    """The client cannot be built from what it was told; the message says what to set."""


class NotApproved(HoldpointError):
    """Nobody approved: do not go on."""

    #: The approval as it stood last; `None` when it is not known whether there is one.
    approval: PublicApproval | None

    @property
    def approval_id(self) -> str | None:
        """The approval's id; `None` when it is not known whether there is one."""
        return self.approval.id if self.approval else None

    @property
    def reason(self) -> str | None:
        """What the reviewer said; `None` when nothing was said."""
        return self.approval.reason if self.approval else None


class _Closed(NotApproved):
    approval: PublicApproval
    _what = ""

    def __init__(self, approval: PublicApproval) -> None:
        super().__init__(approval)
        self.approval = approval

    def __str__(self) -> str:
        said = f": {self.approval.reason}" if self.approval.reason else ""
        return f"{self.approval.name!r} {self._what} ({self.approval.id}){said}"


class ApprovalRejected(_Closed):
    """A reviewer said no. `reason` is what the reviewer said."""

    _what = "was rejected"


class ApprovalExpired(_Closed):
    """Nobody decided before the approval's own time was over."""

    _what = "expired before anybody decided"


class ApprovalCancelled(_Closed):
    """The approval was taken back: by its agent, or because policy blocks it by now."""

    _what = "was cancelled"


class ApprovalTimeout(NotApproved):
    """Nobody decided within `timeout`. Whoever requires an approval has it taken back where that is possible (`withdrawn`)."""

    def __init__(self, action: str, timeout: float, approval: PublicApproval | None, withdrawn: bool) -> None:
        super().__init__(action, timeout, approval, withdrawn)
        #: What was asked for.
        self.action = action
        #: How long was waited, in seconds.
        self.timeout = timeout
        self.approval = approval
        #: Whether the approval cannot be approved any more. When not, it expires on the server by itself.
        self.withdrawn = withdrawn

    def __str__(self) -> str:
        known = f" ({self.approval.id})" if self.approval else ""
        after = "" if self.withdrawn else "; it is still open and expires by itself"
        return f"nobody decided on {self.action!r}{known} within {self.timeout:g} s{after}"


class ApprovalMismatch(HoldpointError):
    """What was approved is not what was asked for, or what is about to run is not what was approved any more."""


class GatewayError(HoldpointError):
    """The gateway could not be asked, or refused to answer."""


class GatewayUnreachable(GatewayError):
    """There was no answer from the gateway, or none of its own, for longer than is waited for one."""


class UnexpectedAnswer(GatewayError):
    """The answer is not what the API describes. Something else may be listening at this URL."""


class ApiError(GatewayError):
    """The gateway refused the request."""

    def __init__(
        self, status: int, title: str, detail: str, members: Mapping[str, Any], request_id: str | None
    ) -> None:
        super().__init__(status, title, detail, members, request_id)
        #: The HTTP status.
        self.status = status
        #: What went wrong, in general.
        self.title = title
        #: What is wrong with this very request, and what to do.
        self.detail = detail
        #: The whole problem document: `standing`, `approval`, … as its code has them. Empty when there was none.
        self.members = dict(members)
        #: Names the request in the gateway's log.
        self.request_id = request_id

    @property
    def code(self) -> str | None:
        """The stable code, as in `docs/reference/problems.md`; `None` when the answer was not the gateway's own."""
        code = self.members.get("code")
        return code if isinstance(code, str) else None

    @property
    def retryable(self) -> bool:
        """Whether the same request may be sent again and may then succeed."""
        return self.members.get("retryable") is True

    def __str__(self) -> str:
        named = f" [{self.code}]" if self.code else ""
        request = f" (request {self.request_id})" if self.request_id else ""
        return f"{self.status} {self.title}{named}: {self.detail}{request}"
