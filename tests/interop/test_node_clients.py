"""Clients of the npm registry log in through the real pages: openid-client and oauth4webapi, DPoP and PAR included."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.interop.house import AWKWARD, BACK, House

NODE = Path(__file__).parent / "node"
REQUIRED = os.environ.get("GATEHOUSE_REQUIRE_NODE") == "1"


def absent(reason: str) -> None:
    """Skip, or fail where Node.js has to be there."""
    if REQUIRED:
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts with what the lock names, in a folder of their own."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            absent(f"{program} is not installed: clients of the npm registry are not tested")
    folder = tmp_path_factory.mktemp("node") / "interop"
    shutil.copytree(NODE, folder, ignore=shutil.ignore_patterns("node_modules"))
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
        reason = done.stderr[-500:] if done.returncode else ""
    except subprocess.TimeoutExpired:
        reason = "npm ci takes too long"
    if reason:
        absent(f"the npm packages cannot be installed: {reason}")
    return folder


def play(house: House, folder: Path, script: str, scenario: str) -> dict[str, Any]:
    """Run a scenario; the person in it is alice."""
    given = {
        "scenario": scenario,
        "issuer": house.issuer,
        "api": f"{house.base}/api",
        "back": BACK,
        "secret": AWKWARD,
        "jwk": house.client_key.jwk(public=False),
    }
    with subprocess.Popen(
        ["node", script, json.dumps(given)],
        cwd=folder,
        env={**os.environ, "NODE_EXTRA_CA_CERTS": str(house.ca)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            said = json.loads(line)
            if "done" in said:
                answer: dict[str, Any] = said["done"]
                return answer
            if "device" in said:
                house.confirm(said["device"])
            back = house.walk(said["open"]) if "open" in said else ""
            process.stdin.write(json.dumps(back) + "\n")
            process.stdin.flush()
        raise AssertionError(process.stderr.read())


@pytest.mark.parametrize(
    ("scenario", "kind"),
    [
        ("code_basic", "bearer"),
        ("code_post_par", "bearer"),
        ("code_public_dpop", "dpop"),
        ("code_key_par_dpop", "dpop"),
        ("device", "bearer"),
        ("device_dpop", "dpop"),
    ],
)
def test_openid_client_logs_in_refreshes_and_revokes(
    house: House, installed: Path, scenario: str, kind: str
) -> None:
    done = play(house, installed, "openid_client.mjs", scenario)
    assert (done["type"], done["again"]) == (kind, kind)
    assert "g:training_user" in done["scope"]


@pytest.mark.parametrize(
    ("scenario", "kind", "client"),
    [
        ("code_at_both_metadata_addresses", "bearer", "native"),
        ("code_dpop", "dpop", "native"),
        ("device", "bearer", "DIRAC_CLI"),
        ("resource_metadata", "", ""),
    ],
)
def test_oauth4webapi_takes_every_step(
    house: House, installed: Path, scenario: str, kind: str, client: str
) -> None:
    done = play(house, installed, "oauth4webapi.mjs", scenario)
    assert (done["type"], done["client"]) == (kind, client)


def test_the_lock_names_no_place() -> None:
    lock = json.loads((NODE / "package-lock.json").read_text())
    assert "://" not in (NODE / "package-lock.json").read_text()
    packages = {name: one for name, one in lock["packages"].items() if name}
    assert len(packages) == 3
    assert all(
        one["integrity"].startswith("sha512-") and one["license"] == "MIT" for one in packages.values()
    )
