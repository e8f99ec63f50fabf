"""Write docs/reference from the code: settings, commands, the HTTP interface. `--check` only says what is old."""

import argparse
import base64
import difflib
import inspect
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

from fastapi import FastAPI
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from starlette.routing import Mount, Route
from typer.core import TyperArgument, TyperCommand, TyperGroup
from typer.main import get_command

from gatehouse.cli import jobs, login, main, openapi, server
from gatehouse.registry.settings import SecretSettings, Settings
from gatehouse.tokenmanager import gate
from tools.meanings import MEANINGS

REFERENCE = Path(__file__).resolve().parents[1] / "docs" / "reference"
_MADE = (
    "<!-- Made by tools/reference.py from the code. Do not edit: `.venv/bin/python -m tools.reference`. -->"
)
_COMMANDS = {
    "dirac-login": login.login_app,
    "dirac-logout": login.logout_app,
    "dsub": jobs.dsub_app,
    "dstat": jobs.dstat_app,
    "doutput": jobs.doutput_app,
    "dlogging": jobs.dlogging_app,
    "dkill": jobs.dkill_app,
    "gatehouse": main.app,
}


def _cell(text: object) -> str:
    return " ".join(str(text).split()).replace("|", "\\|")


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


# -- settings


def part_of(field: FieldInfo) -> tuple[type[BaseModel] | None, bool]:
    """The section that a setting is, and whether it can stand more than once."""
    kind = field.annotation
    many = get_origin(kind) is tuple
    inner = get_args(kind)[0] if many else kind
    return (inner, many) if isinstance(inner, type) and issubclass(inner, BaseModel) else (None, False)


def names(model: type[BaseModel] = Settings, prefix: str = "") -> Iterator[str]:
    """Every setting, as `MEANINGS` names it."""
    for name, field in model.model_fields.items():
        part, many = part_of(field)
        if part is None:
            yield prefix + name
        else:
            yield from names(part, f"{prefix}{name}{'[]' if many else ''}.")


def _type(schema: dict[str, Any]) -> str:
    options = [one for one in schema.get("anyOf", [schema]) if one.get("type") != "null"]
    one = options[0]
    if "enum" in one or "const" in one:
        return " or ".join(f"`{value}`" for value in one.get("enum", [one.get("const")]))
    if one.get("type") == "array":
        return f"list of {_type(one['items'])}"
    if "format" in one:
        return {"password": "secret", "path": "path"}[one["format"]]
    word = {"string": "text", "boolean": "true or false", "integer": "whole number"}.get(
        one["type"], one["type"]
    )
    low, high = one.get("minimum", one.get("exclusiveMinimum")), one.get("maximum")
    return f"{word}, {low} to {high}" if high is not None else word


def _default(schema: dict[str, Any], required: bool) -> str:
    if required:
        return "(must be given)"
    value = schema.get("default")
    if value in (None, "", []):
        return ""
    if isinstance(value, list):
        return ", ".join(f"`{one}`" for one in value)
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _rows(model: type[BaseModel], prefix: str) -> list[tuple[str, ...]]:
    schema = model.model_json_schema()
    rows: list[tuple[str, ...]] = []
    for name, field in model.model_fields.items():
        if part_of(field)[0] is None:
            given = schema["properties"][name]
            kind, default = _type(given), _default(given, field.is_required())
            if name == "database_url":  # a secret type only because a URL may hold a password
                kind, default = "URL", f"`{field.default.get_secret_value()}`"
            rows.append((f"`{name}`", kind, default, MEANINGS[prefix + name]))
    return rows


def settings() -> str:
    """docs/reference/settings.md."""
    heads = ("name", "type", "default", "meaning")
    parts = [
        "# Settings",
        _MADE,
        "One TOML file, given with `--config FILE` or `GATEHOUSE_CONFIG`. Every setting can be overridden by a "
        "variable: `GATEHOUSE_` and the name in capitals, sections joined by two underscores "
        "(`GATEHOUSE_SERVER__PORT=8443`). `gatehouse config` prints what holds and where it came from. "
        "Relative paths in the file count from its folder. Lifetimes and intervals are in seconds.",
        "## At the top of the file",
        _table(heads, _rows(Settings, "")),
    ]
    for name, field in Settings.model_fields.items():
        part, many = part_of(field)
        if part is not None:
            parts += [
                f"## `[[{name}]]`" if many else f"## `[{name}]`",
                " ".join((part.__doc__ or "").split()),
                _table(heads, _rows(part, f"{name}[]." if many else f"{name}.")),
            ]
    return "\n\n".join(parts) + "\n"


# -- commands


def walk(name: str, command: TyperCommand | TyperGroup) -> Iterator[tuple[str, TyperCommand]]:
    """Every command below a command, with the words to type."""
    if isinstance(command, TyperGroup):
        for word, below in command.commands.items():
            yield from walk(f"{name} {word}", below)  # type: ignore[arg-type]  # typer makes no others
    else:
        yield name, command


def every_command() -> dict[str, TyperCommand]:
    """All commands by the words to type."""
    return {
        words: command
        for name, app in _COMMANDS.items()
        for words, command in walk(name, get_command(app))  # type: ignore[arg-type]  # typer makes no others
    }


