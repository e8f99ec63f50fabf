"""The manifest: what a job asks for, in the shape the service takes it (`POST /api/jobs`)."""

from typing import TypedDict

JOBS_LIMIT = 1000
"""Most jobs in one submission."""


class Manifest(TypedDict):
    """One job. Every key is present; `cpu_time` is in seconds, `priority` from 0 to 10."""

    executable: str
    arguments: str
    name: str
    job_group: str
    job_type: str
    cpu_time: int
    priority: int
    sites: list[str]
    banned_sites: list[str]
    platforms: list[str]
    tags: list[str]
    number_of_processors: int
    environment: dict[str, str]
    input_sandbox: list[str]
    output_sandbox: list[str]
    std_output: str
    std_error: str
    input_data: list[str]
    output_data: list[str]
    log_level: str


def manifest(executable: str) -> Manifest:
    """A manifest that asks for nothing but running `executable`: the defaults of every field."""
    return Manifest(
        executable=executable,
        arguments="",
        name="Unknown",
        job_group="",
        job_type="User",
        cpu_time=86400,
        priority=1,
        sites=[],
        banned_sites=[],
        platforms=[],
        tags=[],
        number_of_processors=1,
        environment={},
        input_sandbox=[],
        output_sandbox=["std.out", "std.err"],
        std_output="std.out",
        std_error="std.err",
        input_data=[],
        output_data=[],
        log_level="INFO",
    )
