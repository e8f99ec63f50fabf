"""`gatehouse`: the command for everything that is not one of DIRAC's own."""

from pathlib import Path
from typing import Annotated

import typer
from gatehouse.cli.render import command_app, guarded

app = command_app(no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"]})


@app.callback()
def gatehouse() -> None:
    """The gate of a grid: login, tokens, jobs."""


@app.command()
def version() -> None:
    """Print the installed version."""
    from importlib.metadata import version as installed

    print(f"gatehouse {installed('gatehouse')}")


@app.command("check-claims")
@guarded
def check_claims(file: Annotated[Path, typer.Argument(help="Claim sets and expected groups, JSON.")]) -> None:
    """Check the mapping rules against recorded claim sets."""
    from gatehouse.cli.check_claims import check_claims as check

    raise typer.Exit(check(file))
