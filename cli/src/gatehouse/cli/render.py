"""The look that all commands share: tables, colours, errors.

On a terminal it is coloured; elsewhere it is plain, unwrapped and stable, so that scripts can read it.
"""

import csv
import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec

import typer

from gatehouse.cli.errors import CommandError, UsageError, clean
from gatehouse.cli.tables import cells, print_fitted, print_plain
from gatehouse.registry.errors import ConfigurationError

_P = ParamSpec("_P")


def command_app(**options: Any) -> typer.Typer:
    """A typer app in the house style: no completion installer, no traceback, rich help on terminals only."""
    return typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich" if terminal() else None,
        **options,
    )


def terminal() -> bool:
    """Whether standard output is a terminal that a person looks at."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def guarded(command: Callable[_P, None]) -> Callable[_P, None]:
    """Turn everything that can go wrong into words on stderr and an exit code, never a traceback."""

    @wraps(command)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            command(*args, **kwargs)
            sys.stdout.flush()
        except CommandError as error:
            show_error(error)
            raise typer.Exit(error.exit_code) from None
        except ConfigurationError as error:
            print(f"error: {error}", file=sys.stderr)  # its list of reasons keeps its lines
            raise typer.Exit(2) from None
        except BrokenPipeError:  # the reader (head, less) has had enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            print("\nstopped", file=sys.stderr)
            raise typer.Exit(130) from None
        except OSError as error:
            show_error(
                CommandError(clean(error.strerror or type(error).__name__), why=clean(error.filename or ""))
            )
            raise typer.Exit(1) from None
        except (typer.Exit, typer.TyperException, typer.Abort):
            raise
        except Exception as error:
            show_error(_defect(error))
            raise typer.Exit(1) from None

    return run


def _defect(error: Exception) -> CommandError:
    """A bug, by place and type alone: its message could hold anything, a token too."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}" if trace else "?"
    return CommandError(
        "this command has a defect",
        why=f"{type(error).__name__} at {place}",
        next_step="next: please report it",
    )


def show_error(error: CommandError) -> None:
    """What, why, and what to do next, on stderr."""
    _say("error: ", error.what, "bold red")
    if error.why:
        _say("why: ", error.why, "yellow")
    if error.next_step:
        word, colon, rest = error.next_step.partition(": ")
        _say(word + colon, rest, "cyan")


def note(text: str) -> None:
    """A remark on stderr."""
    _say("note: ", text, "yellow")


def _say(label: str, text: str, style: str) -> None:
    line = clean(text).replace("\n", " ")
    if sys.stderr.isatty() and "NO_COLOR" not in os.environ:
        from rich.console import Console
        from rich.text import Text

        Console(stderr=True, soft_wrap=True).print(Text.assemble((label, style), line))
    else:
        print(label + line, file=sys.stderr)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout."""
    (print_fitted if terminal() else print_plain)(columns, cells(rows))


def as_csv(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Comma separated values with a header (RFC 4180), lines ended by a newline."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([clean(cell) for cell in row] for row in rows)
    sys.stdout.write(out.getvalue())


def as_json(value: object) -> None:
    """JSON on stdout; everything but ASCII is escaped, so that nothing in it can steer a terminal."""
    print(json.dumps(value, indent=2))


def output(form: str, columns: Sequence[str], rows: Sequence[Sequence[str]], data: object) -> None:
    """The same facts as `pretty`, `csv` or `json`."""
    if form == "json":
        as_json(data)
    elif form == "csv":
        as_csv(columns, rows)
    elif form == "pretty":
        table(columns, rows)
    else:
        raise UsageError(f"no such format: {clean(form, limit=40)}", why="there are pretty, csv and json")


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[], None]]:
    """A bar for many steps on a terminal, nothing elsewhere; call the result once per step."""
    if total < 2 or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    look = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*look, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)


@contextmanager
def spinner(text: str, *, quiet: bool = False) -> Iterator[None]:
    """A turning sign while waiting, on a terminal; the bare line elsewhere, and nothing if `quiet`."""
    if not sys.stderr.isatty() or not terminal():
        if not quiet:
            print(text, flush=True)
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(text):
        yield
