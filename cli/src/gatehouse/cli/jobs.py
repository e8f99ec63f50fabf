"""The job commands with COMDIRAC's options and columns: `dstat`, `doutput`, `dlogging`, `dkill`, and `dsub`."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from gatehouse.cli import listing
from gatehouse.cli.dsub import dsub_app
from gatehouse.cli.errors import ApiError, CommandError, NotLoggedIn, Unreachable, UsageError, clean
from gatehouse.cli.render import as_json, command_app, guarded, note, output, progress, show_error

dstat_app, doutput_app, dlogging_app, dkill_app = (command_app() for _ in range(4))
__all__ = ["dkill_app", "dlogging_app", "doutput_app", "dstat_app", "dsub_app"]

_SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"]}
_MOST = 10_000  # jobs that the service lists at once
_Words = list[str] | None
_Ids = Annotated[_Words, typer.Argument(metavar="[JOBID]...", help="Job numbers, with blanks or commas.")]
_IdFile = Annotated[Path | None, typer.Option("-i", "--input-file", help="File of job numbers, - for stdin.")]
_Format = Annotated[str, typer.Option("-f", "--format", help="pretty, csv or json.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@dstat_app.command(context_settings=_SETTINGS)
@guarded
def dstat(
    ids: _Ids = None,
    user: Annotated[str, typer.Option("-u", "--User", help="Owner; * for all one may see.")] = "",
    status: Annotated[_Words, typer.Option("-S", "--Status", help="Only these states.")] = None,
    all_states: Annotated[bool, typer.Option("-a", "--all", help="Finished jobs too.")] = False,
    group: Annotated[str, typer.Option("-g", "--JobGroup", help="Only this job group.")] = "",
    name: Annotated[str, typer.Option("-n", "--JobName", help="Only this name.")] = "",
    form: _Format = "pretty",
    days: Annotated[
        int, typer.Option("-D", "--Days", min=1, help="Submitted in the last so many days.")
    ] = 10,
    fields: Annotated[_Words, typer.Option("-F", "--Fields", help="Columns, with commas.")] = None,
    file: _IdFile = None,
    as_data: _Json = False,
) -> None:
    """Show jobs; without job numbers one's own that are not finished."""
    columns, wanted = listing.fields(fields or ()), listing.job_ids(ids or (), file)
    states = listing.statuses(status or ())
    form = "json" if as_data else form
    if form not in ("pretty", "csv", "json"):
        raise UsageError(f"no such format: {clean(form, limit=40)}", why="there are pretty, csv and json")
    from gatehouse.cli.client import GatehouseClient

    with GatehouseClient() as client:
        found = client.jobs(
            owner="*" if wanted or user == "__all__" else user,
            status=states,
            job_group=group,
            name=name,
            days=None if wanted else days,
            ids=wanted,
            final=bool(all_states or states or wanted),
            limit=None if wanted else _MOST,
        )
    _warn_of_more(0 if wanted else len(found))
    data = (
        [{listing.COLUMNS[c]: job.get(listing.COLUMNS[c]) for c in columns} for job in found]
        if fields
        else found
    )
    if not found and form == "pretty":
        note("no jobs" if all_states or states or wanted else "no unfinished jobs; dstat -a shows all")
    else:
        output(form, columns, [listing.row(job, columns) for job in found], data)
    if not states and not group and not name:
        listing.missing(wanted, found)


@doutput_app.command(context_settings=_SETTINGS)
@guarded
def doutput(
    ids: _Ids = None,
    directory: Annotated[Path, typer.Option("-D", "--OutputDir", help="Directory to write into.")] = Path(),
    no_job_dir: Annotated[bool, typer.Option("-n", "--NoJobDir", help="No directory per job.")] = False,
    file: _IdFile = None,
    group: Annotated[str, typer.Option("-g", "--JobGroup", help="All finished jobs of this group.")] = "",
    as_data: _Json = False,
) -> None:
    """Fetch output sandboxes into <JOBID>/."""
    from gatehouse.cli.client import GatehouseClient
    from gatehouse.cli.outputs import fetch

    wanted = listing.job_ids(ids or (), file)
    if not wanted and not group:
        raise UsageError("which jobs? no job number given", next_step="run: dstat -a")
    fetched: list[dict[str, object]] = []

    with GatehouseClient() as client:
        if group:
            done = client.jobs(job_group=group, status=("Done", "Completed", "Failed"), limit=_MOST)
            _warn_of_more(len(done))
            wanted = list(dict.fromkeys([*wanted, *(int(job["job_id"]) for job in done)]))

        def one(job_id: int) -> None:
            place = directory if no_job_dir else directory / str(job_id)
            names = fetch(client, job_id, place)
            fetched.append({"job_id": job_id, "directory": str(place), "files": names})

        complete = _each(wanted, one, "fetching")
    if as_data:
        as_json(fetched)
    else:
        for result in fetched:
            print(result["directory"])
    if not complete:
        raise typer.Exit(1)


