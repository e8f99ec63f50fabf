"""The one place where the server is put together: settings in, application out."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache

import structlog
from fastapi import FastAPI
from msgspec import json
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from gatehouse.auth import guesses, notices, pending, registered, sessions, walks
from gatehouse.auth.api import AuthApi
from gatehouse.auth.clientkeys import ClientKeys
from gatehouse.auth.clients import Clients
from gatehouse.auth.endpoints import Endpoints
from gatehouse.auth.journey import Journey
from gatehouse.auth.notifier import Notifier
from gatehouse.auth.pages.render import Pages
from gatehouse.auth.providers.egress import Guard
from gatehouse.auth.providers.fetch import Fetcher
from gatehouse.auth.providers.relying import Providers
from gatehouse.auth.refusals import PAGES_AT_ONCE, Refusals
from gatehouse.auth.server import Context, Server
from gatehouse.cli import certificateport, openapi, resource, tls
from gatehouse.cli.demo import community as demo
from gatehouse.cli.demo.idp import create_idp, mounted
from gatehouse.cli.demo.people import PEOPLE
from gatehouse.cli.direct import Direct
from gatehouse.cli.edge import HANDLERS, Front
from gatehouse.cli.health import Health
from gatehouse.cli.resource import Resource
from gatehouse.registry import importing, safety, schema
from gatehouse.registry.clock import SYSTEM, Clock
from gatehouse.registry.community import Communities
from gatehouse.registry.configuration import secret_of
from gatehouse.registry.database import Database
from gatehouse.registry.errors import ConfigurationError
from gatehouse.registry.settings import Settings
from gatehouse.tokenmanager import gate, keys, limits, once, seal
from gatehouse.tokenmanager.certificates import Certificates
from gatehouse.tokenmanager.describe import describe
from gatehouse.tokenmanager.dpop import Proofs
from gatehouse.tokenmanager.groups import Groups
from gatehouse.tokenmanager.holding import Holders
from gatehouse.tokenmanager.issue import Mint
from gatehouse.tokenmanager.revoke import Revocations
from gatehouse.tokenmanager.verify import Verifier
from gatehouse.wms.api import WmsApi
from gatehouse.wms.elements import catalog
from gatehouse.wms.factory import Factory

log = structlog.get_logger()

REFRESH_SECONDS = 1.0  # revocations and groups; the promise is five
NOTICE_SECONDS = 1.0  # clients hear of a logout
SWEEP_SECONDS = 300.0
AUTHORITIES_SECONDS = 600.0  # revocation lists are fetched some times a day


@dataclass(frozen=True, slots=True)
class Service:
    """A built service: the application, and what must be let go of at the end."""

    app: ASGIApp
    settings: Settings
    database: Database


def open_seal(settings: Settings) -> seal.Seal:
    """The seal under the master key of the settings."""
    given = secret_of(settings.secrets.master_key, settings.secrets.master_key_file, "master key")
    if not given:
        raise ConfigurationError(
            "There is no master key. Make one with `gatehouse new-key FILE` and set secrets.master_key_file = FILE."
        )
    return seal.from_text(given)


def open_database(settings: Settings, clock: Clock = SYSTEM) -> Database:
    """The database of the settings, for the service and for administration."""
    return Database(settings.database_url.get_secret_value(), clock, open_seal(settings).derive("audit"))


def build(given: Settings, clock: Clock = SYSTEM) -> Service:
    """Put the service together; everything that can be refused is refused here, before a port is open.

    Raises ConfigurationError.
    """
    settings = _with_demo(given)
    safety.check(settings)
    tls.check(settings.server.tls_certificate, settings.server.tls_key)
    certificates = certificateport.judge(settings.server, clock)
    sealed = open_seal(settings)
    database = Database(settings.database_url.get_secret_value(), clock, sealed.derive("audit"))
    try:
        schema.prepare(database)
        _import_registry(database, settings)
        return Service(_application(settings, database, sealed, clock, certificates), settings, database)
    except BaseException:
        database.close()
        raise


def _application(
    settings: Settings,
    database: Database,
    sealed: seal.Seal,
    clock: Clock,
    certificates: Certificates | None,
) -> ASGIApp:
    base = settings.server.base_url
    groups, communities = Groups(), Communities(settings.providers)
    for load in (groups.load, communities.load):
        database.read_now(load)()
    revoked = Revocations(database, clock)
    ring = keys.load(database, sealed)
    mint = Mint(ring, settings.issuer, f"{base}/api", clock)
    verifier = Verifier(ring, settings.issuer, f"{base}/api", groups, revoked, clock)
    required = settings.server.dpop_nonces == "required"
    proofs = Proofs(sealed, base, clock, also=settings.server.certificate_base, nonce_required=required)
    clients = Clients(settings.clients, base, lambda tx, name: registered.find(tx, sealed, name))
    client_keys = ClientKeys(Fetcher(Guard.of(settings, strict=True)), clock)
    providers = Providers(settings, f"{settings.issuer}/redirect", clock)
    pages = Pages(demo=settings.demo)
    context = Context(mint, sealed, groups, settings.lifetimes, clock)
    server = Server(clients, context)
    journey = Journey(
        database=database,
        seal=sealed,
        clients=clients,
        providers=providers,
        communities=communities,
        groups=groups,
        pages=pages,
        settings=settings,
        refusals=Refusals(clock, PAGES_AT_ONCE),
    )
    elements = catalog.make(settings, ring, clock, ca=settings.server.ca_file)
    factory = Factory(database, mint, sealed, settings, groups, clock, elements)
    auth = AuthApi(Endpoints(database, server, verifier, proofs, client_keys, settings), journey, context)
    notifier = Notifier(database, clients, mint, settings)
    wms = WmsApi(
        database=database,
        mint=mint,
        settings=settings,
        groups=groups,
        revoked=revoked,
        clock=clock,
        wake=factory.wake,
    )

    async def refresh() -> None:
        await revoked.refresh()
        for load in (groups.load, communities.load, server.locks.load):
            (await database.read(load))()

    async def sweep() -> None:
        await revoked.sweep()
        await database.write(once.sweep)
        await database.write(
            lambda tx: (pending.sweep(tx), walks.sweep(tx), sessions.sweep(tx), guesses.sweep(tx))
        )
        await database.write(notices.sweep)

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await refresh()
        tasks = [
            asyncio.create_task(_every(REFRESH_SECONDS, refresh)),
            asyncio.create_task(_every(SWEEP_SECONDS, sweep)),
            asyncio.create_task(_every(NOTICE_SECONDS, notifier.send)),
            asyncio.create_task(factory.run()),
        ]
        if certificates is not None:
            tasks.append(asyncio.create_task(_every(AUTHORITIES_SECONDS, certificates.reread)))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.gather(providers.close(), client_keys.close(), notifier.close())

    app = FastAPI(
        title="Gatehouse",
        description="The gate of a grid: jobs, pilots and people behind one token service.",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # the redirect would name whatever host the client claims
        lifespan=lifespan,
        exception_handlers=HANDLERS,
    )
    own = (
        *Resource(base, settings.server.certificate_base).routes(),
        *Health(database).routes(),
        _openapi(app),
    )
    app.router.routes = [*auth.routes(), *wms.routes(), *own]
    gate.check(app.router.routes)
    counted = limits.Limits(settings.limits, clock)
    app.state.certificates = certificates
    app.state.gate = gate.Gate(verifier, groups, counted, Holders(proofs, database))
    app.state.resource_metadata = f"{base}{resource.PATH}"
    app.state.pages = pages
    return Front(
        Direct(app, app.router.routes), _demo_providers(settings, clock), base.startswith("https://")
    )


def _openapi(app: FastAPI) -> gate.GatedRoute:
    @gate.allow(gate.public("the description of the API").body(gate.KIB), "document")
    @describe({200: dict})
    async def read(_request: Request) -> Response:
        """What every route takes and gives (OpenAPI)."""
        return Response(body(), media_type="application/json")

    @lru_cache(maxsize=1)
    def body() -> bytes:
        return json.encode(openapi.document(app, app.router.routes))

    return gate.route("/api/openapi.json", read)


async def _every(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    """Do something again and again; a failure is logged and does not end it."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await work()
        except Exception as error:
            log.warning(
                "background work failed", work=work.__name__, reason=f"{type(error).__name__}: {error}"
            )


