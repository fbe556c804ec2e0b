"""A credential is sent to the gateway and shows up nowhere else."""

from __future__ import annotations

import copy
import logging
import pickle
import traceback

import pytest

from gateway import Gateway, token
from holdpoint import ApiError, ApprovalRejected, ApprovalTimeout, GatewayError, Holdpoint
from holdpoint._config import credential

SECRET = token("bot")


def everything_about(error: BaseException) -> str:
    """The error, its whole chain, and all variables of all frames: what crash reports send away."""
    said = [repr(error), str(error), repr(error.args), repr(vars(error))]
    seen: set[int] = set()
    chain: BaseException | None = error
    while chain is not None and id(chain) not in seen:
        seen.add(id(chain))
        said += traceback.TracebackException.from_exception(chain, capture_locals=True).format()
        chain = chain.__cause__ or chain.__context__
    return "\n".join(said)


def test_not_in_what_the_client_shows_of_itself(gateway: Gateway) -> None:
    with gateway.agent() as bot:
        assert SECRET not in repr(bot) + repr(vars(bot)) + repr(bot._http) + repr(bot._http.headers)
        assert gateway.agents_url in repr(bot)
    held = credential(SECRET)
    assert SECRET not in repr(held) + str(held)
    for leak in (pickle.dumps, copy.copy):
        with pytest.raises(TypeError):
            leak(held)


def test_not_in_logs_at_any_level(gateway: Gateway, action: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(1, logger="")
    for name in ("holdpoint", "httpx", "httpcore"):
        caplog.set_level(1, logger=name)
    with gateway.deciding(action), gateway.agent() as bot:
        bot.require_approval(action, {"card": "4111-1111"})
    said = "\n".join(f"{record.getMessage()} {record.args!r}" for record in caplog.records)
    assert logging.getLogger("holdpoint").isEnabledFor(logging.INFO)
    assert "waiting for approval apr_" in said
    assert SECRET not in said
    ours = "\n".join(record.getMessage() for record in caplog.records if record.name == "holdpoint")
    assert "4111-1111" not in ours


def test_not_in_errors_their_causes_or_their_frames(gateway: Gateway, action: str) -> None:
    caught: list[BaseException] = []
    with Holdpoint(gateway.agents_url + "/nowhere", SECRET) as lost, pytest.raises(ApiError) as refused:
        lost.require_approval(action)
    caught.append(refused.value)
    with Holdpoint("http://127.0.0.1:9/x", SECRET) as lost, pytest.raises(GatewayError) as away:
        lost.require_approval(action, outage_max=0)
    caught.append(away.value)
    with gateway.agent() as bot, pytest.raises(ApprovalTimeout) as late:
        bot.require_approval(action, timeout=0.3)
    caught.append(late.value)
    with gateway.deciding(f"{action}-2", "rejected"), gateway.agent() as bot, pytest.raises(ApprovalRejected) as no:
        bot.require_approval(f"{action}-2")
    caught.append(no.value)
    for error in caught:
        said = everything_about(error)
        assert SECRET not in said
        # The frames of the HTTP client hold the request, and with it the credential.
        assert "site-packages/http" not in said
        assert type(error) is type(again := pickle.loads(pickle.dumps(error)))
        assert str(again) == str(error)


@pytest.mark.parametrize("bad", ["two\nlines-of-secret", "ümlaut-secret", "with space-secret"])
def test_not_in_the_complaint_about_it(bad: str) -> None:
    with pytest.raises(ValueError, match="token") as caught:
        Holdpoint("http://127.0.0.1:9", bad)
    assert "secret" not in str(caught.value)


def test_not_sent_where_a_redirect_points_to(gateway: Gateway, action: str) -> None:
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    reached: list[str] = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            reached.append(self.path)
            self.send_response(307)
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/elsewhere")  # type: ignore[attr-defined]
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            url = f"http://127.0.0.1:{server.server_port}"
            with Holdpoint(url, SECRET) as bot, pytest.raises(ApiError, match="not the gateway's"):
                bot.create(action)
        finally:
            server.shutdown()
    assert reached == ["/v1/approvals"]
