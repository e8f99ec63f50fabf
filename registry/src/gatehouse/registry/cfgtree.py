"""The tree of a DIRAC configuration: sections of options, and how option values are read as types."""

from collections.abc import Iterator
from dataclasses import dataclass, field

_TRUE = frozenset({"y", "yes", "true", "1"})


class CfgError(ValueError):
    """The text or tree cannot be used; `line` counts from 1, 0 when no line is at fault."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"line {line}: {message}" if line else message)
        self.line = line
        self.message = message


@dataclass(slots=True)
class Section:
    """Options and subsections under one kind of name each, in order; comments by the name they precede."""

    entries: dict[str, "str | Section"] = field(default_factory=dict)
    comments: dict[str, str] = field(default_factory=dict)

    @property
    def options(self) -> dict[str, str]:
        """The options, in order."""
        return {name: entry for name, entry in self.entries.items() if isinstance(entry, str)}

    @property
    def sections(self) -> dict[str, "Section"]:
        """The subsections, in order."""
        return {name: entry for name, entry in self.entries.items() if isinstance(entry, Section)}

    def find(self, path: str) -> "str | Section | None":
        """The option or section at `a/b/c` (empty components are skipped); None when there is none."""
        found: str | Section | None = self
        for name in filter(None, path.split("/")):
            found = found.entries.get(name) if isinstance(found, Section) else None
        return found

    def get_own(self, name: str) -> str:
        """The option of exactly that name, which may hold slashes; empty when there is none."""
        entry = self.entries.get(name)
        return entry if isinstance(entry, str) else ""

    def section(self, path: str) -> "Section | None":
        """The section at a path, None when there is none."""
        found = self.find(path)
        return found if isinstance(found, Section) else None

    def get(self, path: str, default: str = "") -> str:
        """The option at a path as text."""
        found = self.find(path)
        return found if isinstance(found, str) else default

    def get_list(self, path: str, default: tuple[str, ...] = ()) -> list[str]:
        """Comma-separated, trimmed, empty elements dropped."""
        found = self.find(path)
        return split_list(found) if isinstance(found, str) else list(default)

    def get_bool(self, path: str, default: bool = False) -> bool:
        """True for y, yes, true, 1 in any case; everything else that is there is false."""
        found = self.find(path)
        return found.lower() in _TRUE if isinstance(found, str) else default

    def get_int(self, path: str, default: int = 0) -> int:
        """An integer; the default when there is none or it cannot be read as one."""
        try:
            return int(self.get(path))
        except ValueError:
            return default

    def get_float(self, path: str, default: float = 0.0) -> float:
        """A number; the default when there is none or it cannot be read as one."""
        try:
            return float(self.get(path))
        except ValueError:
            return default

    def get_dict(self, path: str) -> dict[str, str | bool]:
        """`k:v, k2:v2`; a bare key is True."""
        pairs = (item.partition(":") for item in self.get_list(path))
        return {key.strip(): value.strip() if mark else True for key, mark, value in pairs}

    def walk(self, path: str = "") -> Iterator[tuple[str, str]]:
        """Every option below as (path, value)."""
        for name, entry in self.entries.items():
            if isinstance(entry, str):
                yield f"{path}/{name}", entry
            else:
                yield from entry.walk(f"{path}/{name}")


def split_list(value: str) -> list[str]:
    """The elements of a comma-separated value, trimmed, without the empty ones."""
    return [item for item in map(str.strip, value.split(",")) if item]
