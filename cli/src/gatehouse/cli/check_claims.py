"""`gatehouse check-claims FILE`: run a claim-sets file through the mapping engine and say what differs."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from gatehouse.registry.documents import Documents, Flow
from gatehouse.registry.mapping import map_claims
from gatehouse.registry.rules import Rules
from gatehouse.registry.rulesfile import RulesError, parse_epoch, parse_overlay, parse_rules

FORMAT = "gatehouse-claimsets/1"
MAX_FILE = 64 * 1024 * 1024
_SHOWN = 2000  # characters of a printed value


class UnreadableError(Exception):
    """The file is not a claim-sets file; the message is a sentence for the person who named it."""


def check_claims(path: Path) -> int:
    """Print one line per case: `C01 ok`, or what differs. 0: all as expected, 1: some differ, 2: unreadable."""
    try:
        rules, now, cases = _load(path)
    except UnreadableError as error:
        print(f"{_safe(str(path))}: {error}")
        return 2
    differing = 0
    for number, case in enumerate(cases, start=1):
        differences = _check(rules, now, case)
        differing += bool(differences)
        print(f"{_name(case, number)} {'; '.join(differences) or 'ok'}")
    print(f"{len(cases) - differing} ok, {differing} different")
    return 1 if differing else 0


def _load(path: Path) -> tuple[Rules, float, list[object]]:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "no usable file name"
        raise UnreadableError(f"cannot be read: {reason}.") from None
    if len(raw) > MAX_FILE:
        raise UnreadableError("is larger than 64 MiB, the most that is read.")
    try:
        data = json.loads(raw.decode("utf-8-sig"), parse_constant=_no_constant)
    except RecursionError:
        raise UnreadableError("is nested too deeply.") from None
    except ValueError as error:
        raise UnreadableError(f"is not JSON: {_safe(str(error))}.") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise UnreadableError(f'is not a claim-sets file: it must be an object with "format": "{FORMAT}".')
    cases = data.get("cases")
    if not isinstance(cases, list) or not cases:
        raise UnreadableError('holds no cases: "cases" must be an array with at least one.')
    try:
        return parse_rules(data.get("rules")), parse_epoch(data.get("rules")), cases
    except RulesError as error:
        raise UnreadableError(f"has rules that cannot be used: {_safe(str(error))}.") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def _check(rules: Rules, now: float, case: object) -> list[str]:
    try:
        return list(_differences(rules, now, case))
    except RulesError as error:
        return [f"cannot be used: {_safe(str(error))}"]
    except RecursionError:
        return ["cannot be used: nested too deeply"]


def _differences(rules: Rules, now: float, case: object) -> Iterator[str]:
    if not isinstance(case, dict):
        raise RulesError("case", "must be an object")
    expected = case.get("expected")
    if not isinstance(expected, dict) or "decision" not in expected:
        raise RulesError("expected", 'must be an object with at least a "decision"')
    outcome = map_claims(
        rules,
        Documents.of(_input(case)),
        flow=_flow(case),
        now=now,
        previous_groups=_previous(case),
        overlay=parse_overlay(_beside(case, "registry_overlay")),
    ).json()
    for name, value in expected.items():
        if name not in outcome:
            yield f"{_safe(name)}: expected, but no such part of an outcome exists"
        elif _canonical(value) != _canonical(outcome[name]):
            yield f"{name}: expected {_canonical(value)[:_SHOWN]}, got {_canonical(outcome[name])[:_SHOWN]}"


def _input(case: dict[str, object]) -> dict[str, object]:
    value = case.get("input")
    if not isinstance(value, dict):
        raise RulesError("input", "must be an object")
    return value


def _flow(case: dict[str, object]) -> Flow:
    if case.get("flow") == "login":
        return "login"
    if case.get("flow") == "bearer":
        return "bearer"
    raise RulesError("flow", 'must be "login" or "bearer"')


def _previous(case: dict[str, object]) -> list[str] | None:
    value = _beside(case, "previous_groups")
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(group, str) for group in value):
        raise RulesError("previous_groups", "must be an array of texts")
    return value


def _beside(case: dict[str, object], name: str) -> object:
    # Beside `input` in the files we know; inside it is understood too.
    return case[name] if name in case else _input(case).get(name)


def _canonical(value: object) -> str:
    # Equal JSON, and nothing looser: 1, 1.0 and true are three values. ASCII, so safe to print.
    return json.dumps(value, sort_keys=True)


def _name(case: object, number: int) -> str:
    name = case.get("id") if isinstance(case, dict) else None
    return _safe(name)[:100] if isinstance(name, str) and name else f"case-{number}"


def _safe(text: str) -> str:
    # A hostile file must not write to the terminal: what is not printable ASCII is shown escaped.
    plain = text.isascii() and text.isprintable()
    return text if plain else json.dumps(text)[1:-1].replace("\x7f", "\\u007f")
