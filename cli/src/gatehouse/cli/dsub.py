"""`dsub`: submit an executable, a job description, or a script on standard input."""

from typing import Annotated

import typer

from gatehouse.cli import listing
from gatehouse.cli.render import as_json, command_app, guarded, note

dsub_app = command_app()
_SETTINGS = {"help_option_names": ["-h", "--help"], "allow_interspersed_args": False}
_Words = list[str] | None


# Everything after the executable belongs to it, dashes and all: hence no interspersed options.
@dsub_app.command(context_settings=_SETTINGS)
@guarded
def dsub(
    command: Annotated[_Words, typer.Argument(metavar="[EXECUTABLE [ARGS]...]", help="What to run.")] = None,
    jdl: Annotated[str, typer.Option("-J", "--JDL", help="JDL: a file, or the text itself.")] = "",
    name: Annotated[str | None, typer.Option("-N", "--JobName", help="Name of the job.")] = None,
    std_error: Annotated[
        str | None, typer.Option("-E", "--StdError", help="File for standard error.")
    ] = None,
    std_output: Annotated[
        str | None, typer.Option("-O", "--StdOutput", help="File for standard output.")
    ] = None,
    output_sandbox: Annotated[_Words, typer.Option("--OutputSandbox", help="Files to bring back.")] = None,
    input_sandbox: Annotated[_Words, typer.Option("--InputSandbox", help="Files to send along.")] = None,
    output_data: Annotated[
        _Words, typer.Option("--OutputData", help="Output files to store; only written down so far.")
    ] = None,
    input_data: Annotated[
        _Words, typer.Option("--InputData", help="Input files by logical name; only written down so far.")
    ] = None,
    cpu_time: Annotated[str | None, typer.Option("--CPUTime", help="CPU time in seconds.")] = None,
    site: Annotated[_Words, typer.Option("--Site", help="Sites to run at.")] = None,
    banned_site: Annotated[_Words, typer.Option("--BannedSite", help="Sites to avoid.")] = None,
    platform: Annotated[_Words, typer.Option("--Platform", help="Platforms that fit.")] = None,
    priority: Annotated[str | None, typer.Option("--Priority", help="0 to 10.")] = None,
    job_group: Annotated[str | None, typer.Option("--JobGroup", help="A word to find the jobs by.")] = None,
    parametric: Annotated[
        str | None,
        typer.Option(
            "--Parametric",
            help="One job per value: a,b,c or start:stop[:step[:factor]], without stop itself.",
        ),
    ] = None,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Show what is submitted.")] = False,
    as_data: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Submit jobs: an executable, a JDL, or a script on standard input; prints the job numbers."""
    from gatehouse.cli.client import GatehouseClient
    from gatehouse.cli.submission import describe, upload_inputs

    options = {
        "JobName": name,
        "StdError": std_error,
        "StdOutput": std_output,
        "OutputSandbox": listing.words(output_sandbox or ()),
        "InputSandbox": listing.words(input_sandbox or ()),
        "OutputData": listing.words(output_data or ()),
        "InputData": listing.words(input_data or ()),
        "CPUTime": cpu_time,
        "Site": listing.words(site or ()),
        "BannedSites": listing.words(banned_site or ()),
        "Platform": listing.words(platform or ()),
        "Priority": priority,
        "JobGroup": job_group,
    }
    plan = describe(command or [], jdl=jdl, options=options, parametric=parametric)
    for remark in plan.notes:
        note(remark)
    with GatehouseClient() as client:
        manifests = upload_inputs(client, plan)
        if verbose and not as_data:
            as_json(manifests)
        ids = client.submit(manifests)
    if as_data:
        as_json({"ids": ids})
    else:
        print(("JobID: " if verbose else "") + ",".join(map(str, ids)))
