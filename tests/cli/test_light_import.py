"""The commands start quickly and without anything of the server's."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli import visitor
from tests.cli.gate import Gate, environment

COMMANDS = {
    "gatehouse": "gatehouse.cli.main:app",
    "dirac-login": "gatehouse.cli.login:login_app",
    "dirac-logout": "gatehouse.cli.login:logout_app",
    "dsub": "gatehouse.cli.jobs:dsub_app",
    "dstat": "gatehouse.cli.jobs:dstat_app",
    "doutput": "gatehouse.cli.jobs:doutput_app",
    "dlogging": "gatehouse.cli.jobs:dlogging_app",
    "dkill": "gatehouse.cli.jobs:dkill_app",
}
# Imports the command as its entry point does, refuses what the base install lacks, tells what was loaded.
BLOCKED = """
import importlib, sys
from importlib.abc import MetaPathFinder
ALLOWED = set(sys.stdlib_module_names) | set(sys.argv[2].split(","))
class Refuse(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        server = name.startswith(("gatehouse.auth", "gatehouse.tokenmanager", "gatehouse.registry.database"))
        if server or not (top in ALLOWED or top.startswith("_sysconfigdata")):
            raise ModuleNotFoundError(f"not part of the light client: {name}", name=name)
sys.meta_path.insert(0, Refuse())
module, _, name = sys.argv[1].partition(":")
app = getattr(importlib.import_module(module), name)
sys.argv = ["command", *sys.argv[3:]]
try:
    app()
finally:
    print("LOADED", *sorted(n for n in sys.modules if n.count(".") == 0), file=sys.stderr)
"""
# The base install: the four dependencies and what they bring along.
BASE = (
    *("gatehouse", "httpx", "typer", "rich", "segno"),
    *("annotated_doc", "anyio", "certifi", "click", "h11", "httpcore", "idna", "markdown_it", "mdurl"),
    *("pygments", "shellingham", "sniffio", "typing_extensions"),
)
# typer itself requires pydantic and reads arguments with it; showing help must do without.
ARGUMENTS = ("pydantic", "pydantic_core", "annotated_types", "typing_inspection")
SLOW = {"httpx", "rich", "segno", "ssl", "asyncio"}


def run(
    entry: str, *arguments: str, env: dict[str, str], allowed: tuple[str, ...] = BASE
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BLOCKED, entry, ",".join(allowed), *arguments],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_help_needs_the_base_install_only_and_not_even_all_of_it(name: str, tmp_path: Path) -> None:
    done = run(COMMANDS[name], "--help", env=environment(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Usage: ")
    loaded = set(done.stderr.rpartition("LOADED")[2].split())
    assert "typer" in loaded
    assert not loaded & SLOW


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("dirac-login", ["training_user"]),
        ("dsub", ["/bin/echo", "-n", "hello"]),
        ("dstat", ["-a"]),
        ("dlogging", ["1"]),
        ("dkill", ["1"]),
        ("dirac-logout", []),
    ],
)
def test_the_commands_work_with_the_base_install_only(
    name: str, arguments: list[str], gate: Gate, tmp_path: Path
) -> None:
    gate.add_job(1)
    gate.store(tmp_path / "bt")
    done = run(COMMANDS[name], *arguments, env=environment(tmp_path), allowed=BASE + ARGUMENTS)
    assert done.returncode == 0, done.stderr


def test_a_login_by_browser_works_with_the_base_install_only(gate: Gate, tmp_path: Path) -> None:
    env = environment(tmp_path, BROWSER=visitor.script(tmp_path))
    done = run(COMMANDS["dirac-login"], "--browser", "-I", gate.issuer, env=env, allowed=BASE + ARGUMENTS)
    assert done.returncode == 0, done.stderr


def test_the_blocker_blocks(tmp_path: Path) -> None:
    done = run("sqlalchemy:create_engine", env=environment(tmp_path))
    assert "not part of the light client: sqlalchemy" in done.stderr


def test_the_entry_points_are_installed() -> None:
    scripts = Path(sys.executable).parent
    assert all(os.access(scripts / name, os.X_OK) for name in COMMANDS)
