"""Keys of clients by `jwks_uri` (RFC 7591 §2, RFC 7523 §3): fetched before the transaction that asks for them.

The same keeping as for the keys of providers: one fetch at a time for each address, a pace that nobody else sets.
Clients name these addresses, so they get no favour from the guard. All share one way out; an address that hangs
holds one of its places, for five of every fifteen seconds.
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import NamedTuple

import jwt
import structlog
from authlib.oauth2.rfc6749 import OAuth2Error
from jwt import PyJWK

from gatehouse.auth import authentication
from gatehouse.auth.clients import Client
from gatehouse.auth.providers.fetch import Fetcher, FetchError
from gatehouse.auth.providers.jwks import KeySet
from gatehouse.registry.clock import Clock

log = structlog.get_logger()

MOST = 1024  # addresses whose keys are kept


class Fetched(NamedTuple):
    """A key as it was published: good only while the client still has that address."""

    jwks_uri: str
    kid: str
    key: PyJWK


class ClientKeys:
    """The key sets behind the addresses of clients, those used last."""

    def __init__(self, fetcher: Fetcher, clock: Clock) -> None:
        self._fetcher = fetcher
        self._clock = clock
        self._sets: OrderedDict[str, KeySet] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sets)

    async def find(self, client: Client | None, assertion: str) -> Fetched | None:
        """The key that an assertion names, if the client publishes its keys and this is one of them."""
        if client is None or not client.jwks_uri or "private_key_jwt" not in client.auth:
            return None
        kid = _kid(assertion)
        try:
            key = await self._set(client.jwks_uri).key(kid) if kid else None
        except FetchError as error:
            log.info("keys of a client not fetched", client=client.client_id, why=str(error))
            return None
        return Fetched(client.jwks_uri, kid, key) if key is not None else None

    async def close(self) -> None:
        """Close the connections."""
        await self._fetcher.close()

    def _set(self, uri: str) -> KeySet:
        found = self._sets.get(uri)
        if found is None:

            async def where() -> str:
                return uri

            found = self._sets[uri] = KeySet(where, self._fetcher, self._clock)
            if len(self._sets) > MOST:
                self._sets.popitem(last=False)
        self._sets.move_to_end(uri)
        return found


def asserted(form: Mapping[str, str], headers: Mapping[str, str]) -> authentication.Presented | None:
    """Which client a request says it is, if it says so by an assertion."""
    if "client_assertion" not in form:
        return None
    try:
        found = authentication.presented(form, headers, "")
    except OAuth2Error:
        return None  # it will be refused with its reason
    return found if found.method == "private_key_jwt" else None


def _kid(assertion: str) -> str:
    try:
        kid = jwt.get_unverified_header(assertion).get("kid")
    except (jwt.InvalidTokenError, ValueError, RecursionError):
        return ""
    return kid if isinstance(kid, str) and len(kid) <= 255 else ""
