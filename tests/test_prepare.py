"""The workshop's bootstrap: what it says when something is missing, and when it has nothing to do.

The long way (an empty directory to a working .venv) is what CI does before these tests run.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.house import ROOT


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def run_prepare(*, path: str, python: str = "") -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PATH": path, "PYTHON": python}
    return subprocess.run(
        ["/bin/sh", ROOT / "tools" / "prepare"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_no_python_at_all(tmp_path: Path) -> None:
    done = run_prepare(path=str(tmp_path))
    assert done.returncode == 1
    assert "apt-get install python3 python3-venv" in done.stderr
    assert done.stdout == ""  # the standard output belongs to what make runs next


def test_python_too_old(tmp_path: Path) -> None:
    script(tmp_path / "python3", 'if [ "$1" = --version ]; then echo Python 3.9.2; else exit 1; fi')
    done = run_prepare(path=str(tmp_path))
    assert done.returncode == 1
    assert "python3 is Python 3.9.2; Gatehouse needs Python 3.11 or newer" in done.stderr


def test_a_chosen_python_that_is_not_there(tmp_path: Path) -> None:
    done = run_prepare(path=str(tmp_path), python="python9")
    assert done.returncode == 1
    assert "PYTHON=python9 is not a command here" in done.stderr


@pytest.fixture
def prepare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, its world moved to an empty directory."""
    spec = importlib.util.spec_from_file_location("prepare", ROOT / "tools" / "prepare.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    venv = tmp_path / ".venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to(sys.executable)
    (tmp_path / "pyproject.toml").write_text("[project]")
    (tmp_path / "dev.txt").write_text("one==1 \\\n    --hash=sha256:00\ntwo-b==2 ; sys_platform == 'win32'\n")
    names = {
        "ROOT": tmp_path,
        "VENV": venv,
        "PYTHON": venv / "bin" / "python",
        "STAGES": venv / "gatehouse-stages.json",
        "UNFINISHED": venv / "gatehouse-unfinished",
        "LOCK": tmp_path / "dev.txt",
    }
    for name, value in names.items():
        monkeypatch.setattr(module, name, value)
    return module


def ran(module: ModuleType, monkeypatch: pytest.MonkeyPatch, breaking: str = "") -> list[str]:
    """The stages that a run performs, recorded instead of done; `breaking` fails."""
    stages: list[str] = []

    def action(name: str) -> None:
        stages.append(name)
        if name == breaking:
            raise module.Missing("no network")

    actions = {name: lambda name=name: action(name) for name in module.ACTIONS}
    monkeypatch.setattr(module, "ACTIONS", actions)
    try:
        module.prepare(False)
    except module.Missing:
        assert breaking
    return stages


def test_each_stage_runs_once_and_again_when_its_input_changes(
    prepare: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ran(prepare, monkeypatch) == ["environment", "packages", "project"]
    assert ran(prepare, monkeypatch) == []
    (prepare.ROOT / "pyproject.toml").write_text("[project] # changed")
    assert ran(prepare, monkeypatch) == ["project"]
    prepare.LOCK.write_text("one==2 --hash=sha256:01\n")
    assert ran(prepare, monkeypatch) == ["packages"]


def test_an_interrupted_stage_is_started_from_scratch(
    prepare: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ran(prepare, monkeypatch, breaking="packages") == ["environment", "packages"]
    assert ran(prepare, monkeypatch) == ["environment", "packages", "project"]


def test_a_moved_directory_or_a_damaged_record_is_made_anew(
    prepare: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran(prepare, monkeypatch)
    stages = json.loads(prepare.STAGES.read_text())
    prepare.STAGES.write_text(json.dumps(stages)[:-9])
    assert ran(prepare, monkeypatch) == ["environment", "packages", "project"]
    prepare.PYTHON.unlink()
    prepare.PYTHON.symlink_to("/nonexistent/python3")
    assert prepare.venv_abi() is None


def test_python_without_venv(prepare: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ensurepip", None)  # what Debian's python3 is without python3-venv
    with pytest.raises(prepare.Missing, match="apt-get install python3-venv"):
        prepare.prepare(False)
    assert not prepare.STAGES.exists()


def test_no_room_is_said_before_anything_is_touched(
    prepare: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "ROOM_NEEDED", 10**18)
    with pytest.raises(prepare.Missing, match=r"MB are free below .*; the environment needs"):
        prepare.prepare(False)
    assert not prepare.STAGES.exists()


@pytest.mark.parametrize(
    ("output", "advice"),
    [
        (
            "WARNING: Retrying after connection broken by 'Temporary failure in name resolution'",
            "cannot be reached",
        ),
        ("ERROR: No matching distribution found for x==1 (from versions: none)", "no version of it at all"),
        (
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
            "disk is full",
        ),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", "differs from the one"),
        ("something else", "ended with code 2"),
    ],
)
def test_pip_failures_are_explained(prepare: ModuleType, output: str, advice: str) -> None:
    text = prepare.explain(["Collecting x", output], 2)
    assert advice in text
    assert output in text


def test_names_in_the_lock(prepare: ModuleType) -> None:
    assert prepare.locked_names() == {"one", "two-b"}
