"""What the tests of logout share: a client's address for logout tokens, people in browsers, providers that log out."""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from typing import Any
from urllib.parse import parse_qsl, urljoin

import httpx
import jwt
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.auth.kit import PORTAL, Walker, asking, query, redeem
from tests.auth.upstream import listening
from tests.service import Service

BYE = "https://portal.example.org/bye"


class Receiver:
    """A client's back-channel logout endpoint; answers with `statuses`, the last of which stays."""

    def __init__(self) -> None:
        self.port = 0
        self.tokens: list[str] = []
        self.statuses = [200]
        self.types: list[str] = []
        self._come = threading.Condition()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}/told"

    async def _told(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode()))
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        with self._come:
            self.types.append(request.headers["content-type"])
            self.tokens.append(form["logout_token"])
            self._come.notify_all()
        return Response(status_code=status)

    def wait(self, count: int, seconds: float = 20) -> list[str]:
        """The tokens, once there are so many."""
        with self._come:
            assert self._come.wait_for(lambda: len(self.tokens) >= count, seconds), self.tokens
            return list(self.tokens)

    def quiet(self, count: int, seconds: float = 2.5) -> None:
        """Nothing more comes than these."""
        with self._come:
            self._come.wait_for(lambda: len(self.tokens) > count, seconds)
            assert len(self.tokens) == count


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver that listens."""
    made = Receiver()
    with listening(Starlette(routes=[Route("/told", made._told, methods=["POST"])])) as port:
        made.port = port
        yield made


def clients(*receivers: Receiver) -> str:
    """The portal that is told of logouts, and another one for each further receiver."""
    parts = []
    for number, one in enumerate(receivers):
        name = "portal" if number == 0 else f"portal{number}"
        parts.append(
            f"""
[[clients]]
client_id = "{name}"
name = "The {name}"
client_secret = "only for this test"
grant_types = ["authorization_code", "urn:ietf:params:oauth:grant-type:device_code", "refresh_token"]
redirect_uris = ["{PORTAL}"]
post_logout_redirect_uris = ["{BYE}", "{BYE}?kept=1"]
backchannel_logout_uri = "{one.uri}"
"""
        )
    allowed = ", ".join(f'"127.0.0.1:{one.port}"' for one in receivers)
    return f"[egress]\nallow = [{allowed}]\n" + "".join(parts)


def tokens(
    service: Service, browser: Walker, client: str = "portal", scope: str = "openid g:training_user"
) -> Any:
    """A client gets tokens in this browser."""
    said = asking(service, client_id=client, scope=scope)
    answer = redeem(service, browser.allow(said)["code"], client_id=client)
    assert answer.status_code == 200, answer.text
    return answer.json()


def still(service: Service, given: Any, client: str = "portal") -> bool:
    """Whether a refresh token goes on."""
    form = {"grant_type": "refresh_token", "refresh_token": given["refresh_token"], "client_id": client}
    if client != "DIRAC_CLI":
        form["client_secret"] = "only for this test"
    answer = httpx.post(f"{service.issuer}/token", data=form, timeout=30, trust_env=False)
    assert answer.status_code == 200 or answer.json()["error"] == "invalid_grant", answer.text
    return answer.status_code == 200


def claims(token: str) -> dict[str, Any]:
    """What a token says, unchecked."""
    said: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return said


def forms(page: httpx.Response) -> list[tuple[str, dict[str, str]]]:
    """The forms of a page: where they go, and their hidden fields."""
    found = []
    for action, inside in re.findall(r'<form[^>]*\baction="([^"]*)"[^>]*>(.*?)</form>', page.text, re.DOTALL):
        hidden = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', inside))
        hidden |= dict(re.findall(r'<button[^>]*\bname="([^"]+)" value="(confirm)"', inside))
        values = {name: unescape(value) for name, value in hidden.items()}
        found.append((urljoin(str(page.url), unescape(action)), values))
    return found


def account(service: Service, browser: Walker) -> httpx.Response:
    """The page of a person who is logged in."""
    page = browser.http.get(f"{service.issuer}/account")
    assert page.status_code == 200, page.text
    return page


def enter(
    service: Service, browser: Walker, username: str = "alice", provider: str = "egi-demo"
) -> httpx.Response:
    """Log in for one's own page, from nothing; the page."""
    away = browser.http.get(f"{service.issuer}/account")
    assert away.status_code == 303, away.text
    browser.follow(away)
    return browser.follow(browser.log_in(provider, username))


def logged_in(service: Service, browser: Walker) -> bool:
    """Whether anybody is logged in in this browser."""
    return browser.http.get(f"{service.issuer}/account").status_code == 200


def until(check: Any, seconds: float = 20) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end
        time.sleep(0.05)


def code_of(answer: httpx.Response) -> str:
    """The code in a redirect."""
    return query(answer.headers["location"])["code"]
