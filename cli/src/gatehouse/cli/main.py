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


Config = Annotated[
    Path | None,
    typer.Option("-c", "--config", envvar="GATEHOUSE_CONFIG", help="The settings file (TOML)."),
]


@app.command()
@guarded
def serve(config: Config = None) -> None:
    """Run the service."""
    from gatehouse.cli import admin

    admin.serve(config)


@app.command("config")
@guarded
def show_config(config: Config = None) -> None:
    """Print each setting, its value (secrets masked) and where it came from."""
    from gatehouse.cli import admin

    raise typer.Exit(admin.show_config(config))


@app.command("new-key")
@guarded
def new_key(file: Annotated[Path, typer.Argument(help="A new file, made with mode 0600.")]) -> None:
    """Make a master key."""
    from gatehouse.cli import admin

    admin.new_key(file)


database = typer.Typer(no_args_is_help=True, help="The database schema.")
app.add_typer(database, name="db")


@database.command("upgrade")
@guarded
def upgrade(config: Config = None) -> None:
    """Bring the schema to what this version needs."""
    from gatehouse.cli import admin

    admin.upgrade_database(config)


clients = typer.Typer(no_args_is_help=True, help="Clients that register themselves, and who may.")
app.add_typer(clients, name="clients")


@clients.command("invite")
@guarded
def invite(
    config: Config = None,
    grant: Annotated[
        list[str] | None,
        typer.Option(help="A grant; again for more. Unsaid: authorization_code, device_code, refresh_token."),
    ] = None,
    scope: Annotated[
        list[str] | None, typer.Option(help="A scope for the client itself; again for more.")
    ] = None,
    audience: Annotated[
        list[str] | None, typer.Option(help="Whom its tokens may be for; again for more.")
    ] = None,
    resource: Annotated[
        list[str] | None, typer.Option(help="What it may be itself, to ask about tokens; again for more.")
    ] = None,
    public: Annotated[
        bool, typer.Option("--public", help="Allow clients that cannot keep a secret.")
    ] = False,
    uses: Annotated[int, typer.Option(help="So many registrations.")] = 1,
    hours: Annotated[int, typer.Option(help="For so long.")] = 72,
) -> None:
    """Print an initial access token: leave to register clients with this much at most."""
    from gatehouse.cli import registrations

    most = registrations.ceiling(grant or [], scope or [], audience or [], resource or [], public)
    registrations.invite(config, most, uses, hours)


@clients.command("list")
@guarded
def list_clients(
    config: Config = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print the clients of the settings, the registered ones, and the invitations."""
    from gatehouse.cli import registrations

    registrations.show_all(config, "json" if as_json else "pretty")


_Name = Annotated[str, typer.Argument(metavar="ID", help="The identifier of a client or an invitation.")]


@clients.command("show")
@guarded
def show_client(name: _Name, config: Config = None) -> None:
    """Print what is known of a registered client or an invitation."""
    from gatehouse.cli import registrations

    registrations.show(config, name)


@clients.command("revoke")
@guarded
def revoke_client(name: _Name, config: Config = None) -> None:
    """End a registered client with every login and token that it has, or an invitation."""
    from gatehouse.cli import registrations

    registrations.revoke(config, name)


@app.command()
@guarded
def demo(
    once: Annotated[
        bool, typer.Option("--once", help="Approve the login by itself, and end after the job.")
    ] = False,
    port: Annotated[int, typer.Option(help="Port on loopback; 0 takes a free one.")] = 0,
) -> None:
    """Show the whole road on this machine: service, login, a job, its output."""
    from gatehouse.cli.demo import show

    raise typer.Exit(show.demo(once, port))
