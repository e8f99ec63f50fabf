"""Schemathesis asks every operation of the description, right and wrong: as nobody, a user, an administrator.

Its checks: no server error; status, content type, headers and bodies as described; what the description forbids is
refused; other methods are refused with the right `Allow`; nothing that asks for a token answers without one.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from gatehouse.cli.demo import community
from gatehouse.registry import importing
from gatehouse.registry.clock import SYSTEM
from gatehouse.registry.database import Database
from gatehouse.tokenmanager import seal
from tests.auth import kit
from tests.service import Service

CONFIG = Path(__file__).with_name("schemathesis.toml")
CLASSES = ("document", "page", "login", "token", "call", "work", "guess")
LIMITS = "[limits]\n" + "".join(f"{name} = 1000000\n{name}_burst = 100000\n" for name in CLASSES)
ADMIN = """    training_admin
    {
      Users = alice
      Properties = NormalUser, JobAdministrator, Operator, ServiceAdministrator
      VO = training.egi.eu
    }
"""
# nobody asks what is public, people the rest; that nothing of it answers without a token is asked there too
GATED = r"^/(api/(jobs|pilots|sandboxes)|auth/userinfo)"
BEFORE = "    training_pilot\n"
REGISTRY = community.REGISTRY_CFG.replace(BEFORE, ADMIN + BEFORE)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service whose limits do not end the questions early, and that has administrators."""
    with Service(tmp_path_factory.mktemp("schemathesis"), more=LIMITS + kit.CLIENTS) as running:
        key = seal.from_text((running.folder / "master.key").read_text()).derive("audit")
        database = Database(f"sqlite:///{running.folder / 'gatehouse.db'}", SYSTEM, key)
        try:
            database.write_now(lambda tx: importing.apply(tx, importing.read_text(REGISTRY), "test"))
        finally:
            database.close()
        yield running
        log = running.log.read_text()
        assert "Traceback" not in log
        assert '"event": "unexpected"' not in log


def token(service: Service, role: str) -> str:
    """The access token of a login in that role; nothing for nobody."""
    if role == "nobody":
        return ""
    answer = kit.code_login(service, scope=f"openid g:training_{role}")
    return str(kit.redeem(service, answer["code"]).json()["access_token"])


@pytest.mark.parametrize("role", ["nobody", "user", "admin"])
def test_every_operation_answers_as_described(service: Service, tmp_path: Path, role: str) -> None:
    given = token(service, role)
    header = ("--header", f"Authorization: Bearer {given}") if given else ()
    command = [
        *(str(Path(sys.executable).with_name("st")), "--config-file", str(CONFIG)),
        *("run", f"{service.base}/api/openapi.json", *header),
        *(("--include-path-regex" if given else "--exclude-path-regex"), GATED),
        *("--phases", "examples,coverage,fuzzing", "--max-examples", "5", "--generation-deterministic"),
        *("--workers", "2", "--request-timeout", "30", "--warnings", "off", "--no-color"),
    ]
    direct = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    done = subprocess.run(command, cwd=tmp_path, env=direct, capture_output=True, text=True, check=False)
    said = "\n".join(line[:300] for line in (done.stdout + done.stderr).splitlines())
    assert done.returncode == 0, said[-20_000:]
    assert _number(r"Tested: (\d+)", said) == len(operations(service, gated=bool(given)))
    assert _number(r"(\d+) generated", said) > 300


def operations(service: Service, *, gated: bool) -> list[str]:
    """The operations that ask for a token, or those that do not; the description itself is never one that is asked."""
    paths = httpx.get(f"{service.base}/api/openapi.json", trust_env=False).json()["paths"]
    del paths["/api/openapi.json"]
    found = {f"{method} {path}": said for path, by in paths.items() for method, said in by.items()}
    return [name for name, said in found.items() if bool(said.get("security")) is gated]


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    assert found is not None, text
    return int(found[1])
