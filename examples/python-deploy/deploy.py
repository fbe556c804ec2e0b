"""Deploys a version once a human has approved it.

Exit codes: 0 deployed; 1 nobody approved; 2 it could not be asked.
"""

import argparse
import signal
import sys
from pathlib import Path

from holdpoint import HoldpointError, NotApproved, require_approval


def deploy(service: str, version: str) -> None:
    """What must not happen unasked. Here: one file per service that says what runs."""
    current = Path("deployed") / service
    current.parent.mkdir(exist_ok=True)
    current.write_text(version + "\n")
    print(f"deployed {service} {version}")


def main() -> int:
    """Asks, waits, deploys."""
    parser = argparse.ArgumentParser()
    parser.add_argument("service")
    parser.add_argument("version")
    parser.add_argument("--run", help="the pipeline's run: asking again for the same run is the same approval")
    parser.add_argument("--timeout", type=float, default=3600, help="seconds to wait for a decision")
    arguments = parser.parse_args()
    # A pipeline that is stopped sends SIGTERM. As an exception it makes the approval be taken back.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        approval = require_approval(
            "deploy",
            {"service": arguments.service, "version": arguments.version},
            timeout=arguments.timeout,
            idempotency_key=arguments.run,
        )
    except NotApproved as refusal:
        print(f"not deployed: {refusal}", file=sys.stderr)
        return 1
    except HoldpointError as error:
        print(f"not deployed, the approval could not be asked for: {error}", file=sys.stderr)
        return 2
    print(f"approved: {approval.reason or 'without a word'} ({approval.id})")
    deploy(arguments.service, arguments.version)
    return 0


if __name__ == "__main__":
    sys.exit(main())