def _parameters(command: TyperCommand) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for parameter in command.params:
        if getattr(parameter, "hidden", False):
            continue
        if isinstance(parameter, TyperArgument):
            spelled = (parameter.metavar or parameter.name or "").upper()
        else:
            both = [*parameter.opts, *parameter.secondary_opts]
            spelled = ", ".join(f"`{word}`" for word in both)
        rows.append((spelled, getattr(parameter, "help", "") or ""))
    return rows


def commands() -> str:
    """docs/reference/commands.md."""
    parts = ["# Commands", _MADE, "Every command explains itself with `--help`."]
    for words, command in every_command().items():
        parts += [f"## `{words}`", (command.help or "").strip()]
        if rows := _parameters(command):
            parts.append(_table(("argument or option", "meaning"), rows))
    return "\n\n".join(parts) + "\n"


# -- HTTP


def application() -> Any:
    """The application as it is served, on an empty database that is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        given = Settings(
            mode="development",
            database_url=SecretStr(f"sqlite:///{folder}/empty.db"),
            secrets=SecretSettings(master_key=SecretStr(base64.b64encode(bytes(32)).decode())),
        )
        service = server.build(given)
        service.database.close()
        app: Any = service.app
        while not isinstance(app, FastAPI):  # behind what stands in front of it and only forwards
            app = vars(app)["_app"]
        return app


def routes(app: Any) -> Iterator[Route]:
    """Every route, whatever it is mounted in."""
    for found in getattr(app, "routes", ()):
        if isinstance(found, Mount):
            yield from routes(found)
        elif isinstance(found, Route):
            yield found


def asked(rule: gate.Rule) -> str:
    """Who may call, in words."""
    if rule.public:
        return f"anybody: {rule.why}"
    kinds = {"person": "people", "pilot": "pilots", "job": "the run of a job"}
    words = " or ".join(
        kinds.get(kind, kind) for kind in ("person", "pilot", "job", "compute") if kind in rule.kinds
    )
    if not rule.any_of:
        return words
    needed = " or ".join(f"`{name}`" for name in rule.any_of)
    return words.replace("people", f"people with the property {needed}", 1)


def _documented(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """The function that a decorator wraps, when only that one says what it does."""
    inner = inspect.getclosurevars(getattr(endpoint, "__func__", endpoint)).nonlocals.get("handler")
    return inner if endpoint.__doc__ is None and callable(inner) else endpoint


def _api_rows(found: list[Route], prefix: str) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for one in found:
        rule = gate.rule_of(one.endpoint)
        if rule is None or not one.path.startswith(prefix):
            continue
        methods = " ".join(sorted((one.methods or set()) - {"HEAD"}))
        what = (_documented(one.endpoint).__doc__ or "").strip().partition("\n")[0]
        rows.append(
            (methods, f"`{one.path.replace(':int', '')}`", what, asked(rule), f"{rule.max_body // 1024} KiB")
        )
    return sorted(rows, key=lambda row: (row[1], row[0]))


def _queries(description: dict[str, Any]) -> list[tuple[str, ...]]:
    return [
        (f"`{method.upper()} {path}`", f"`{one['name']}`", _type(one["schema"]))
        for path, methods in sorted(description["paths"].items())
        for method, said in methods.items()
        for one in said.get("parameters", ())
        if one["in"] == "query"
    ]


def api() -> str:
    """docs/reference/api.md."""
    app = application()
    found = list(routes(app))
    rest = [one for one in found if not one.path.startswith(("/auth", "/api"))]
    heads = ("method", "path", "what", "who may call", "body at most")
    parts = [
        "# HTTP interface",
        _MADE,
        "Errors are JSON everywhere: `error` (a code), `error_description` (a sentence), often `hint` (what to do "
        "next) and facts such as `missing` and `groups_with_it`. A running service describes every route "
        "as OpenAPI at `/api/openapi.json`. A token goes into the header `Authorization: Bearer …`. "
        "Every route declares who may call it; the service does not start when one declares nothing.",
        "## Login and tokens",
        _table(heads, _api_rows(found, "/auth")),
        "## Jobs and pilots",
        _table(heads, _api_rows(found, "/api")),
        "Parameters of the query:",
        _table(("route", "name", "type"), _queries(openapi.document(app, found))),
        "## The rest",
        _table(heads, _api_rows(rest, "/")),
    ]
    return "\n\n".join(parts) + "\n"


PAGES: dict[str, Callable[[], str]] = {"settings.md": settings, "commands.md": commands, "api.md": api}


def main_program() -> int:
    """Write the pages, or with `--check` say what would change; 1 when something would."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    old = 0
    REFERENCE.mkdir(parents=True, exist_ok=True)
    for name, make in PAGES.items():
        file, text = REFERENCE / name, make()
        before = file.read_text() if file.exists() else ""
        old += before != text
        if check:
            sys.stdout.writelines(
                difflib.unified_diff(before.splitlines(True), text.splitlines(True), name, name)
            )
        else:
            file.write_text(text)
    return int(check and old > 0)


if __name__ == "__main__":
    sys.exit(main_program())
