"""Telling a process from another that got its number later: number, start time and boot make a name for good."""

import os
from dataclasses import dataclass
from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Process:
    """A process of this machine; `started` is in clock ticks since the boot (proc(5), field 22)."""

    pid: int
    started: int
    boot: str

    def text(self) -> str:
        """One line, for a file."""
        return f"{self.pid} {self.started} {self.boot}\n"


def parse(text: str) -> Process | None:
    """The process that `text` was made from, or None."""
    parts = text.split()
    if len(parts) != 3 or not (parts[0].isdecimal() and parts[1].isdecimal()):
        return None
    return Process(int(parts[0]), int(parts[1]), parts[2])


def look(pid: int) -> Process | None:
    """The process that has a number now; None when there is none, or only what is left of one (zombie)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return None
    fields = stat[stat.rindex(")") + 2 :].split()  # the name in front may hold blanks
    return None if fields[0] in "ZX" else Process(pid, int(fields[19]), _boot())


def alive(process: Process) -> bool:
    """Whether exactly this process still runs."""
    return look(process.pid) == process


def signal_session(process: Process, number: int) -> None:
    """Signal a process and its group, unless it has gone."""
    if alive(process):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return


def _boot() -> str:
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return "-"
