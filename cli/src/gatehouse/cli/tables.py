"""Tables: fitted to a terminal's width for people, aligned by blanks and never cut for scripts."""

import re
from collections.abc import Mapping, Sequence

from gatehouse.cli.errors import clean

STATUS_STYLES: Mapping[str, str] = {
    "Running": "bold green",
    "Completing": "green",
    "Done": "green",
    "Completed": "green",
    "Waiting": "cyan",
    "Matched": "blue",
    "Failed": "bold red",
    "Stalled": "yellow",
    "Killed": "magenta",
    "Deleted": "dim",
}
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
_NEVER_CUT = frozenset({"JobID", "Status", "Time"})
_GAP = 2
_LEAST = 5  # characters that a cut column keeps


def cells(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Cells that stay on their line and cannot steer a terminal."""
    return [[clean(cell, limit=200).replace("\n", " ") for cell in row] for row in rows]


def widths(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """Characters that each column needs."""
    return [max(len(cell) for cell in column) for column in zip(columns, *rows, strict=True)]


def print_plain(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """For scripts and files: everything, two blanks between columns."""
    needed = widths(columns, rows)
    for row in (columns, *rows):
        line = (cell.ljust(width) for cell, width in zip(row, needed, strict=True))
        print((" " * _GAP).join(line).rstrip())


def print_fitted(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """For people: short times, colours for states, and no line longer than the terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    rows = [[_short_time(cell) for cell in row] for row in rows]
    needed = widths(columns, rows)
    if sum(needed) + _GAP * len(needed) > console.width:  # what says nothing goes first
        kept = [i for i in range(len(columns)) if any(row[i] for row in rows)]
        columns, rows = [columns[i] for i in kept], [[row[i] for i in kept] for row in rows]
        needed = fit(columns, widths(columns, rows), console.width)
    shown = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="bold")
    for column, width in zip(columns, needed, strict=True):
        right = column == "JobID"
        shown.add_column(column, justify="right" if right else "left", width=width, no_wrap=True)
    for row in rows:
        pairs = zip(columns, row, strict=True)
        shown.add_row(
            *(Text(cell, STATUS_STYLES.get(cell, "") if c == "Status" else "") for c, cell in pairs)
        )
    console.print(shown)


def fit(columns: Sequence[str], needed: Sequence[int], room: int) -> list[int]:
    """Widths that fit: the widest column gives way first, numbers and states never."""
    fitted = list(needed)
    while sum(fitted) + _GAP * len(fitted) > room:
        soft = [i for i, name in enumerate(columns) if name not in _NEVER_CUT and fitted[i] > _LEAST]
        if not soft:
            break
        fitted[max(soft, key=fitted.__getitem__)] -= 1
    return fitted


def _short_time(cell: str) -> str:
    """`2026-11-22T19:16:00Z` for people: the minute is enough."""
    return f"{cell[:10]} {cell[11:16]}" if _TIME.fullmatch(cell) else cell
