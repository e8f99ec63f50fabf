"""What `dstat`, `dlogging` and their like show: job numbers in, columns out."""

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from gatehouse.cli.errors import CommandError, UsageError, clean

COLUMNS: Mapping[str, str] = {
    "JobID": "job_id",
    "Owner": "owner",
    "JobName": "name",
    "OwnerGroup": "owner_group",
    "JobGroup": "job_group",
    "Site": "site",
    "Status": "status",
    "MinorStatus": "minor_status",
    "SubmissionTime": "submission_time",
    "JobType": "job_type",
    "ApplicationStatus": "application_status",
    "StartExecTime": "start_exec_time",
    "EndExecTime": "end_exec_time",
    "HeartBeatTime": "heart_beat_time",
    "CPUTime": "cpu_time",
    "Priority": "priority",
    "VO": "vo",
}
"""Every column and the member of a job it shows; the first nine are shown unless others are asked for."""

DEFAULT_COLUMNS = tuple(COLUMNS)[:9]
LOG_COLUMNS: Mapping[str, str] = {
    "Status": "status",
    "MinorStatus": "minor_status",
    "ApplicationStatus": "application_status",
    "Time": "time",
    "Source": "source",
}
_MAX_IDS = 100_000
_MAX_FILE = 4 * 1024 * 1024
_BETWEEN = re.compile(r"[\s,\[\];]+")


def words(values: Iterable[str]) -> list[str]:
    """Option values as a flat list: given several times, or once with commas."""
    return [word.strip() for value in values for word in value.split(",") if word.strip()]


def job_ids(values: Sequence[str], file: Path | None = None) -> list[int]:
    """Job numbers of the command line and of a file (`-` is standard input), each once, in their order."""
    found = [word for value in values for word in _BETWEEN.split(value) if word]
    if file is not None:
        found += [word for word in _BETWEEN.split(_text_of(file)) if word]
    for word in found:
        if not re.fullmatch(r"[0-9]{1,15}", word, re.ASCII) or int(word) == 0:
            raise UsageError(f"not a job number: {clean(word, limit=60)}")
    ids = list(dict.fromkeys(int(word) for word in found))
    if len(ids) > _MAX_IDS:
        raise UsageError(f"more than {_MAX_IDS} job numbers")
    return ids


def _text_of(file: Path) -> str:
    if str(file) == "-":
        text = sys.stdin.read(_MAX_FILE + 1)
    else:
        try:
            with file.open(encoding="utf-8", errors="replace") as opened:
                text = opened.read(_MAX_FILE + 1)
        except OSError as error:
            raise UsageError(f"cannot read {file}", why=error.strerror or "") from error
    if len(text) > _MAX_FILE:
        raise UsageError(f"{file} is too large", why=f"more than {_MAX_FILE} characters")
    return text


def fields(names: Sequence[str]) -> list[str]:
    """The wanted columns by their right names; the usual ones when none is given."""
    return [_match(name, COLUMNS, "column") for name in words(names)] or list(DEFAULT_COLUMNS)


def statuses(names: Sequence[str]) -> list[str]:
    """Status words by their right names."""
    from gatehouse.wms.states import JobStatus

    return [_match(name, [status.value for status in JobStatus], "status") for name in words(names)]


def _match(name: str, known: Iterable[str], kind: str) -> str:
    by_lower = {word.lower(): word for word in known}
    if name.lower() in by_lower:
        return by_lower[name.lower()]
    close = get_close_matches(name.lower(), by_lower, n=1)
    raise UsageError(
        f"no such {kind}: {clean(name, limit=60)}",
        why=f"there are {', '.join(by_lower.values())}",
        next_step=f"next: did you mean {by_lower[close[0]]}?" if close else "",
    )


def row(record: Mapping[str, Any], columns: Iterable[str], members: Mapping[str, str] = COLUMNS) -> list[str]:
    """One line of a table; what is not known is empty."""
    values = (record.get(members[column]) for column in columns)
    return ["" if value is None else str(value) for value in values]


def missing(wanted: Sequence[int], found: Iterable[Mapping[str, Any]]) -> None:
    """Refuse when asked-for jobs are not among those found."""
    seen = {record.get("job_id") for record in found}
    lost = [str(job_id) for job_id in wanted if job_id not in seen]
    if lost:
        more = f" and {len(lost) - 20} more" if len(lost) > 20 else ""
        raise CommandError(
            f"no such job: {', '.join(lost[:20])}{more}", why="it does not exist, or it is not yours to see"
        )
