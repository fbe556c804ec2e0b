"""The package as it is shipped: its types, its version, its wheel, and what its pages say."""

from __future__ import annotations

import re
import subprocess
import sys
import time
import venv
import zipfile
from pathlib import Path

import generate_models
import pytest

import holdpoint
from gateway import ROOT, Gateway, token

HERE = ROOT / "sdk" / "python"


def test_the_types_are_those_of_the_openapi_document() -> None:
    written = generate_models.TARGET.read_text()
    assert written == generate_models.generate(), "run python scripts/generate_models.py"


def test_the_openapi_document_is_the_one_that_the_gateway_serves(gateway: Gateway) -> None:
    import json

    import httpx

    assert httpx.get(f"{gateway.admin_url}/openapi.json").json() == json.loads((ROOT / "openapi.json").read_text())


def test_the_version_is_the_gateways() -> None:
    found = re.search(r'^version = "([^"]+)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)
    assert found is not None
    assert holdpoint.__version__ == found[1]


def test_the_licence_is_the_projects() -> None:
    assert (HERE / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_everything_public_says_what_it_is() -> None:
    for name in holdpoint.__all__:
        thing = getattr(holdpoint, name)
        if not callable(thing):
            continue
        assert thing.__doc__, name
        for member, method in vars(thing).items() if isinstance(thing, type) else ():
            if callable(method) and not member.startswith("_"):
                assert method.__doc__, f"{name}.{member}"


def test_the_blocks_of_the_page_run(gateway: Gateway) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", (HERE / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 6
    environment = {
        "HOLDPOINT_URL": gateway.agents_url,
        "HOLDPOINT_TOKEN": token("other-bot"),
        "ADMIN_URL": gateway.admin_url,
        "ALICE_TOKEN": token("alice"),
        "PYTHONPATH": str(HERE / "src"),
    }
    said = []
    for block in blocks:
        with subprocess.Popen(
            [sys.executable, "-c", block], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as child:
            with gateway.reviewer("bob") as bob:
                # A bound is on every test.
                while child.poll() is None:
                    for asked in bob.list(status="pending", agent="other-bot").approvals:
                        if asked.name != "rotate-keys":
                            bob.decide(
                                asked.id, "rejected" if asked.name == "drop-table" else "approved", reason="said Bob"
                            )
                    time.sleep(0.05)
            output, _ = child.communicate(timeout=30)
            assert child.returncode == 0, output
            said.append(output)
    assert said[0] == "approved: said Bob\n"
    assert said[1] == "a reviewer said no: said Bob\n"
    assert said[3] == "refunded 500 USD to c-1\n"
    assert said[4] == "approved approved\n"
    assert "rotate-keys other-bot {'cluster': 'eu-1'}\nrejected\n" in said[5]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    # The build's own requirements are installed already, at the versions that are pinned.
    command = [
        sys.executable,
        "-m",
        "build",
        "--no-isolation",
        "--wheel",
        "--sdist",
        "--outdir",
        str(folder),
        str(HERE),
    ]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    assert (folder / f"holdpoint-{holdpoint.__version__}.tar.gz").exists()
    return folder / f"holdpoint-{holdpoint.__version__}-py3-none-any.whl"


def test_the_wheel_has_the_package_its_types_and_its_licence_alone(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = archive.read(f"holdpoint-{holdpoint.__version__}.dist-info/METADATA").decode()
    sources = {f"holdpoint/{path.name}" for path in (HERE / "src" / "holdpoint").iterdir() if path.is_file()}
    about = f"holdpoint-{holdpoint.__version__}.dist-info"
    assert names == sources | {f"{about}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "licenses/LICENSE")}
    assert "holdpoint/py.typed" in names
    assert "License-Expression: Apache-2.0" in metadata
    assert "Requires-Python: >=3.10" in metadata


CONSUMER = """
from holdpoint import Approval, Holdpoint, PublicApproval, require_approval, requires_approval

@requires_approval("deploy")
def deploy(version: str) -> int:
    return len(version)

length: int = deploy("1.0")
approval: PublicApproval = require_approval("x", {"a": 1})
pending: list[Approval] = list(Holdpoint("http://h", "t").pending())
"""


def test_the_wheel_works_in_a_clean_environment(wheel: Path, tmp_path: Path, gateway: Gateway, action: str) -> None:
    home = tmp_path / "clean"
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    pins = str(HERE / "requirements-test.txt")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--constraint", pins, str(wheel)]
    subprocess.run(pip, check=True)

    with gateway.deciding(action):
        program = f"import holdpoint; print(holdpoint.__file__, holdpoint.require_approval({action!r}).status)"
        environment = {"HOLDPOINT_URL": gateway.agents_url, "HOLDPOINT_TOKEN": token("bot")}
        ran = subprocess.run(
            [str(python), "-c", program], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
        )
    assert ran.stdout.startswith(str(home)), ran.stderr
    assert ran.stdout.endswith("approved\n")
    (tmp_path / "consumer.py").write_text(CONSUMER)
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(python), "consumer.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
