"""Measure rows in turn, with a slice of the reference before each, and put the ratios together."""

import asyncio
import os
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

import httpx
import uvloop

from gatehouse.cli.errors import CommandError
from tests.bench.load import Failed, Load, Slice, Talk
from tests.bench.rows import HELLO, Row
from tests.bench.server import Server, cpus

WARM_UP = 0.5  # seconds
SLICE = 1.0
SLICES = 3


@dataclass(frozen=True, slots=True)
class Timing:
    """One way of answering, measured: CPU of the server per unit, latency as the client sees it."""

    cpu_us: float
    p50_ms: float
    p99_ms: float
    requests: int


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the table; `ratio` is cpu_us / R."""

    name: str
    cpu_us: float
    ratio: float
    goal: float | None
    stretch: float | None
    limit: float | None
    p50_ms: float
    p99_ms: float
    requests: int


@dataclass(slots=True)
class Report:
    """The whole run; `failures` names the rows that could not be measured, with the reason."""

    r_us: float = 0.0
    reference: Timing | None = None
    rows: list[Line] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """What `make bench JSON=1` prints."""
        return {"r_us": self.r_us, "rows": [asdict(line) for line in self.rows]}


def timing(slices: Sequence[Slice], units: int = 1) -> Timing:
    """Median cost of the slices; latencies of all of them. Errors: Failed when nothing was answered."""
    if not all(stretch.requests for stretch in slices):
        raise Failed("the row ran out of requests")
    latencies = sorted(latency for stretch in slices for latency in stretch.latencies)
    return Timing(
        cpu_us=round(statistics.median(s.cpu_seconds * 1e6 / s.requests / units for s in slices), 2),
        p50_ms=round(latencies[len(latencies) // 2] * 1e3, 3),
        p99_ms=round(latencies[len(latencies) * 99 // 100] * 1e3, 3),
        requests=len(latencies),
    )


async def load(
    server: Server,
    row: Row,
    talk: Talk,
    *,
    warm_up: float = WARM_UP,
    seconds: float = SLICE,
    slices: int = SLICES,
) -> list[Slice]:
    """Warm up and measure a row that is prepared. Errors: Failed, OSError."""
    work = Load(server, talk, row.expect, row.connections)
    try:
        await work.open()
        await work.run(warm_up)
        return [await work.run(seconds) for _ in range(slices)]
    finally:
        work.close()


@contextmanager
def generator_pinned() -> Iterator[None]:
    """Keep this process off the server's CPU while the block runs."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus()[1])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def run(
    reference: Server,
    server: Server | None,
    rows: Sequence[Row],
    tell: Callable[[str], None] = lambda _: None,
) -> Report:
    """Measure everything; R is the median of the slices of the reference taken before each row."""
    report = Report()
    hello: list[Slice] = []
    timings: list[tuple[Row, Timing]] = []
    with generator_pinned(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        tell("hello")
        hello += runner.run(load(reference, HELLO, HELLO.prepare(reference)))
        for row in rows:
            tell(row.name)
            try:
                assert server is not None, "rows need the real server"
                timings.append((row, timing(runner.run(load(server, row, row.prepare(server))), row.units)))
            except (Failed, OSError, CommandError, httpx.HTTPError) as error:
                report.failures[row.name] = str(error)
            hello += runner.run(load(reference, HELLO, HELLO.prepare(reference), warm_up=0.2, slices=1))
    report.reference = timing(hello)
    report.r_us = report.reference.cpu_us
    report.rows = [line(row, cost, report.r_us) for row, cost in timings]
    return report


def line(row: Row, cost: Timing, r_us: float) -> Line:
    """A row of the table from its parts."""
    return Line(
        row.name,
        cost.cpu_us,
        round(cost.cpu_us / r_us, 2),
        row.goal,
        row.stretch,
        row.limit,
        cost.p50_ms,
        cost.p99_ms,
        cost.requests,
    )
