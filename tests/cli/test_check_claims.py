"""`check-claims` on our own files, on files with a mistake, and on files meant to harm."""

import json
from pathlib import Path
from typing import Any

import pytest

from gatehouse.cli import check_claims as module
from gatehouse.cli.check_claims import check_claims

FILES = sorted((Path(__file__).parents[1] / "registry" / "claimsets").glob("*.json"))
GOOD: dict[str, Any] = json.loads(FILES[0].read_text(encoding="utf-8"))


def write(tmp_path: Path, data: object) -> Path:
    path = tmp_path / "claims.json"
    path.write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())
    return path


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_our_own_files_are_as_expected(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_claims(path) == 0
    lines = capsys.readouterr().out.splitlines()
    cases = json.loads(path.read_text(encoding="utf-8"))["cases"]
    assert lines == [*(f"{case['id']} ok" for case in cases), f"{len(cases)} ok, 0 different"]


def test_a_difference_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = GOOD["cases"][1]
    wrong = {**case, "expected": {**case["expected"], "groups": [], "decision": "reject", "more": 1}}
    assert check_claims(write(tmp_path, {**GOOD, "cases": [case, wrong]})) == 1
    first, second, last = capsys.readouterr().out.splitlines()
    assert first == f"{case['id']} ok"
    assert 'groups: expected [], got ["gate_admin"]' in second
    assert 'decision: expected "reject", got "accept"' in second
    assert "more: expected, but no such part" in second
    assert last == "1 ok, 1 different"


@pytest.mark.parametrize(
    "change",
    [
        {"expected": {}},
        {"expected": None},
        {"flow": "logout"},
        {"input": []},
        {"previous_groups": "otter"},
        {"registry_overlay": [{"path": "otter"}]},
    ],
)
def test_a_case_that_cannot_be_run_is_no_success(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, object]
) -> None:
    broken = {**GOOD, "cases": [{**GOOD["cases"][0], **change}, 7, GOOD["cases"][0]]}
    assert check_claims(write(tmp_path, broken)) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "cannot be used" in lines[0]
    assert lines[1] == "case-2 cannot be used: case: must be an object"
    assert lines[3] == "1 ok, 2 different"


def test_true_is_not_one(tmp_path: Path) -> None:
    case = GOOD["cases"][1]
    wrong = {**case, "expected": {**case["expected"], "revoked_groups": {}}}
    assert check_claims(write(tmp_path, {**GOOD, "cases": [wrong]})) == 1


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b'{"format": NaN}', "NaN is not a JSON value"),
        (b"[" * 200_000, "nested too deeply"),
        (b"1" * 5000, "is not JSON"),
        ([], "is not a claim-sets file"),
        ({**GOOD, "format": "gatehouse-claimsets/2"}, "is not a claim-sets file"),
        ({**GOOD, "cases": []}, "holds no cases"),
        ({**GOOD, "rules": {}}, "rules.issuers: must be an object"),
    ],
)
def test_files_that_cannot_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], data: object, said: str
) -> None:
    assert check_claims(write(tmp_path, data)) == 2
    out = capsys.readouterr().out
    assert said in out
    assert out.count("\n") == 1


def test_missing_files_and_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_claims(tmp_path / "none.json") == 2
    assert check_claims(tmp_path) == 2
    assert check_claims(Path("a\0b")) == 2
    assert [line.partition(": ")[2][:14] for line in capsys.readouterr().out.splitlines()] == [
        "cannot be read"
    ] * 3


def test_a_huge_file_is_not_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, GOOD)
    monkeypatch.setattr(module, "MAX_FILE", path.stat().st_size)
    assert check_claims(path) == 0
    monkeypatch.setattr(module, "MAX_FILE", path.stat().st_size - 1)
    capsys.readouterr()
    assert check_claims(path) == 2
    assert "larger than 64 MiB" in capsys.readouterr().out


def test_a_file_cannot_write_to_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = {**GOOD["cases"][0], "id": "\x1b[2J\nC99 ok \ud800"}
    case["expected"] = {"decision": "\x1b[31m", "\x1b]0;x\x07": 1}
    assert check_claims(write(tmp_path, {**GOOD, "cases": [case]})) == 1
    out = capsys.readouterr().out
    assert out.isascii()
    assert out.count("\n") == 2
    assert "\x1b" not in out
