"""A provider tells us that somebody logged out there (OpenID Connect Back-Channel Logout §2.5 to §2.8)."""

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gatehouse.auth import leaving, sessions, shapes
from gatehouse.auth.journey import Journey
from gatehouse.auth.providers.logouttoken import Departed
from gatehouse.auth.providers.relying import ProviderError
from gatehouse.auth.server import Form, read_form
from gatehouse.auth.sessions import Session
from gatehouse.registry.database import Tx
from gatehouse.registry.errors import Problem
from gatehouse.tokenmanager import once
from gatehouse.tokenmanager.describe import describe
from gatehouse.tokenmanager.gate import KIB, allow, public

log = structlog.get_logger()
_NO_STORE = {"Cache-Control": "no-store"}
_FORM = "application/x-www-form-urlencoded"


class Backchannel:
    """`POST /auth/redirect/{provider}/backchannel`: register it at the provider as the back-channel logout URI."""

    def __init__(self, journey: Journey) -> None:
        self._journey = journey

    @allow(public("the provider's signature is checked inside (§2.6)").body(32 * KIB), "token")
    @describe({200: None}, form=shapes.LogoutForm)
    async def told(self, request: Request) -> Response:
        """End the sessions here that came from a session, or a person, that logged out at the provider."""
        provider = self._journey.providers.by_name.get(request.path_params["provider"])
        if provider is None:
            raise Problem(404, "not_found", "There is no such identity provider here.")
        form = read_form(await request.body())
        token = form.get("logout_token", "") if isinstance(form, Form) else ""
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM or not token:
            return _refused("The body must be a form with a logout_token.")
        try:
            said = await provider.departed(token)
        except ProviderError as error:
            log.warning("logout token refused", provider=provider.name, why=str(error))
            return _refused(f"The logout token is not accepted: {error}.")
        taken = await self._journey.database.write(lambda tx: self._take(tx, provider.name, said))
        if not taken:
            log.warning("logout token refused", provider=provider.name, why="used before")
            return _refused("The logout token was used before.")
        return Response(status_code=200, headers=_NO_STORE)

    def _take(self, tx: Tx, provider: str, said: Departed) -> bool:
        """Use the token up and do what it says, in one transaction; it may be that nobody is left to log out."""
        if not once.claim(tx, f"logout {provider}", said.token_id, said.until):
            return False

        def living() -> list[Session]:
            if not said.session:
                return sessions.of_upstream_person(tx, provider, said.subject)
            found = sessions.of_upstream(tx, provider, said.session)
            return [one for one in found if said.subject in ("", one.upstream_sub)]

        why = "the provider said that the person logged out there"
        leaving.leave_all(tx, self._journey.clients, living, why, actor=provider)
        return True


def _refused(why: str) -> Response:
    return JSONResponse({"error": "invalid_request", "error_description": why}, 400, _NO_STORE)
