"""`make bench`: the table of hot requests. With --json, JSON alone on the standard output."""

import argparse
import contextlib
import json
import os
import platform
import sys

from rich.console import Console
from rich.table import Table

from tests.bench import server as servers
from tests.bench.measure import Line, Report, run
from tests.bench.rows import ROWS


def table(report: Report) -> Table:
    """The page: one line per request, green where the goal is met."""
    page = Table(
        title=f"CPU time of the server per request; R = {report.r_us:.0f} µs, a bare ASGI hello in this run"
    )
    for name in ("request", "CPU µs", "ratio", "goal", "stretch", "limit", "p50 ms", "p99 ms", "requests"):
        page.add_column(name, justify="left" if name == "request" else "right")
    page.add_column("goal met")
    if report.reference:
        cost = report.reference
        figures = (f"{cost.p50_ms:.2f}", f"{cost.p99_ms:.2f}", str(cost.requests))
        page.add_row("hello", f"{cost.cpu_us:.1f}", "1 R", "", "", "", *figures, "", style="dim")
    for line in report.rows:
        page.add_row(*cells(line))
    for name, reason in report.failures.items():
        page.add_row(name, "", "", "", "", "", "", "", "", f"[red]not measured: {reason[:60]}")
    return page


def cells(line: Line) -> list[str]:
    """A measured row as text."""
    goals = [f"{value:g} R" if value is not None else "" for value in (line.goal, line.stretch, line.limit)]
    return [
        line.name,
        f"{line.cpu_us:.1f}",
        f"[{colour(line)}]{line.ratio:.2f} R[/]",
        *goals,
        f"{line.p50_ms:.2f}",
        f"{line.p99_ms:.2f}",
        str(line.requests),
        verdict(line),
    ]


def colour(line: Line) -> str:
    """Green at the goal, yellow within half as much again, else red."""
    if line.goal is None or line.ratio <= line.goal:
        return "green"
    return "yellow" if line.ratio <= 1.5 * line.goal else "red"


def verdict(line: Line) -> str:
    """The same in words: colours do not survive a pipe."""
    if line.goal is None:
        return ""
    if line.stretch is not None and line.ratio <= line.stretch:
        return "[green]yes, stretch too"
    return "[green]yes" if line.ratio <= line.goal else f"[{colour(line)}]no"


def main() -> int:
    """Measure and print. Exit code 1 when a row could not be measured; a missed goal is reported, not failed."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON only")
    parser.add_argument("--rows", default="", help="names of the rows to measure, separated by commas")
    parser.add_argument("--jobs", type=int, default=1_000_000, help="jobs that wait while rows are measured")
    parser.add_argument("--queues", type=int, default=10_000, help="queues that they wait in")
    options = parser.parse_args()
    if not 1 <= options.queues <= options.jobs:
        parser.error("there are at least as many jobs as queues, and a queue")
    wanted = {name for name in options.rows.split(",") if name}
    unknown = wanted - {row.name for row in ROWS} - {"hello"}
    if unknown:
        parser.error(
            f"no such row: {', '.join(sorted(unknown))}; there are hello, {', '.join(r.name for r in ROWS)}"
        )
    rows = [row for row in ROWS if not wanted or row.name in wanted]
    notes = Console(stderr=True)
    with contextlib.ExitStack() as stack:
        reference = stack.enter_context(servers.hello())
        if rows:
            notes.print(f"filling: {options.jobs:,} jobs in {options.queues:,} queues", style="dim")
        real = stack.enter_context(servers.gatehouse(options.queues, options.jobs)) if rows else None
        report = run(reference, real, rows, tell=lambda name: notes.print(f"measuring {name}", style="dim"))
    for name, reason in report.failures.items():
        notes.print(f"{name}: {reason}", style="red", markup=False)
    if options.json:
        print(json.dumps(report.as_json()))
    else:
        console = Console(width=None if sys.stdout.isatty() else 120)
        console.print(table(report))
        console.print(
            f"Python {platform.python_version()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f};"
            " the ratios are comparable between machines, the microseconds are not.",
            style="dim",
        )
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
