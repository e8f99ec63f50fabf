"""Telling clients that a session has ended (OpenID Connect Back-Channel Logout §2.5): the sender behind `notices`."""

import asyncio
import secrets

import structlog

from gatehouse.auth import notices
from gatehouse.auth.clients import Client, Clients
from gatehouse.auth.notices import Notice
from gatehouse.auth.providers.egress import Guard
from gatehouse.auth.providers.fetch import Fetcher, FetchError
from gatehouse.registry import audit
from gatehouse.registry.database import Database, Tx
from gatehouse.registry.leases import drop_lease, take_lease
from gatehouse.registry.settings import Settings
from gatehouse.tokenmanager.issue import Mint

log = structlog.get_logger()

LEASE = "logout notices"
_LEASE_SECONDS = 15  # a batch takes five seconds at most


class Notifier:
    """One replica at a time sends. Tokens are made when they are sent, so that none is stored or too old."""

    def __init__(self, database: Database, clients: Clients, mint: Mint, settings: Settings) -> None:
        self._database = database
        self._clients = clients
        self._mint = mint
        self._fetcher = Fetcher(Guard.of(settings, strict=True))
        self._holder = secrets.token_hex(8)

    async def send(self) -> None:
        """Send all that is due; what cannot be sent waits for its next try."""
        while await self._database.read(notices.due) and await self._leads():
            batch = await self._database.read(notices.due)
            await asyncio.gather(*(self._try(notice) for notice in batch))

    async def close(self) -> None:
        """Let the lease and the connections go."""
        await self._database.write(lambda tx: drop_lease(tx, LEASE, self._holder))
        await self._fetcher.close()

    async def _leads(self) -> bool:
        try:
            return await self._database.write(lambda tx: take_lease(tx, LEASE, self._holder, _LEASE_SECONDS))
        except self._database.integrity_error:
            return False  # the very first lease, and another replica was faster

    async def _try(self, notice: Notice) -> None:
        client = await self._database.write(lambda tx: self._claim(tx, notice))
        if client is None:
            return
        token = self._mint.logout_token(
            client.alg, subject=notice.user_id, client_id=client.client_id, session=notice.session
        )
        why = ""
        try:
            await self._fetcher.tell(client.backchannel_logout_uri, {"logout_token": token})
        except FetchError as error:
            why = str(error)
        await self._database.write(lambda tx: self._done(tx, notice, why))

    def _claim(self, tx: Tx, notice: Notice) -> Client | None:
        """The client to tell now; None when somebody else tells it, or there is no telling it any more."""
        if not notices.claim(tx, notice):
            return None
        client = self._clients.find(tx, notice.client_id)
        if client is None or not client.backchannel_logout_uri:
            self._close(tx, notice, "logout.untold", why="the client has no address for it any more")
            return None
        if notice.tries >= notices.MOST:
            self._close(tx, notice, "logout.untold", why="the last try was broken off")
            return None
        return client

    def _done(self, tx: Tx, notice: Notice, why: str) -> None:
        if not why:
            self._close(tx, notice, "logout.told")
            return
        log.warning("client not told of a logout", client=notice.client_id, tries=notice.tries + 1, why=why)
        if notice.tries + 1 >= notices.MOST:
            self._close(tx, notice, "logout.untold", why=why[:300])

    def _close(self, tx: Tx, notice: Notice, kind: str, **facts: str) -> None:
        if notices.done(tx, notice):
            audit.record(
                tx,
                kind,
                actor="gatehouse",
                subject=notice.user_id,
                client=notice.client_id,
                session=notice.session,
                tries=notice.tries + 1,
                **facts,
            )
