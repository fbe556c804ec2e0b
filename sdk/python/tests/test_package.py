"""The package as it is shipped: its types, its version, its wheel, and what its pages say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
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
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"

    def run(*arguments: str, **environment: str) -> str:
        ran = subprocess.run(
            [str(python), *arguments],
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **pip_settings(), **environment},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    run("-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(wheel))
    with gateway.deciding(action):
        program = f"import holdpoint; print(holdpoint.__file__, holdpoint.require_approval({action!r}).status)"
        said = run("-c", program, HOLDPOINT_URL=gateway.agents_url, HOLDPOINT_TOKEN=token("bot"))
    assert said.startswith(str(home))
    assert said.endswith("approved\n")
    (tmp_path / "consumer.py").write_text(CONSUMER)
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(python), "consumer.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def pip_settings() -> dict[str, str]:
    """Where this machine's pip finds packages."""
    return {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "REQUESTS_"))}