def _import_registry(database: Database, settings: Settings) -> None:
    if settings.demo:
        data = importing.read_text(demo.REGISTRY_CFG)
    elif settings.registry.file is not None:
        data = importing.read_file(settings.registry.file)
    else:
        return
    done = database.write_now(lambda tx: importing.apply(tx, data, "gatehouse"))
    log.info("registry read", vos=done.vos, groups=done.groups, users=done.users)
    for ignored in done.ignored:
        log.info("registry option not used", path=ignored.path, why=ignored.sentence)


def _with_demo(settings: Settings) -> Settings:
    """With `demo = true`: the demo providers beside the configured ones."""
    if not settings.demo:
        return settings
    ours = {"ca_file": settings.server.ca_file}  # they live at our own address, behind our own certificate
    added = (one.model_copy(update=ours) for one in demo.providers(settings.server.base_url))
    return settings.model_copy(update={"providers": (*settings.providers, *added)})


def _demo_providers(settings: Settings, clock: Clock) -> ASGIApp | None:
    if not settings.demo:
        return None
    redirect = [f"{settings.issuer}/redirect"]
    mounts = []
    for one in demo.providers(settings.server.base_url):
        idp = create_idp(
            one.issuer,
            "iam" if one.kind == "wlcg" else "checkin",
            PEOPLE,
            demo.CLIENT_ID,
            demo.CLIENT_SECRET.get_secret_value(),
            redirect,
            clock,
            allow_login_hint=True,
        )
        mounts.append(mounted(one.issuer, idp))
    return Starlette(routes=mounts)
