"""The page that says what we tested against names the versions that the locks have."""

import json
import re

import pytest

from tests.house import ROOT

PAGE = (ROOT / "docs" / "reference" / "tested-with.md").read_text()
PYTHON = (ROOT / "requirements" / "dev.txt").read_text()
PINNED = dict(re.findall(r"^([a-z0-9-]+)(?:\[\w+\])?==(\S+)", PYTHON, re.MULTILINE))
LOCK = json.loads((ROOT / "tests" / "interop" / "node" / "package-lock.json").read_text())
NODE = {name.rpartition("/")[2]: one["version"] for name, one in LOCK["packages"].items() if name}
SAID = re.findall(r"\[([\w-]+)\]\([^)]+\)(?: on httpx| \(Node\.js\))?(?: \|)? (\d+\.\d+\.\d+)", PAGE)


def test_the_page_has_them_all() -> None:
    assert len(SAID) == 11


@pytest.mark.parametrize(("name", "version"), [(name.lower(), version) for name, version in SAID])
def test_the_version_is_the_one_that_runs(name: str, version: str) -> None:
    assert {**PINNED, **NODE}[name] == version
