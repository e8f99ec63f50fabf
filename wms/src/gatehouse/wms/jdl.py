"""What a job description means: attributes to manifests (DIRAC's names, in any case).

Layers come from several places (a profile, a JDL file, `#JDL` lines of the script, command options) and are
plain mappings; the later layer wins: `submission({**read(text), **script_lines(script), **options})`.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from gatehouse.wms import classad, parametric
from gatehouse.wms.attributes import environment_of, field_of, integer_of, text_of, truth_of, words_of
from gatehouse.wms.jdltree import NOWHERE, Items, JdlError, Pair, Place, Text
from gatehouse.wms.manifest import Manifest, manifest

__all__ = ["JdlError", "Layer", "Submission", "attribute", "read", "script_lines", "submission"]

Layer = Mapping[str, Pair]
"""Attributes by lower-case name."""

_TEXTS = {
    "executable": "executable",
    "arguments": "arguments",
    "jobname": "name",
    "jobgroup": "job_group",
    "jobtype": "job_type",
    "stdoutput": "std_output",
    "stderror": "std_error",
    "loglevel": "log_level",
}
_LISTS = {
    "site": "sites",
    "bannedsites": "banned_sites",
    "platform": "platforms",
    "tags": "tags",
    "inputsandbox": "input_sandbox",
    "outputsandbox": "output_sandbox",
    "inputdata": "input_data",
    "outputdata": "output_data",
}
_NUMBERS = {
    "cputime": ("cpu_time", 1, 100_000_000),
    "priority": ("priority", 0, 10),
    "numberofprocessors": ("number_of_processors", 1, 1024),
}
_SYNONYMS = {
    "bannedsite": "bannedsites",
    "tag": "tags",
    "minnumberofprocessors": "numberofprocessors",
    "sites": "site",
    "platforms": "platform",
    "stdout": "stdoutput",
    "stderr": "stderror",
}
_NEEDS = {"maxram", "wholenode"}
_CLAIMS = {"owner", "ownergroup", "virtualorganization"}
_UNUSED = {
    *("inputdatapolicy", "inputdatamodule", "jobconfigargs", "outputpath", "outputse", "softwaredistmodule"),
    *("maxnumberofprocessors", "origin", "ownerdn", "ownername", "stdinput", "parameternumber", "parameter"),
}
_REFUSED = {"gridce": "this service places jobs by site, not by computing element; use Site"}
_KNOWN = {*_TEXTS, *_LISTS, *_NUMBERS, *_SYNONYMS, *_NEEDS, *_CLAIMS, *_UNUSED, *_REFUSED}
_KNOWN |= {"executionenvironment", *parametric.NAMES}

_LEVELS = {"DEBUG", "VERBOSE", "INFO", "NOTICE", "WARN", "ERROR", "FATAL", "ALWAYS"}
_JDL_LINE = re.compile(r"#JDL[ \t]+(?P<name>[A-Za-z_][A-Za-z0-9_.]{0,127})[ \t]*=[ \t]*(?P<value>[^\r\n]*)")


@dataclass(frozen=True, slots=True)
class Submission:
    """What one description asks for.

    `jobs` holds 1 to 1000 manifests, with sandbox files still by their local names; `notes` are sentences about
    attributes without effect here; `claims` is what the text says about `Owner`, `OwnerGroup` and
    `VirtualOrganization` (lower case), for the submitter to compare: the service goes by the token alone.
    """

    jobs: tuple[Manifest, ...]
    notes: tuple[str, ...] = ()
    claims: Mapping[str, str] | None = None


def read(text: str) -> dict[str, Pair]:
    """The attributes of a JDL text."""
    return _layer(classad.parse(text))


def script_lines(script: str) -> dict[str, Pair]:
    """The attributes given by `#JDL Key=Value` lines of a script.

    A value that starts like JDL (`"`, `{`, `[`) is read as JDL; anything else is the plain rest of the line.
    """
    pairs: list[Pair] = []
    size = 0
    for number, line in enumerate(script.split("\n"), start=1):
        if not line.startswith(("#JDL ", "#JDL\t")):
            continue
        size += len(line)
        if size > classad.TEXT_LIMIT:
            raise JdlError(number, 1, f"the #JDL lines are longer than {classad.TEXT_LIMIT // 1024} KiB")
        pairs.append(_script_pair(line, number))
    return _layer(pairs)


def _script_pair(line: str, number: int) -> Pair:
    match = _JDL_LINE.match(line)
    if match is None:
        raise JdlError(number, 1, "write '#JDL Key=Value'")
    at = Place(number, match.start("value") + 1)
    value = match["value"].rstrip()
    if value.startswith(('"', "{", "[")):
        return Pair(match["name"], classad.parse_value(value, at), Place(number, match.start("name") + 1))
    plain = value.removesuffix(";").rstrip()
    return Pair(match["name"], Text(plain, at), Place(number, match.start("name") + 1))


def attribute(name: str, value: str | int | Iterable[str]) -> dict[str, Pair]:
    """A layer of one attribute given as a plain value, as from a command option; no JDL syntax is looked for."""
    if isinstance(value, str | int):
        return _layer([Pair(name, Text(str(value), NOWHERE), NOWHERE)])
    return _layer([Pair(name, Items(tuple(Text(item, NOWHERE) for item in value), NOWHERE), NOWHERE)])


def _layer(pairs: Iterable[Pair]) -> dict[str, Pair]:
    layer: dict[str, Pair] = {}
    for pair in pairs:
        key = _SYNONYMS.get(pair.name.lower(), pair.name.lower())
        if key in layer:
            first = layer[key].at.line
            raise pair.at.error(f"{pair.name} is given twice, first in line {first}")
        layer[key] = pair
    return layer


def submission(layer: Layer) -> Submission:
    """The jobs that the attributes describe; `JdlError` when they describe none."""
    plain = {key: pair for key, pair in layer.items() if key.split(".")[0] not in parametric.NAMES}
    notes = tuple(note for key, pair in plain.items() if (note := _note(key, pair)))
    if "executable" not in plain:
        raise JdlError(1, 1, "Executable is missing: say what to run")
    jobs = tuple(_manifest(attributes) for attributes in parametric.expand(plain, layer))
    claims = {key: text_of(plain[key]) for key in sorted(_CLAIMS & plain.keys())}
    return Submission(jobs, notes, claims)


def _note(key: str, pair: Pair) -> str:
    base = key.split(".", maxsplit=1)[0]
    if base in _REFUSED:
        raise pair.at.error(f"{pair.name}: {_REFUSED[base]}")
    if base in _UNUSED:
        return f"{pair.name} has no effect here"
    if base in ("inputdata", "outputdata") and words_of(pair):
        return f"{pair.name} is written down with the job; no data is moved for it yet"
    if base in _KNOWN:
        return ""
    if close := get_close_matches(base, sorted(_KNOWN), n=1, cutoff=0.85):
        raise pair.at.error(f"{pair.name} is no attribute; did you mean {close[0]}?")
    return f"{pair.name} is no attribute known here; it has no effect"


def _manifest(attributes: Layer) -> Manifest:
    job = manifest(text_of(attributes["executable"]).strip())
    # TypedDict keys must be literals for the type checker; these tables are the literals, so a plain dict it is.
    values: dict[str, object] = {}
    for key, field in _TEXTS.items():
        if key in attributes:
            values[field] = field_of(attributes[key], field)
    for key, field in _LISTS.items():
        if key in attributes:
            values[field] = words_of(attributes[key])
    for key, (field, low, high) in _NUMBERS.items():
        if key in attributes:
            values[field] = integer_of(attributes[key], low, high)
    job.update(values)  # type: ignore[typeddict-item]  # keys and types are those of the tables above
    _check(job, attributes)
    job["tags"] += _needs(attributes)
    if any(site.upper() == "ANY" for site in job["sites"]):
        job["sites"] = []
    if "executionenvironment" in attributes:
        job["environment"] = environment_of(attributes["executionenvironment"])
    return job


def _check(job: Manifest, attributes: Layer) -> None:
    if not job["executable"]:
        raise attributes["executable"].at.error("Executable is empty: say what to run")
    if job["log_level"] not in _LEVELS:
        raise attributes["loglevel"].at.error(f"LogLevel is one of {', '.join(sorted(_LEVELS))}")
    for key in ("inputdata", "outputdata"):
        for name in job["input_data"] if key == "inputdata" else job["output_data"]:
            if "//" in name:
                raise attributes[key].at.error(f"{name!r} has an empty part ('//') in its path")


def _needs(attributes: Layer) -> list[str]:
    """Tags a matching pilot must carry for `MaxRAM` (GB) and `WholeNode`, as DIRAC spells them."""
    tags: list[str] = []
    if "maxram" in attributes:
        tags.append(f"{integer_of(attributes['maxram'], 1, 65536)}GB")
    if "wholenode" in attributes and truth_of(attributes["wholenode"]):
        tags.append("WholeNode")
    return tags
