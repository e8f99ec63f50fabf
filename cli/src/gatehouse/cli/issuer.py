"""Which Gatehouse a command talks to."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path

from gatehouse.cli.bearer import TokenFileError
from gatehouse.cli.errors import CommandError, UsageError, clean
from gatehouse.cli.wire import check_url

_MAX_CONFIG = 64 * 1024


def config_file(env: Mapping[str, str] = os.environ) -> Path:
    """The person's client settings: `gatehouse/client.toml` in the configuration directory."""
    base = env.get("XDG_CONFIG_HOME", "")
    return (Path(base) if base else Path.home() / ".config") / "gatehouse" / "client.toml"


def _configured(env: Mapping[str, str]) -> str:
    path = config_file(env)
    try:
        with path.open("rb") as file:
            settings = tomllib.loads(file.read(_MAX_CONFIG).decode())
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        raise CommandError(
            f"cannot read {path}",
            why=clean(error, limit=300),
            next_step='next: it needs one line: issuer = "https://HOST/auth"',
        ) from error
    value = settings.get("issuer", "")
    return value if isinstance(value, str) else ""


def _present(env: Mapping[str, str]) -> str:
    from gatehouse.cli.tokenfile import discover

    try:
        found = discover(env)
    except TokenFileError:  # a login is about to replace it
        return ""
    return found.tokens.issuer if found else ""


def resolve(option: str = "", env: Mapping[str, str] = os.environ) -> str:
    """The issuer URL without trailing slash: option, GATEHOUSE_ISSUER, client.toml, the present token's `iss`.

    Raises UsageError when none of them names one, CommandError when the URL may not carry tokens.
    """
    issuer = option or env.get("GATEHOUSE_ISSUER", "") or _configured(env) or _present(env)
    if not issuer:
        raise UsageError(
            "which Gatehouse? no issuer is known",
            why=f"no --issuer, no GATEHOUSE_ISSUER, no {config_file(env)}, no present token",
            next_step="run: dirac-login <group> --issuer https://HOST/auth",
        )
    if "?" in issuer or "#" in issuer:
        raise UsageError("an issuer URL has no query and no fragment", why=clean(issuer, limit=200))
    return check_url(issuer).rstrip("/")


def api_base(issuer: str) -> str:
    """The REST base that belongs to an issuer: `<base>/auth` becomes `<base>/api`."""
    base, slash, last = issuer.rstrip("/").rpartition("/")
    if not slash or last != "auth":
        raise CommandError(
            "this token was not issued for the job service",
            why=f"its issuer is {clean(issuer, limit=200) or 'not stated'}, not <base>/auth",
            next_step="run: dirac-login <group> --issuer https://HOST/auth",
        )
    return f"{check_url(base)}/api"
