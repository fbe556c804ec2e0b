"""The public JamJet client, as it is installed from the package index, with its URL and its key changed and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading

import pytest

from gateway import Gateway, token

PROGRAM = """
import json, sys
from jamjet import cloud
from jamjet.cloud.exceptions import JamJetApprovalRejected, JamJetApprovalTimeout

url, key, action = sys.argv[1:]
cloud.configure(api_key=key, api_url=url)
try:
    print(json.dumps({"returned": cloud.require_approval(action, context={"usd": 500}, timeout_seconds=100)}))
except JamJetApprovalRejected as error:
    print(json.dumps({"rejected": error.approval_id, "reason": error.reason}))
except JamJetApprovalTimeout as error:
    print(json.dumps({"timeout": error.approval_id}))
"""


@pytest.mark.parametrize("listener", ["agents_url", "admin_url"])
def test_the_public_jamjet_client_works_unchanged(gateway: Gateway, action: str, listener: str) -> None:
    said: dict[str, dict[str, str]] = {}

    def run(name: str) -> None:
        ran = subprocess.run(
            [sys.executable, "-c", PROGRAM, getattr(gateway, listener), token("bot"), name],
            env={"PATH": os.environ["PATH"], "HOME": str(gateway.folder)},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        said[name] = json.loads(ran.stdout) if ran.returncode == 0 else {"error": ran.stderr}

    yes, no = f"{action}-yes", f"{action}-no"
    with (
        gateway.deciding(yes, "approved") as approved,
        gateway.deciding(no, "rejected", "not this week") as rejected,
    ):
        # It looks every five seconds, whatever it is told: both at once.
        callers = [threading.Thread(target=run, args=[name]) for name in (yes, no)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join(120)
    assert said[yes] == {"returned": approved[0].id}
    assert said[no] == {"rejected": rejected[0].id, "reason": "not this week"}
    assert approved[0].input == {"usd": 500}
