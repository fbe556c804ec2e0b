"""The examples, run as their pages say: every `sh` block is pasted into one shell, in order, and every `text` block must be found in what
the block before it printed. No model is asked.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gateway import BINARY, ROOT, free_port

EXAMPLES = sorted(path.name for path in (ROOT / "examples").glob("python-*"))
MARK = "----- end of block"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def paste(folder: Path, script: str) -> str:
    """Runs a script in a shell of its own and ends whatever it leaves behind; what it printed."""
    # `python3` is the one that runs this test, with the SDK on its path.
    tools = folder / "bin"
    tools.mkdir()
    (tools / "holdpoint").symlink_to(BINARY)
    python = tools / "python3"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    environment = {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "HOME": str(folder),
        "PYTHONPATH": str(ROOT / "sdk" / "python" / "src"),
        "OPENAI_AGENTS_DISABLE_TRACING": "1",
    }
    with (folder / "printed").open("w+b") as printed:
        shell = subprocess.Popen(
            ["bash", "-c", script],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status: int | None = shell.wait(200)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
            shell.wait()
        said = (folder / "printed").read_text()
    assert status == 0, f"{status}\n{said}"
    return said


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_does_what_its_page_says(example: str, tmp_path: Path) -> None:
    folder = tmp_path / example
    shutil.copytree(ROOT / "examples" / example, folder, ignore=shutil.ignore_patterns("__pycache__"))
    ports = {"8080": str(free_port()), "8081": str(free_port())}
    for path in folder.iterdir():
        path.write_text(re.sub("8080|8081", lambda port: ports[port[0]], path.read_text()))
    blocks = BLOCK.findall((folder / "README.md").read_text())
    assert {language for language, _ in blocks} == {"sh", "text"}
    commands = [text for language, text in blocks if language == "sh"]
    script = "set -euo pipefail\n" + "".join(f"{text}\necho\necho '{MARK}'\n" for text in commands)
    outputs = paste(folder, script).split(MARK)
    assert len(outputs) == len(commands) + 1
    at = -1
    for language, text in blocks:
        if language == "sh":
            at += 1
            continue
        for line in text.splitlines():
            assert line in outputs[at], f"`{line}` was not printed by block {at + 1}:\n{outputs[at]}"


def test_all_examples_are_run() -> None:
    assert EXAMPLES == ["python-deploy", "python-langgraph", "python-openai-agents"]


@pytest.mark.parametrize("example", EXAMPLES)
def test_no_example_has_a_secret_in_its_files(example: str) -> None:
    for line in (ROOT / "examples" / example / "holdpoint.yaml").read_text().splitlines():
        assert "token_sha256" not in line or "${" in line
