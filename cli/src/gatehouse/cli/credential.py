"""A certificate or proxy of the person, for logging in without a browser: which files, and TLS that shows them."""

import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gatehouse.cli.errors import CommandError, clean
from gatehouse.cli.oauth import CLIENT_ID, OAUTH_LIMIT, Endpoints
from gatehouse.cli.wire import Wire
from gatehouse.registry.clock import Clock

GRANT = "urn:gatehouse:params:oauth:grant-type:x509"


@dataclass(frozen=True)
class Credential:
    """PEM files; a proxy holds certificate, key and chain in one."""

    certificate: Path
    key: Path


def find(certificate: Path | None, key: Path | None, env: Mapping[str, str] = os.environ) -> Credential:
    """The files that were named, else the proxy, else the certificate, where grid software looks for them.

    `X509_USER_PROXY`, the proxy of this user, `X509_USER_CERT` and `X509_USER_KEY`, `~/.globus`.
    Raises CommandError when there is none.
    """
    if certificate is not None:
        return Credential(certificate, key or certificate)
    named = env.get("X509_USER_PROXY", "")
    proxy = Path(named or f"/tmp/x509up_u{os.geteuid()}")  # noqa: S108  # where grid software looks for it
    globus = Path.home() / ".globus"
    own = Path(env.get("X509_USER_CERT", "") or globus / "usercert.pem")
    if key is None and (named or proxy.is_file()):
        return Credential(proxy, proxy)
    if own.is_file():
        return Credential(own, key or Path(env.get("X509_USER_KEY", "") or globus / "userkey.pem"))
    raise CommandError(
        "there is no certificate to log in with",
        why=f"neither a proxy in {proxy} nor a certificate in {own}",
        next_step="next: name it with -C CERTIFICATE -K KEY, or log in through the browser",
    )


def show(context: ssl.SSLContext, credential: Credential) -> None:
    """Let TLS show it. A key with a passphrase asks for it on the terminal. Raises CommandError."""
    try:
        context.load_cert_chain(credential.certificate, credential.key)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        mismatch = getattr(error, "reason", None) == "KEY_VALUES_MISMATCH"
        raise CommandError(
            f"cannot use the certificate in {credential.certificate}",
            why="the key is another one's" if mismatch else clean(error, limit=300),
            next_step="next: give PEM files, the key with -K, or renew the proxy",
        ) from error


def log_in(
    endpoints: Endpoints, scope: str, credential: Credential, *, clock: Clock, sleep: Callable[[float], None]
) -> dict[str, Any]:
    """The token answer for a certificate. Raises CommandError."""
    if not endpoints.certificate:
        raise CommandError(
            f"nobody can log in with a certificate at {endpoints.issuer}",
            why="its metadata names no mtls_endpoint_aliases",
            next_step="next: log in through the browser: dirac-login <group>",
        )
    form = {"client_id": CLIENT_ID, "grant_type": GRANT, "scope": scope}
    with Wire(
        endpoints.certificate, clock=clock, sleep=sleep, shows=lambda tls: show(tls, credential)
    ) as wire:
        answer = wire.send("POST", endpoints.certificate, form=form, limit=OAUTH_LIMIT)
    fields = answer.fields()
    if answer.status >= 300 or fields is None or "error" in fields:
        raise answer.error()
    return fields
