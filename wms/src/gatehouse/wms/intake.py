"""What comes in as JSON, decoded and bounded in one pass (msgspec); what is wrong is named by its field.

`manifest.py` has the same shape for the light client, which has no msgspec.
"""

import re
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta, Struct

from gatehouse.registry.errors import Problem

JOBS_LIMIT = 1000
MANIFEST_LIMIT = 60_000
"""Bytes of one stored manifest: what a TEXT column holds everywhere."""

_Word = Annotated[str, Meta(min_length=1, max_length=128)]
_Words = Annotated[list[_Word], Meta(max_length=64)]
_File = Annotated[str, Meta(min_length=1, max_length=255)]
_Files = Annotated[list[Annotated[str, Meta(min_length=1, max_length=1024)]], Meta(max_length=100)]
_Variable = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")]
_SandboxId = Annotated[str, Meta(pattern=r"^SB:[0-9a-f]{64}$")]
Tags = _Words


class Manifest(Struct, forbid_unknown_fields=True, frozen=True, gc=False):
    """One job: `cpu_time` in seconds, `priority` from 0 to 10."""

    executable: Annotated[str, Meta(min_length=1, max_length=1024)]
    arguments: Annotated[str, Meta(max_length=16384)] = ""
    name: _Word = "Unknown"
    job_group: Annotated[str, Meta(max_length=128)] = ""
    job_type: Annotated[str, Meta(min_length=1, max_length=32)] = "User"
    cpu_time: Annotated[int, Meta(ge=1, le=100_000_000)] = 86400
    priority: Annotated[int, Meta(ge=0, le=10)] = 1
    sites: _Words = []
    banned_sites: _Words = []
    platforms: _Words = []
    tags: Tags = []
    number_of_processors: Annotated[int, Meta(ge=1, le=1024)] = 1
    environment: Annotated[dict[_Variable, Annotated[str, Meta(max_length=4096)]], Meta(max_length=100)] = {}
    input_sandbox: Annotated[list[_SandboxId], Meta(max_length=16)] = []
    output_sandbox: Annotated[list[_File], Meta(max_length=100)] = msgspec.field(
        default_factory=lambda: ["std.out", "std.err"]
    )
    std_output: _File = "std.out"
    std_error: _File = "std.err"
    input_data: _Files = []
    output_data: _Files = []
    log_level: Annotated[str, Meta(min_length=1, max_length=16)] = "INFO"


class Submission(Struct, forbid_unknown_fields=True, frozen=True):
    """Jobs submitted together: all or none."""

    jobs: Annotated[list[Manifest], Meta(min_length=1, max_length=JOBS_LIMIT)]


class Offer(Struct, forbid_unknown_fields=True, frozen=True):
    """What a pilot has to offer: `cpu_time` in seconds."""

    site: _Word
    ce: _Word
    tags: Tags = []
    cpu_time: Annotated[int, Meta(ge=0, le=100_000_000)] = 86400
    number_of_processors: Annotated[int, Meta(ge=1, le=1024)] = 1


class Beat(Struct, frozen=True):
    """A heartbeat."""

    application_status: Annotated[str, Meta(max_length=255)] = ""


class Report(Struct, frozen=True):
    """A change of status that a run reports."""

    status: Annotated[str, Meta(max_length=16)]
    minor_status: Annotated[str, Meta(max_length=128)] = ""
    application_status: Annotated[str, Meta(max_length=255)] = ""


class PilotReport(Struct, frozen=True):
    """How a pilot ended."""

    status: Annotated[str, Meta(max_length=16)]
    message: Annotated[str, Meta(max_length=1000)] = ""


_T = TypeVar("_T")
_SUBMISSION = msgspec.json.Decoder(Submission)
_MANIFEST = msgspec.json.Decoder(Manifest)
_AT = re.compile(r" - at (?:`key` in )?`\$\.?(?P<path>[^`]*)`$")
_MISSING = re.compile(r"missing required field `(?P<name>\w+)`")
_UNKNOWN = re.compile(r"unknown field `(?P<name>[^`]*)`")
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


def submission(body: bytes) -> list[Manifest]:
    """The jobs of a `POST /api/jobs`. Raises Problem 400 `invalid_job`."""
    jobs = decode(_SUBMISSION, body, "invalid_job").jobs
    for index, job in enumerate(jobs):
        _check(job, index)
    return jobs


def manifest(text: str) -> Manifest:
    """A stored manifest."""
    return _MANIFEST.decode(text)


def decode(decoder: msgspec.json.Decoder[_T], body: bytes, code: str = "invalid_request") -> _T:
    """A body as its type. Raises Problem 400 that names the field."""
    if b"\\u0000" in body and _NUL.search(body):
        raise Problem(400, code, "Texts may not contain the NUL character.")
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _refusal(str(error), code) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, code, f"The request body is not valid JSON: {str(error)[:200]}.") from None


def _check(job: Manifest, index: int) -> None:
    """What types do not say: texts that become columns print on one line, files stay in the job's directory."""
    for field in ("name", "job_group", "job_type", "log_level"):
        if not getattr(job, field).isprintable():
            raise _field(index, field, "has a character that does not print")
    for field, names in (
        ("output_sandbox", job.output_sandbox),
        ("std_output", (job.std_output,)),
        ("std_error", (job.std_error,)),
    ):
        for name in names:
            if name[0] == "/" or (".." in name and ".." in name.split("/")):
                raise _field(index, field, "must name files below the job's directory")


def too_long(index: int) -> Problem:
    """The refusal of a manifest that would not fit its column."""
    message = f"Job {index} is longer than {MANIFEST_LIMIT:,} bytes."
    hint = "Put long lists and texts into the input sandbox."
    return Problem(400, "invalid_job", message, hint=hint, facts={"field": f"jobs[{index}]"})


def _field(index: int, field: str, why: str) -> Problem:
    path = f"jobs[{index}].{field}"
    return Problem(400, "invalid_job", f"{path} {why}.", facts={"field": path})


def _refusal(text: str, code: str) -> Problem:
    place = _AT.search(text)
    path = place["path"] if place else ""
    for pattern in (_MISSING, _UNKNOWN):
        if named := pattern.search(text):
            path = f"{path}.{named['name']}".lstrip(".")
    what = _AT.sub("", text).replace("`", "")
    message = f"{path}: {what}." if path else f"{what}."
    return Problem(400, code, message[:500], facts={"field": path[:200]})
