"""DIRAC's `.cfg` files: sections of options, read, written and merged the way DIRAC's own programs do.

The grammar is line based: no quotes, no escapes, no comments behind a value. What looks odd here (a bare word
carried to the next line, `A { x = 1` naming an option `A { x`) is what existing files are read as today.
"""

import re
from collections.abc import Iterator

from gatehouse.registry.cfgtree import CfgError, Section, split_list

__all__ = ["CfgError", "Section", "dump", "merge", "parse", "split_list"]

MAX_TEXT = 16 * 1024 * 1024  # characters
MAX_LINE = 64 * 1024  # characters; also of a name carried from line to line
MAX_DEPTH = 64

_SPECIAL = re.compile(r"[{}=]|\+=")


def parse(text: str) -> Section:
    """Read a `.cfg` text; raises `CfgError` with the line at fault. Size, depth and line length are bounded."""
    if len(text) > MAX_TEXT:
        raise CfgError(0, f"the text is longer than {MAX_TEXT} characters")
    reader = _Reader()
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        reader.read(number, line.strip())
    return reader.finish()


class _Reader:
    """The state between two lines: the open sections, a name not yet used, comments not yet attached."""

    def __init__(self) -> None:
        self._open = [Section()]
        self._pending = ""
        self._comment: list[str] = []
        self._appended: dict[tuple[int, str], tuple[Section, list[str]]] = {}
        self._line = 0

    def read(self, number: int, line: str) -> None:
        self._line = number
        if len(line) > MAX_LINE or len(self._pending) > MAX_LINE:
            raise CfgError(number, f"is longer than {MAX_LINE} characters")
        if line.startswith("#"):
            self._comment.append(line.replace("#", "").strip())
            return None
        at = 0
        for special in _SPECIAL.finditer(line):
            self._pending += line[at : special.start()]
            at = special.end()
            match special[0]:
                case "{":
                    self._enter()
                case "}":
                    self._leave()
                case "=":
                    return self._set(*line.split("=", 1))
                case _:
                    return self._append(*line.split("+=", 1))
        self._pending += line[at:]
        return None

    def finish(self) -> Section:
        if len(self._open) > 1:
            raise CfgError(self._line, f"{len(self._open) - 1} section(s) are not closed at the end")
        # Joined once: a text of a million appends must not copy the value a million times.
        for (_, name), (section, values) in self._appended.items():
            section.entries[name] = ", ".join((section.get_own(name), *values))
        return self._open[0]

    def _enter(self) -> None:
        # A name with slashes is a path to be created below sections that are already there.
        *parents, name = [part.strip() for part in self._pending.split("/") if part.strip()] or [""]
        within = self._open[-1].section("/".join(parents))
        if not name:
            raise CfgError(self._line, "a section has no name")
        if within is None:
            raise CfgError(self._line, f"the section above '{self._pending.strip()}' does not exist")
        if name in within.entries:
            raise CfgError(self._line, f"'{name}' is there already")
        if len(self._open) > MAX_DEPTH:
            raise CfgError(self._line, f"sections are nested deeper than {MAX_DEPTH}")
        entered = Section()
        within.entries[name] = entered
        self._named(within, name)
        self._open.append(entered)

    def _leave(self) -> None:
        if len(self._open) == 1:
            raise CfgError(self._line, "'}' closes no section")
        self._open.pop()

    def _set(self, name: str, value: str) -> None:
        name, here = name.strip(), self._open[-1]
        if not name:
            raise CfgError(self._line, "an option has no name")
        if isinstance(here.entries.get(name), Section):
            raise CfgError(self._line, f"'{name}' is a section already")
        here.entries[name] = value.strip()
        self._appended.pop((id(here), name), None)
        self._named(here, name)

    def _append(self, name: str, value: str) -> None:
        name, here = name.strip(), self._open[-1]
        if not isinstance(here.entries.get(name), str):
            raise CfgError(self._line, f"'+=' finds no option '{name}' to add to")
        self._appended.setdefault((id(here), name), (here, []))[1].append(value.strip())
        self._named(here, name)

    def _named(self, section: Section, name: str) -> None:
        self._pending = ""
        if self._comment:
            section.comments[name] = "\n".join(self._comment)
            self._comment = []


def merge(base: Section, later: Section) -> Section:
    """A new tree: options of `later` win, sections are merged; an option against a section is an error."""
    merged = Section(dict(base.entries), {**base.comments, **later.comments})
    for name, entry in later.entries.items():
        mine = merged.entries.get(name)
        if mine is not None and isinstance(mine, str) != isinstance(entry, str):
            raise CfgError(0, f"'{name}' is an option in one tree and a section in the other")
        merged.entries[name] = (
            entry
            if isinstance(entry, str)
            else merge(mine if isinstance(mine, Section) else Section(), entry)
        )
    return merged


def dump(section: Section) -> str:
    """The text of a tree; raises `CfgError` for names and values that the grammar cannot write."""
    return "".join(f"{line}\n" for line in _lines(section, 0))


def _lines(section: Section, depth: int) -> Iterator[str]:
    indent = "  " * depth
    for name, entry in section.entries.items():
        _check_name(name, entry)
        for comment in section.comments.get(name, "").splitlines():
            yield f"{indent}# {comment}".rstrip()
        if isinstance(entry, Section):
            yield from (f"{indent}{name}", f"{indent}{{")
            yield from _lines(entry, depth + 1)
            yield f"{indent}}}"
        else:
            yield from (f"{indent}{line}" for line in _option_lines(name, entry))


def _option_lines(name: str, value: str) -> Iterator[str]:
    if "\n" in value:
        raise CfgError(0, f"the value of '{name}' has a line break, which a .cfg file cannot hold")
    # One line for each element of a list, so that a change of one element is a change of one line.
    first, *others = (split_list(value) or [""]) if "," in value else [value.strip()]
    yield f"{name} = {first}".rstrip()
    yield from (f"{name} += {other}" for other in others)


def _check_name(name: str, entry: "str | Section") -> None:
    spoiled = any(char in name for char in "{}=\n") or name.startswith("#") or name != name.strip()
    if not name or spoiled or (isinstance(entry, Section) and "/" in name):
        raise CfgError(0, f"'{name}' cannot be the name of an option or section in a .cfg file")
