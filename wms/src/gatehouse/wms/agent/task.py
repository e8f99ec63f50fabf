"""What to run, read from a manifest that somebody else wrote and the gate passed on."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from gatehouse.wms.archive import ArchiveError, safe_name

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
TEXT_LIMIT = 64 * 1024


class TaskError(ValueError):
    """A manifest that can't be run; the message is for the owner of the job."""


@dataclass(frozen=True, slots=True)
class Task:
    """The part of a manifest that matters on a worker node. File names are safe below the job's directory."""

    executable: str
    arguments: str
    environment: Mapping[str, str]
    std_output: str
    std_error: str
    output: tuple[str, ...]
    processors: int


def read_task(manifest: Mapping[str, object]) -> Task:
    """The task of a manifest; `TaskError` says what is wrong with it."""
    executable = _text(manifest, "executable", "")
    if not executable:
        raise TaskError("the executable is empty")
    environment = manifest.get("environment") or {}
    if not isinstance(environment, dict) or not all(_variable(*item) for item in environment.items()):
        raise TaskError("the environment is not made of names and texts")
    processors = manifest.get("number_of_processors", 1)
    output = manifest.get("output_sandbox") or []
    if not isinstance(output, list) or not all(isinstance(name, str) for name in output):
        raise TaskError("the output sandbox is no list of names")
    return Task(
        executable=executable,
        arguments=_text(manifest, "arguments", ""),
        environment=environment,
        std_output=_file(manifest, "std_output", "std.out"),
        std_error=_file(manifest, "std_error", "std.err"),
        output=tuple(output),
        processors=processors if isinstance(processors, int) else 1,
    )


def _text(manifest: Mapping[str, object], key: str, default: str) -> str:
    value = manifest.get(key, default)
    if not isinstance(value, str) or len(value) > TEXT_LIMIT or "\0" in value:
        raise TaskError(f"{key} is no text")
    return value


def _file(manifest: Mapping[str, object], key: str, default: str) -> str:
    try:
        name = safe_name(_text(manifest, key, default))
    except ArchiveError as error:
        raise TaskError(f"{key}: {error}") from error
    return name or default


def _variable(name: object, value: object) -> bool:
    named = isinstance(name, str) and _VARIABLE.fullmatch(name) is not None
    return named and isinstance(value, str) and "\0" not in value and len(value) <= TEXT_LIMIT
