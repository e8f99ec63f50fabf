"""From a `dsub` command line to manifests: what is packed, what is named, what comes from where."""

import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Protocol

from gatehouse.cli.errors import CommandError, UsageError, clean

if TYPE_CHECKING:
    from gatehouse.wms.jdl import Layer

_MAX_SCRIPT = 1 << 20  # bytes read of a script, from standard input or for its #JDL lines
_MAX_JDL = 1 << 20
_STDIN_NAME = "STDIN"


class Sandboxes(Protocol):
    """Takes archives; the client, or whatever stands for it."""

    def upload_sandbox(self, archive: bytes) -> str:
        """Store an archive; its name."""
        ...


@dataclass(frozen=True)
class Plan:
    """Jobs to submit, their input sandboxes still local files by name.

    `executable` is the one of them that must run there; `script` its content if it came on standard input.
    """

    jobs: tuple[Mapping[str, Any], ...]
    notes: tuple[str, ...] = ()
    executable: str = ""
    script: bytes = b""


@dataclass(frozen=True)
class _Program:
    """What the words after the options stand for."""

    layer: "Layer" = field(default_factory=dict)
    defaults: "Layer" = field(default_factory=dict)
    local_file: str = ""
    script: bytes = b""


def describe(
    command: Sequence[str],
    *,
    jdl: str = "",
    options: Mapping[str, str | Sequence[str] | None],
    parametric: str | None = None,
) -> Plan:
    """The jobs of one command line. Later wins: the job name by default, JDL, `#JDL` lines, options.

    Raises UsageError when the description cannot be understood.
    """
    from gatehouse.wms.jdl import JdlError, attribute, read, submission
    from gatehouse.wms.parametric import loop_values

    try:
        program = _program(command, with_jdl=bool(jdl))
        layer = {**program.defaults, **(read(_jdl_text(jdl)) if jdl else {}), **program.layer}
        for name, value in options.items():
            if value not in (None, [], ()):
                layer.update(attribute(name, value or ""))
        if parametric is not None:
            layer.update(attribute("Parameters", loop_values(parametric)))
        wanted = submission(layer)
    except JdlError as error:
        raise UsageError(
            "the job description is not understood", why=str(error), next_step="run: dsub --help"
        ) from error
    jobs = [_completed(job, program.local_file, "outputsandbox" in layer) for job in wanted.jobs]
    notes = wanted.notes
    if program.local_file.lower().endswith(".jdl"):
        notes += (f"{program.local_file} is sent as a program; a job description is given with -J",)
    return Plan(tuple(jobs), notes, program.local_file, program.script)


def _completed(job: Mapping[str, Any], local_file: str, outputs_given: bool) -> dict[str, Any]:
    full = dict(job)
    if local_file and local_file not in full["input_sandbox"]:
        full["input_sandbox"] = [local_file, *full["input_sandbox"]]
    if not outputs_given:  # what the job prints comes back, whatever the files are called
        full["output_sandbox"] = list(dict.fromkeys([full["std_output"], full["std_error"]]))
    return full


def _program(command: Sequence[str], *, with_jdl: bool) -> _Program:
    from gatehouse.wms.jdl import attribute, script_lines

    if not command:
        if with_jdl:
            return _Program()
        return _stdin_script()
    executable, *arguments = command
    path = Path(executable)
    layer = dict(attribute("Arguments", _joined(arguments))) if arguments else {}
    name = attribute("JobName", path.name)
    if path.is_absolute():
        return _Program({**attribute("Executable", executable), **layer}, name)
    if path.is_file():
        with path.open("rb") as file:
            lines = script_lines(file.read(_MAX_SCRIPT).decode("utf-8", "replace"))
        return _Program({**lines, **attribute("Executable", path.name), **layer}, name, executable)
    if "/" in executable or shutil.which(executable) is None:
        raise UsageError(
            f"no such file: {clean(executable, limit=200)}",
            why="a relative executable is sent along with the job",
        )
    return _Program({**attribute("Executable", executable), **layer}, name)


def _joined(arguments: Sequence[str]) -> str:
    """One line that a POSIX shell, or shlex, takes apart into the same words."""
    return shlex.join(arguments)


def _stdin_script() -> _Program:
    from gatehouse.wms.jdl import attribute, script_lines

    if sys.stdin.isatty():
        raise UsageError(
            "what shall run?",
            why="no executable, no -J and nothing on standard input",
            next_step="run: dsub --help",
        )
    script = sys.stdin.buffer.read(_MAX_SCRIPT + 1)
    if not script.strip() or len(script) > _MAX_SCRIPT:
        raise UsageError(
            "no usable script on standard input", why=f"it is empty or larger than {_MAX_SCRIPT} bytes"
        )
    if not script.startswith(b"#!"):
        script = b"#!/bin/sh\n" + script
    lines = script_lines(script.decode("utf-8", "replace"))
    layer = {**lines, **attribute("Executable", _STDIN_NAME)}
    return _Program(layer, attribute("JobName", _STDIN_NAME), _STDIN_NAME, script)


def _jdl_text(given: str) -> str:
    """The JDL of a file, or the text itself when it looks like one."""
    if "=" in given and not Path(given[:255]).is_file():
        return given
    try:
        with Path(given).open(encoding="utf-8") as file:
            text = file.read(_MAX_JDL + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"cannot read {clean(given, limit=200)}",
            why=getattr(error, "strerror", None) or "it is no text file",
        ) from error
    if len(text) > _MAX_JDL:
        raise UsageError(f"{clean(given, limit=200)} is too large")
    return text


def upload_inputs(client: Sandboxes, plan: Plan) -> list[dict[str, Any]]:
    """The manifests with their local input files packed and stored; the same files are sent once."""
    stored: dict[tuple[str, ...], str] = {}
    manifests: list[dict[str, Any]] = []
    for job in plan.jobs:
        names: list[str] = job["input_sandbox"]
        kept = [name for name in names if name.startswith("SB:")]
        local = tuple(name for name in names if not name.startswith("SB:"))
        if local and local not in stored:
            stored[local] = client.upload_sandbox(_archive(local, plan.executable, plan.script))
        manifests.append({**job, "input_sandbox": [*kept, *([stored[local]] if local else [])]})
    return manifests


def _archive(names: Sequence[str], executable: str, script: bytes) -> bytes:
    """The files as one archive; the executable may be run there even if it may not here."""
    from gatehouse.wms.archive import ArchiveError, pack

    with TemporaryDirectory(prefix="dsub-") as directory:
        files = []
        for name in names:
            path = Path(name)
            if name == executable and (script or not os.access(path, os.X_OK)):
                path = Path(directory) / path.name
                path.write_bytes(script or Path(name).read_bytes())
                path.chmod(0o700)
            files.append(path)
        try:
            return pack(files)
        except ArchiveError as error:
            raise CommandError("the input sandbox cannot be packed", why=str(error)) from error
