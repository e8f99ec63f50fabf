"""The ports: opened first, so that one in use is said before anything begins; served by one loop, ended together."""

import asyncio
import gc
import socket
import ssl
import sys
from collections.abc import Callable, Sequence

import uvicorn

from gatehouse.cli import certificateport
from gatehouse.cli.certificateport import Asking
from gatehouse.cli.forwarded import Forwarded
from gatehouse.cli.patience import Patience
from gatehouse.cli.server import Service
from gatehouse.registry.errors import ConfigurationError


def run(service: Service, ready: Callable[[], None] | None = None) -> None:
    """Serve until told to stop (SIGTERM, SIGINT). Raises ConfigurationError when a port cannot be had."""
    try:
        server, sockets = ports(service, ready)
        server.run(sockets)
    finally:
        service.database.close()


def ports(service: Service, ready: Callable[[], None] | None = None) -> tuple["Ports", list[socket.socket]]:
    """The web server of a service, and the opened main port to run it with. Raises ConfigurationError."""
    server = service.settings.server
    sockets = listen("server.port", server.host, server.port)
    if not server.certificate_port:
        return Ports(configuration(service), ready=ready), sockets
    asking = listen("server.certificate_port", server.host, server.certificate_port)
    return Ports(configuration(service), asking, certificateport.context(server), ready), sockets


def listen(setting: str, host: str, port: int) -> list[socket.socket]:
    """Sockets for every address of a host. Raises ConfigurationError."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        addresses = dict.fromkeys((family, address) for family, _, _, _, address in found)
        return [socket.create_server(address, family=family) for family, address in addresses]
    except OSError as error:
        raise ConfigurationError(
            f"{setting}: {host} port {port} cannot be used: {error.strerror}. "
            "End what listens there, or name another port."
        ) from error


def configuration(service: Service) -> uvicorn.Config:
    """How uvicorn serves: one process, uvloop and httptools."""
    server = service.settings.server
    return uvicorn.Config(
        Forwarded(service.app, server.trusted_proxies, server.client_certificate_header),
        loop="uvloop" if sys.platform != "win32" else "asyncio",
        http=Patience,
        ws="none",
        access_log=False,
        server_header=False,
        log_config=None,
        lifespan="on",
        timeout_graceful_shutdown=5,
        limit_concurrency=2000,
        proxy_headers=False,  # Forwarded does it
        ssl_certfile=server.tls_certificate,
        ssl_keyfile=server.tls_key,
    )


class Ports(uvicorn.Server):
    """The main port and perhaps the one for certificates; calls back once they are open."""

    def __init__(
        self,
        config: uvicorn.Config,
        asking: Sequence[socket.socket] = (),
        context: ssl.SSLContext | None = None,
        ready: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(config)
        self._asking = asking
        self._context = context
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the ports, then say so."""
        await super().startup(sockets)
        for one in self._asking:
            self.servers.append(await self._ask(one))
        gc.freeze()  # what is there now stays: no collection needs to look at it again
        if self.started and self._ready is not None:
            self._ready()

    async def _ask(self, listening: socket.socket) -> asyncio.Server:
        """Serve on the port for certificates; uvicorn ends it and its connections with the others."""

        def protocol() -> asyncio.Protocol:
            return Asking(self.config, self.server_state, self.lifespan.state)

        return await asyncio.get_running_loop().create_server(
            protocol,
            sock=listening,
            ssl=self._context,
            ssl_handshake_timeout=certificateport.HANDSHAKE_SECONDS,
            backlog=self.config.backlog,
        )
