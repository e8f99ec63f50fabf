"""The port that asks for a certificate. The main port never does: browsers would ask everybody to choose one."""

import asyncio
import ssl
from typing import Any

from gatehouse.cli.patience import Patience
from gatehouse.registry.clock import Clock
from gatehouse.registry.settings import ServerSettings
from gatehouse.tokenmanager.authorities import Authorities
from gatehouse.tokenmanager.certificates import SHOWN, Certificates, Shown

HANDSHAKE_SECONDS = 15.0
_DER = 2  # _ssl.ENCODING_DER
_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME, which the ssl module has no name for


def judge(server: ServerSettings, clock: Clock) -> Certificates | None:
    """Who judges certificates; None where nobody can show any. Raises ConfigurationError."""
    if server.client_ca is None or not server.certificate_base:
        return None
    return Certificates(Authorities(server.client_ca, lists_required=server.client_crls == "required"), clock)


def context(server: ServerSettings) -> ssl.SSLContext:
    """TLS that asks for a certificate and goes on without one.

    The library sees to it that the client holds the key and that the chain leads to an authority. Times are left to
    `tokenmanager.certificates`, like all other rules: its answer is a sentence and not a broken connection. No session
    is resumed, because a resumed one does not have the whole chain.
    """
    assert server.tls_certificate is not None
    assert server.client_ca is not None
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.load_cert_chain(server.tls_certificate, server.tls_key)
    if server.client_ca.is_dir():
        made.load_verify_locations(capath=server.client_ca)
    else:
        made.load_verify_locations(cafile=server.client_ca)
    made.verify_mode = ssl.CERT_OPTIONAL
    made.verify_flags |= ssl.VerifyFlags.VERIFY_ALLOW_PROXY_CERTS | ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    made.verify_flags = ssl.VerifyFlags(made.verify_flags | _NO_CHECK_TIME)
    made.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    made.num_tickets = 0
    return made


def shown(transport: asyncio.BaseTransport) -> list[bytes]:
    """What the client showed in the handshake, DER, its own certificate first; empty when nothing."""
    tls = transport.get_extra_info("ssl_object")
    if tls is None:
        return []
    if hasattr(tls, "get_unverified_chain"):  # public from Python 3.13
        return [one for one in tls.get_unverified_chain() or () if one]
    # without a certificate, Python 3.11 gives a list of one None
    return [one.public_bytes(_DER) for one in tls._sslobj.get_unverified_chain() or () if one is not None]


class Asking(Patience):
    """A connection to this port: each of its requests has the chain in its scope."""

    _shown: Shown | None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """The handshake is over: what came, came."""
        chain = shown(transport)
        self._shown = Shown(tuple(chain)) if chain else None
        super().connection_made(transport)

    def on_message_begin(self) -> None:
        """Tell the application."""
        super().on_message_begin()
        if self._shown is not None:
            scope: dict[str, Any] = self.scope  # type: ignore[assignment]
            scope[SHOWN] = self._shown
