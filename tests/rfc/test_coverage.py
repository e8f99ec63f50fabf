"""The tables at the top of the modules here are true: each row names tests that exist, or why none is needed.

A row is `section | requirement`, and below it, indented, `| ` and the tests, or `| not applicable: why`.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

HERE = Path(__file__).parent
MODULES = sorted(path for path in HERE.glob("test_*.py") if path.name != Path(__file__).name)
_ROW = re.compile(r"^(?P<section>\S[^|\n]*) \| (?P<demand>.+)\n(?P<proof>(?: +\| .+\n?)+)", re.M)
# each has a module; those of other rooms and hands have theirs beside the code that they prove
EXPECTED = {
    *("rfc6749", "rfc7009", "rfc7636", "rfc8414", "rfc8628", "rfc8707", "rfc9068", "rfc9126", "rfc9207"),
    *("rfc7662", "rfc8693", "rfc9700", "oidc_core", "oidc_discovery", "jose_defects"),
}


class Row(NamedTuple):
    """A requirement and what proves it."""

    section: str
    demand: str
    proof: str


def rows(text: str) -> list[Row]:
    """The table in a docstring."""
    found = []
    for row in _ROW.finditer(text):
        proof = " ".join(line.strip().removeprefix("|").strip() for line in row["proof"].splitlines())
        found.append(Row(row["section"].strip(), row["demand"].strip(), proof))
    return found


def functions(path: Path) -> Iterator[str]:
    """The tests of a module."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield node.name


@cache
def everywhere() -> frozenset[str]:
    """Every test of the whole suite."""
    return frozenset(name for path in HERE.parent.rglob("test_*.py") for name in functions(path))


def table(path: Path) -> list[Row]:
    """The table at the top of a module."""
    return rows(ast.get_docstring(ast.parse(path.read_text()), clean=True) or "")


def missing(found: list[Row], tests: frozenset[str]) -> list[str]:
    """What rows promise and nobody keeps."""
    wrong = []
    for row in found:
        if row.proof.startswith("not applicable: "):
            continue
        names = re.split(r"[,\s]+", row.proof)
        wrong += [f"{row.section}: {name}" for name in names if name not in tests]
    return wrong


def test_each_rfc_has_its_module() -> None:
    assert {path.stem.removeprefix("test_") for path in MODULES} == EXPECTED


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_each_row_names_tests_that_exist(path: Path) -> None:
    found = table(path)
    lines = [
        line for line in (ast.get_docstring(ast.parse(path.read_text())) or "").splitlines() if "|" in line
    ]
    assert len(found) == sum(not line.startswith(" ") for line in lines), "a row cannot be read"
    assert found
    assert missing(found, everywhere()) == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_each_test_stands_in_the_table(path: Path) -> None:
    promised = {name for row in table(path) for name in re.split(r"[,\s]+", row.proof)}
    assert set(functions(path)) - promised == set()


def test_a_promise_that_nobody_keeps_is_found() -> None:
    found = rows(
        "1.2 | it must\n    | test_there,\n    | test_gone\n1.3 | it may\n    | not applicable: no\n"
    )
    assert [row.section for row in found] == ["1.2", "1.3"]
    assert missing(found, frozenset({"test_there"})) == ["1.2: test_gone"]
