"""Where the service may connect to, whoever named the address: judged by name, resolved once, judged by number."""

import asyncio
import socket
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address, ip_network

import httpcore
import httpx

from gatehouse.registry.settings import LOOPBACK, Settings

Resolver = Callable[[str, int], Sequence[str]]
Origin = tuple[str, int]

_PORTS = {"https": 443, "http": 80}
_MAX_ADDRESSES = 4
_MAX_URL = 2048
_ONE_ADDRESS = 2.0  # seconds for one of several addresses, so that a dead one leaves time for the next
# IANA's special-purpose registries, and what is multicast, reserved or given up. Spelled out here because what
# `ipaddress.is_global` says differs between versions of Python.
_SPECIAL_4 = tuple(
    ip_network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15"),
        *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
    )
)
_UNICAST_6 = ip_network("2000::/3")
_SPECIAL_6 = tuple(map(ip_network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))
_NAT64 = ip_network("64:ff9b::/96")


class NotAllowed(Exception):
    """Why a request does not leave; names no address that only our resolver knows."""


def public(address: str) -> bool:
    """Whether a numeric address is one that anybody on the internet could reach.

    Wrapped IPv4 (mapped, compatible, 6to4, Teredo) is never; NAT64 is what the address inside it is, because that
    is how a network with IPv6 alone reaches the rest.
    """
    try:
        found = ip_address(address)
    except ValueError:
        return False
    if isinstance(found, IPv4Address):
        return not any(found in network for network in _SPECIAL_4)
    if found.scope_id is not None:
        return False
    if found in _NAT64:
        return public(str(IPv4Address(int(found) & 0xFFFFFFFF)))
    return found in _UNICAST_6 and not any(found in network for network in _SPECIAL_6)


def _loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Guard:
    """The rules: `named` are the origins that the operator has named; `development` permits loopback.

    `strict` is for addresses that clients name: they reach loopback, in development, only where it is named too.
    """

    named: frozenset[Origin] = frozenset()
    development: bool = False
    strict: bool = False

    @classmethod
    def of(cls, settings: Settings, issuers: Iterable[str] = (), *, strict: bool = False) -> "Guard":
        """What the settings allow, and the origins of these issuers, which the operator has configured."""
        named = {_entry(one) for one in settings.egress.allow}
        for issuer in issuers:
            named.add(_origin(httpx.URL(issuer)))
        return cls(frozenset(named), settings.mode == "development", strict)

    def target(self, url: str) -> httpx.URL:
        """The address, parsed and allowed as far as its text goes. Raises NotAllowed."""
        if not 0 < len(url) <= _MAX_URL or not url.isascii():
            raise NotAllowed("this is no address")
        try:
            parsed = httpx.URL(url)
        except (httpx.InvalidURL, ValueError) as error:
            raise NotAllowed("this is no address") from error
        if parsed.scheme not in _PORTS or not parsed.host or parsed.userinfo or "#" in url or "\\" in url:
            raise NotAllowed("this is no address of https")
        host, port = _origin(parsed)
        here = self.development and host in LOOPBACK and (not self.strict or (host, port) in self.named)
        if parsed.scheme != "https" and not here:
            raise NotAllowed("only https is allowed")
        if port != 443 and not here and (host, port) not in self.named:
            raise NotAllowed(f"port {port} is not allowed (egress.allow)")
        return parsed

    def check(self, host: str, port: int, addresses: Sequence[str]) -> None:
        """Every address that the name has must be allowed: one that is not spoils the name. Raises NotAllowed."""
        if (host, port) in self.named:
            return
        trial = self.development and not self.strict
        for address in addresses:
            if not public(address) and not (trial and _loopback(address)):
                raise NotAllowed("its address is not a public one (egress.allow)")


def _origin(url: httpx.URL) -> Origin:
    return url.raw_host.decode("ascii").lower(), url.port or _PORTS.get(url.scheme, 0)


def _entry(text: str) -> Origin:
    host, _, port = text.rpartition(":")
    return host.strip("[]").lower(), int(port)


def resolve(host: str, port: int) -> Sequence[str]:
    """The numeric addresses of a name, in the order in which to try them. Raises OSError, UnicodeError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Connections that have passed the guard, to the very address that was judged.

    TLS above it still asks for and checks the name. A resolver that hangs occupies threads of this backend alone.
    """

    def __init__(self, guard: Guard, resolver: Resolver = resolve) -> None:
        self._guard = guard
        self._resolver = resolver
        self._plain = httpcore.AnyIOBackend()
        self._threads = ThreadPoolExecutor(2, "resolve")

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface's
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Resolve once, judge all, connect to one. Raises NotAllowed, httpcore.ConnectError or ConnectTimeout."""
        loop = asyncio.get_running_loop()
        try:
            addresses = await loop.run_in_executor(self._threads, self._resolver, host, port)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError("the name is not known") from error
        self._guard.check(host, port, addresses)
        if not addresses:
            raise httpcore.ConnectError("the name has no address")
        *others, last = addresses[:_MAX_ADDRESSES]
        for address in others:
            try:
                return await self._plain.connect_tcp(address, port, _ONE_ADDRESS, None, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self._plain.connect_tcp(last, port, timeout, None, socket_options)

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface's
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Never."""
        raise NotAllowed("a socket of this machine is no address")

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    def close(self) -> None:
        """Let the threads go; one that still waits for an answer ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)
