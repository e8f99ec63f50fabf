"""The locks: complete, hashed, naming no place; and the licences of what is deployed."""

import re
import tomllib
from importlib import metadata

import pytest

from tests.house import ROOT

LOCKS = ("client", "server", "dev")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
# LGPL libraries that an operator may choose, imported and not modified: the PostgreSQL driver.
LGPL_ALLOWED = {"psycopg", "psycopg-binary"}


def lock_text(name: str) -> str:
    return (ROOT / "requirements" / f"{name}.txt").read_text()


def pins(name: str) -> dict[str, str]:
    """Name → version; the same name twice (for different Pythons) is joined by a blank."""
    found: dict[str, str] = {}
    for package, version in re.findall(
        r"^([a-z0-9][a-z0-9._-]*)(?:\[[^]]*\])?==(\S+)", lock_text(name), re.MULTILINE
    ):
        found[package] = f"{found[package]} {version}" if package in found else version
    return found


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=!~; ]", text, maxsplit=1)[0].lower() for text in requirements}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_hashes_and_no_place_is_named(lock: str) -> None:
    text = lock_text(lock)
    assert not re.search(r"://|^-|file:|find-links|index-url", text, re.MULTILINE)
    entries = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert len(entries) > 10
    assert [
        entry.splitlines()[0] for entry in entries if "--hash=sha256:" not in entry or "==" not in entry
    ] == []


def test_the_locks_agree_and_cover_the_project() -> None:
    project, extras = PROJECT["project"], PROJECT["project"]["optional-dependencies"]
    client, server, dev = (pins(lock) for lock in LOCKS)
    assert client.items() <= server.items() <= dev.items()
    assert names(project["dependencies"]) <= client.keys()
    assert names([text for extra in extras.values() for text in extra]) <= server.keys()
    assert names(PROJECT["dependency-groups"]["dev"]) <= dev.keys()
    assert not names(extras["server"]) & client.keys()


def licence(package: str) -> str:
    """What a distribution says about its licence: expression, classifiers, or a short field; not a whole text."""
    facts = metadata.metadata(package).json
    classifiers = [text for text in facts.get("classifier", []) if text.startswith("License ::")]
    short = str(facts.get("license", "")).strip()
    parts = [str(facts.get("license_expression", "")), *classifiers, short if len(short) < 100 else ""]
    return "; ".join(part for part in parts if part)


def refusal(package: str, said: str) -> str:
    """Why a licence does not go with Apache-2.0 here; empty when it does."""
    if not said:
        return f"{package} does not say its licence"
    if re.search(r"LGPL|Lesser General Public", said):
        return "" if package in LGPL_ALLOWED else f"{package}: {said}"
    return (
        f"{package}: {said}"
        if re.search(r"GPL|General Public License|SSPL|BUSL|Commons Clause", said)
        else ""
    )


def test_no_runtime_dependency_has_a_licence_that_binds_us() -> None:
    installed = {
        package: licence(package) for package in pins("server") if list(metadata.distributions(name=package))
    }
    assert len(installed) > 30
    assert [reason for package, said in installed.items() if (reason := refusal(package, said))] == []


@pytest.mark.parametrize(
    "said",
    ["GPL-3.0-or-later", "License :: OSI Approved :: GNU Affero General Public License v3", "", "LGPL-3.0"],
)
def test_a_binding_licence_would_be_noticed(said: str) -> None:
    assert refusal("something", said)
