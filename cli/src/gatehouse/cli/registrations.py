"""The operator's commands for clients: invite, list, show, revoke. They work on the database, service or no service."""

import contextlib
import getpass
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from gatehouse.auth import invitations, registered
from gatehouse.auth.clients import Clients
from gatehouse.auth.invitations import MOST_HOURS, MOST_USES, Invitation
from gatehouse.auth.registered import Registered
from gatehouse.auth.registration import GRANTS, Ceiling
from gatehouse.cli.errors import CommandError, UsageError, clean
from gatehouse.cli.render import note, output
from gatehouse.cli.server import open_database, open_seal
from gatehouse.registry import configuration, schema
from gatehouse.registry.database import Database
from gatehouse.registry.settings import Settings

_SHORT = {name.rpartition(":")[2].replace("-", "_"): name for name in GRANTS}
_COLUMNS = ("kind", "id", "name", "grants", "since", "state")


@contextlib.contextmanager
def _opened(config: Path | None) -> Iterator[tuple[Settings, Database]]:
    settings = configuration.load(config)
    database = open_database(settings)
    try:
        schema.prepare(database)
        yield settings, database
    finally:
        database.close()


def invite(config: Path | None, ceiling: Ceiling, uses: int, hours: int) -> None:
    """Make an invitation and print its initial access token, alone on standard output, this once."""
    if not 1 <= uses <= MOST_USES or not 1 <= hours <= MOST_HOURS:
        raise UsageError(f"--uses is 1 to {MOST_USES}, and --hours 1 to {MOST_HOURS}")
    with _opened(config) as (settings, database):
        sealed = open_seal(settings)
        name, token = database.write_now(
            lambda tx: invitations.make(tx, sealed, ceiling, uses, hours * 3600, _operator())
        )
    note(
        f"Invitation {name}: good for {uses} registration{'' if uses == 1 else 's'} at "
        f"{settings.issuer}/register within {hours} h. The token is not shown again:"
    )
    print(token)


def ceiling(
    grants: Sequence[str],
    scopes: Sequence[str],
    audiences: Sequence[str],
    resources: Sequence[str],
    public: bool,
) -> Ceiling:
    """What an invitation gives, from the words of the command line. Raises UsageError."""
    named = tuple(dict.fromkeys(_grant(word) for word in grants))
    given = Ceiling(
        scopes=tuple(word for text in scopes for word in text.split()),
        audiences=tuple(audiences),
        resources=tuple(resources),
        public=public,
    )
    return msgspec.structs.replace(given, grants=named) if named else given


def _grant(word: str) -> str:
    found = _SHORT.get(word.rpartition(":")[2].replace("-", "_"))
    if found is None:
        raise UsageError(
            f"no such grant: {clean(word, limit=100)}", why=f"clients can have {', '.join(_SHORT)}"
        )
    return found


def show_all(config: Path | None, form: str) -> None:
    """Print every client and invitation: those of the settings, and those of the database."""
    with _opened(config) as (settings, database):
        now = database.clock.now()
        clients = database.read_now(registered.every)
        invited = database.read_now(invitations.every)
    configured = [
        ("configured", one.client_id, one.name, _short(one.grant_types), "", "active")
        for one in settings.clients
    ]
    rows = [*configured, *map(_client_row, clients), *(_invitation_row(one, now) for one in invited)]
    data = [dict(zip(_COLUMNS, row, strict=True)) for row in rows]
    output(form, _COLUMNS, rows, data)


def _client_row(row: Registered) -> tuple[str, ...]:
    said = row.metadata
    state = "active" if row.revoked_at is None else f"ended {_time(row.revoked_at)}"
    return "registered", row.id, said.client_name, _short(said.grant_types), _time(row.created_at), state


def _invitation_row(one: Invitation, now: int) -> tuple[str, ...]:
    if one.revoked_at is not None:
        state = f"revoked {_time(one.revoked_at)}"
    elif one.expires_at <= now:
        state = f"expired {_time(one.expires_at)}"
    else:
        state = f"{one.uses_left} left until {_time(one.expires_at)}" if one.uses_left else "used up"
    return "invitation", one.id, "", _short(one.gives.grants), _time(one.created_at), state


def show(config: Path | None, name: str) -> None:
    """Print all that is known of one client or invitation; no secret is."""
    with _opened(config) as (_settings, database):
        client = database.read_now(lambda tx: registered.by_id(tx, name))
        invitation = database.read_now(lambda tx: invitations.by_id(tx, name))
    known: dict[str, Any]
    if client is not None:
        known = {**client.metadata.spoken(), **client._asdict()}
    elif invitation is not None:
        known = {**msgspec.to_builtins(invitation.gives), **invitation._asdict()}
    else:
        raise _unknown(name)
    for hidden in ("document", "ceiling", "secret_hash", "token_hash"):
        known.pop(hidden, None)
    rows = [(key, _said(key, value)) for key, value in known.items() if value not in (None, "", [], ())]
    output("pretty", ("what", "value"), rows, known)


def _said(key: str, value: Any) -> str:
    if key.endswith("_at"):
        return _time(value)
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def revoke(config: Path | None, name: str) -> None:
    """End a registered client with all that it was given, or an invitation."""
    with _opened(config) as (settings, database):
        who = _operator()
        if database.write_now(lambda tx: registered.end(tx, name, who)):
            note(f"The client {name} is ended, and so is every login and token that it had.")
        elif database.write_now(lambda tx: invitations.revoke(tx, name, who)):
            note(f"The invitation {name} is revoked. Clients that registered with it stay.")
        elif Clients(settings.clients).known(name) is not None:
            raise CommandError(
                f"{clean(name, limit=100)} is a client of the settings",
                next_step="next: remove it there, and start the service again",
            )
        else:
            raise _unknown(name)


def _unknown(name: str) -> CommandError:
    return CommandError(
        f"no client or invitation is called {clean(name, limit=100)}, or it has ended",
        next_step="run: gatehouse clients list",
    )


def _operator() -> str:
    """Who runs the command, for the record."""
    try:
        return f"operator {getpass.getuser()}"
    except (KeyError, OSError):  # a container without a user database
        return "operator"


def _short(grants: Sequence[str]) -> str:
    return " ".join(name.rpartition(":")[2] for name in grants)


def _time(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