@dlogging_app.command(context_settings=_SETTINGS)
@guarded
def dlogging(
    ids: _Ids = None, form: _Format = "pretty", file: _IdFile = None, as_data: _Json = False
) -> None:
    """Show the history of jobs; with several, the first column is the job number."""
    from gatehouse.cli.client import GatehouseClient

    wanted = listing.job_ids(ids or (), file)
    if not wanted:
        raise UsageError("which jobs? no job number given", next_step="run: dstat -a")
    found: list[dict[str, Any]] = []
    with GatehouseClient() as client:
        complete = _each(wanted, lambda i: found.append({"job_id": i, "events": client.log(i)}), "reading")
    many = len(wanted) > 1
    columns = [*(["JobID"] if many else []), *listing.LOG_COLUMNS]
    rows = [
        [
            *([str(job["job_id"])] if many else []),
            *listing.row(event, listing.LOG_COLUMNS, listing.LOG_COLUMNS),
        ]
        for job in found
        for event in job["events"]
    ]
    form = "json" if as_data else form
    if rows or form != "pretty":
        output(form, columns, rows, found)
    if not complete:
        raise typer.Exit(1)


@dkill_app.command(context_settings=_SETTINGS)
@guarded
def dkill(
    ids: _Ids = None,
    all_mine: Annotated[bool, typer.Option("-a", "--all", help="All my unfinished jobs.")] = False,
    delete: Annotated[bool, typer.Option("-D", "--delete", help="Delete them, too.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Show every job's new status.")] = False,
    file: _IdFile = None,
    as_data: _Json = False,
) -> None:
    """Kill jobs, or delete them."""
    from gatehouse.cli.client import GatehouseClient

    wanted = listing.job_ids(ids or (), file)
    if bool(wanted) == all_mine:
        raise UsageError("which jobs? give job numbers, or -a for all of yours", next_step="run: dstat")
    ended: list[dict[str, object]] = []
    with GatehouseClient() as client:
        if all_mine:
            wanted = [int(job["job_id"]) for job in client.jobs(final=False, limit=_MOST)]
            _warn_of_more(len(wanted))

        def one(job_id: int) -> None:
            state = _end(client, job_id, delete)
            ended.append({"job_id": job_id, "status": state})

        complete = _each(wanted, one, "ending")
    if as_data:
        as_json(ended)
    elif verbose:
        for result in ended:
            print(f"{result['job_id']} {clean(result['status'], limit=40)}")
    if not complete:
        raise typer.Exit(1)


def _warn_of_more(count: int) -> None:
    if count >= _MOST:
        note(f"these are the newest {_MOST}; there may be more")


def _end(client: Any, job_id: int, delete: bool) -> str:
    try:
        state = str(client.kill(job_id))
    except ApiError as error:
        if not delete or error.status != 409:  # a finished job cannot be killed, but deleted
            raise
        state = ""
    return str(client.delete(job_id)) if delete else state


def _each(ids: Sequence[int], work: Callable[[int], object], what: str) -> bool:
    """Do the work for every job; a refusal of one does not stop the others. False if there was any."""
    complete = True
    with progress(what, len(ids)) as step:
        for job_id in ids:
            try:
                work(job_id)
            except CommandError as error:
                complete = False
                if _concerns_all(error):
                    show_error(error)
                    break
                error.what = f"job {job_id}: {error.what}"
                show_error(error)
            step()
    return complete


def _concerns_all(error: CommandError) -> bool:
    """Whether the next job would fail alike."""
    if isinstance(error, ApiError):
        return error.status in (401, 429) or error.status >= 500
    return isinstance(error, NotLoggedIn | Unreachable)
