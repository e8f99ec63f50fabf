"""`dirac-login` and `dirac-logout`: DIRAC's options and texts, over the device flow unless told otherwise."""

import os
import sys
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from gatehouse.cli.errors import LOGIN_NEXT, CommandError, NotLoggedIn, UsageError
from gatehouse.cli.render import as_json, command_app, guarded, note, spinner, terminal

login_app = command_app()
logout_app = command_app()
_SETTINGS = {"help_option_names": ["-h", "--help"]}
_PENDING = "Authorization pending.. (use CNTL + C to stop)"
_MOST_HOURS = 24 * 366


@login_app.command(context_settings=_SETTINGS)
@guarded
def dirac_login(
    group: Annotated[str, typer.Argument(help="Group to log in to; the browser asks if left out.")] = "",
    scopes: Annotated[list[str] | None, typer.Argument(help="Further scopes.")] = None,
    issuer: Annotated[str, typer.Option("-I", "--issuer", help="Issuer URL, https://HOST/auth.")] = "",
    out: Annotated[Path | None, typer.Option("-O", "--out", help="File to write.")] = None,
    lifetime: Annotated[
        int | None, typer.Option("-T", "--lifetime", min=1, max=_MOST_HOURS, help="Wanted lifetime in hours.")
    ] = None,
    token: Annotated[bool, typer.Option("--token", help="Get tokens (the default).")] = False,
    proxy: Annotated[bool, typer.Option("--proxy", help="Get an X.509 proxy.")] = False,
    browser: Annotated[
        bool,
        typer.Option(
            "--browser", help="Log in with a browser on this machine; also for groups that administer."
        ),
    ] = False,
    use_certificate: Annotated[
        bool,
        typer.Option("--use-certificate", help="Log in with your proxy or certificate, without a browser."),
    ] = False,
    cert: Annotated[Path | None, typer.Option("-C", "--cert", help="Certificate or proxy file, PEM.")] = None,
    key: Annotated[Path | None, typer.Option("-K", "--key", help="Key of the certificate, PEM.")] = None,
    status: Annotated[bool, typer.Option("--status", help="Show the present token and stop.")] = False,
    qr: Annotated[bool | None, typer.Option("--qr/--no-qr", help="Show a QR code of the link.")] = None,
    as_data: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    use_diracas: Annotated[bool, typer.Option("--use-diracas", hidden=True)] = False,
    nocs: Annotated[bool, typer.Option("--nocs", hidden=True)] = False,
) -> None:
    """Log in, through the browser or with a certificate, and store the tokens."""
    del use_diracas, nocs  # what they ask for is what always happens here
    if token and proxy:
        raise UsageError("--token and --proxy exclude each other")
    if browser and (use_certificate or cert or key or qr):
        raise UsageError("--browser excludes --use-certificate, -C, -K and --qr")
    if status:
        _show_status(out, as_data)
        return
    from gatehouse.cli import credential
    from gatehouse.cli.device import DeviceCode
    from gatehouse.cli.signin import login, show_link

    shown = credential.find(cert, key) if use_certificate or cert or key else None

    def show(device: DeviceCode) -> None:
        if as_data:  # stdout is for the result alone
            print(device.link or f"{device.verification_uri} {device.user_code}", file=sys.stderr, flush=True)
            return
        if terminal() if qr is None else qr:
            _show_code(device.link or device.verification_uri)
        show_link(device)

    def visit(link: str) -> None:
        """The link is printed in any case: who has no browser that opens by itself can take it along."""
        from gatehouse.cli.codeflow import open_browser

        out = sys.stderr if as_data else sys.stdout
        print(f"Use the following link to continue, on this machine\n{link}", file=out, flush=True)
        open_browser(link)

    def waiting() -> AbstractContextManager[None]:
        return spinner(_PENDING, quiet=as_data)

    done = login(
        issuer,
        group=group,
        scopes=scopes or (),
        hours=lifetime,
        proxy=proxy,
        out=out,
        credential=shown,
        visit=visit if browser else None,
        show=show,
        waiting=waiting,
    )
    if done.kept:
        note(f"the old {' and '.join(done.kept)} could not be revoked and will run out by itself")
    if done.notice:
        note(done.notice)
    if os.environ.get("BEARER_TOKEN"):
        note("BEARER_TOKEN is set and goes before this file; unset it to use the new token")
    if as_data:
        said = {"lifetime_notice": done.notice} if done.notice else {}
        as_json({"file": str(done.path), **(asdict(done.summary) if done.summary else {}), **said})
        return
    for kind in done.revoked:
        print(f"{kind} is revoked from {done.path}")
    if done.summary is None:
        print(f"Proxy is saved to {done.path}.")
        return
    print(f"New token is saved to {done.path}.")
    print("\n".join(done.summary.lines()))


def _show_code(link: str) -> None:
    """The link as a QR code made of half blocks, where the terminal can show them."""
    if "utf" not in (sys.stdout.encoding or "").lower():
        return
    import segno

    segno.make(link, micro=False, error="l").terminal(out=sys.stdout, compact=True, border=2)


def _show_status(path: Path | None, as_data: bool) -> None:
    from gatehouse.cli import oauth, session, signin
    from gatehouse.cli.wire import Wire

    found = session.find(path)
    if not found.tokens.issuer:
        raise CommandError("the present token does not say who issued it", next_step=LOGIN_NEXT)
    with Wire(found.tokens.issuer) as wire:
        current = session.Session(wire, found)
        current.bearer()
        endpoints = oauth.discover(wire, current.tokens.issuer)
        summary = signin.summarize(wire, endpoints, current.tokens)
    if as_data:
        as_json({"file": str(found.path or ""), **asdict(summary)})
    else:
        print("\n".join(summary.lines()))


@logout_app.command(context_settings=_SETTINGS)
@guarded
def dirac_logout(
    issuer: Annotated[str, typer.Option("-I", "--issuer", help="Only if the token is of this issuer.")] = "",
    file: Annotated[Path | None, typer.Option("-F", "--file", help="Token file to end.")] = None,
) -> None:
    """Revoke the present tokens at their issuer and remove the file."""
    from gatehouse.cli import oauth, session, tokenfile
    from gatehouse.cli.bearer import Tokens
    from gatehouse.cli.wire import Wire

    def end(tokens: Tokens, place: str) -> None:
        revoked: list[str] = []
        if tokens.issuer:
            with Wire(tokens.issuer) as wire:
                revoked = oauth.revoke_all(wire, tokens)
        for kind in revoked:
            print(f"{kind} is revoked from {place}")
        if not revoked:
            failed.append(place)

    failed: list[str] = []
    found = session.find(file)
    if issuer and found.tokens.issuer != issuer.rstrip("/"):
        raise NotLoggedIn("you are not logged in there", why=f"the present token is of {found.tokens.issuer}")
    if found.path is None:
        end(found.tokens, "BEARER_TOKEN")
        note("unset BEARER_TOKEN, it is still in this shell")
    else:
        with tokenfile.locked(found.path):  # no refresh may bring the file back
            tokens = tokenfile.read(found.path)
            found.path.unlink(missing_ok=True)
        end(tokens or found.tokens, str(found.path))
        print(f"{found.path} is removed.")
    if failed:
        raise CommandError(
            "the tokens could not be revoked", why="their issuer did not take it; they run out by themselves"
        )
