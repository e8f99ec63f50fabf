"""Mix-up (RFC 9700 §4.4): a provider that was taken over tries to log in as somebody of an honest one beside it."""

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from gatehouse.cli.demo.idp import create_idp
from gatehouse.cli.demo.idp_tweaks import Tweaks, replacing
from gatehouse.cli.demo.people import PEOPLE
from gatehouse.registry.clock import SYSTEM
from tests.auth.kit import Walker, begin, error, events, poll, query, words
from tests.auth.test_providers import PROVIDER, REGISTRY
from tests.service import Service, free_port

SECRET = "only for this test"


@dataclass
class Evil:
    """A provider that keeps the codes it is sent."""

    issuer: str
    codes: list[str] = field(default_factory=list)

    def routes(self) -> list[Route]:
        """Its metadata and its token endpoint; the rest it has no need of."""
        return [
            Route("/.well-known/openid-configuration", self.metadata),
            Route("/token", self.token, methods=["POST"]),
        ]

    async def metadata(self, _request: Request) -> JSONResponse:
        names = ("authorization", "token", "userinfo")
        ends = {f"{name}_endpoint": f"{self.issuer}/{name}" for name in names}
        return JSONResponse({"issuer": self.issuer, "jwks_uri": f"{self.issuer}/jwks", **ends})

    async def token(self, request: Request) -> JSONResponse:
        form = parse_qs((await request.body()).decode())
        self.codes += form["code"]
        return JSONResponse({"error": "invalid_grant"}, 400)


@dataclass
class World:
    """A service between an honest provider and an evil one."""

    service: Service
    evil: Evil


@pytest.fixture(params=["own callback", "named issuer"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Each of the two defences by itself."""
    own = request.param == "own callback"
    folder, port = tmp_path_factory.mktemp("gatehouse"), free_port()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        base = f"http://127.0.0.1:{listener.getsockname()[1]}"
        evil = Evil(f"{base}/evil")
        tweaks = Tweaks()
        if own:
            tweaks.redirect = replacing(iss=None)
            tweaks.discovery = replacing(authorization_response_iss_parameter_supported=None)
        callback = f"http://127.0.0.1:{port}/auth/redirect" + ("/honest" if own else "")
        honest = create_idp(
            f"{base}/honest",
            *("checkin", PEOPLE, "gatehouse", SECRET, [callback], SYSTEM),
            allow_login_hint=True,
            tweaks=tweaks,
        )
        app = Starlette(routes=[Mount("/honest", app=honest), Mount("/evil", routes=evil.routes())])
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        (folder / "dirac.cfg").write_text(REGISTRY.replace("NAMES", "honest, evil"))
        more = f'[registry]\nfile = "{folder / "dirac.cfg"}"\n'
        more += PROVIDER.replace("NAME", "honest").replace("ISSUER", f"{base}/honest")
        more += "own_redirect = true\n" if own else ""
        more += PROVIDER.replace("NAME", "evil").replace("ISSUER", evil.issuer)
        try:
            with Service(folder, demo=False, more=more, port=port) as service:
                yield World(service, evil)
        finally:
            server.should_exit = True
            thread.join(10)


def test_rfc9700_4_4_a_code_of_one_provider_never_reaches_another(world: World) -> None:
    service = world.service
    with Walker(service) as attacker, Walker(service) as victim:
        mine = begin(service)
        attacker.confirm(mine)
        wanted = attacker.leave("honest").headers["location"]
        # the victim chose the evil provider, which sends the browser on to the honest one with its own challenge
        theirs = begin(service)
        victim.confirm(theirs)
        state = query(victim.leave("evil").headers["location"])["state"]
        parts = urlsplit(wanted)
        bent = urlencode({**query(wanted), "state": state, "login_hint": "alice"})
        back = victim.http.get(parts._replace(query=bent).geturl()).headers["location"]
        page = victim.http.get(back)
        assert page.status_code == 502
        assert "The evil provider could not vouch for you" in words(page)
        assert world.evil.codes == []
        assert events(service)[-1].kind == "provider.refused"
        # with that code the attacker's own trip to the honest provider would have ended as alice
        error(poll(service, mine), 400, "authorization_pending")
        # nothing is broken by it
        assert "Authorization complete" in words(victim.log_in("honest", "alice"))
        assert poll(service, theirs).status_code == 200
