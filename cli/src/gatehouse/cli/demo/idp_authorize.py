"""The demo provider's authorization endpoint: RFC 6749 §4.1 with RFC 7636 and RFC 9207, as RFC 9700 wants it."""

import re
from collections.abc import Iterable
from urllib.parse import urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gatehouse.cli.demo import idp_pages
from gatehouse.cli.demo.idp_state import CODE_LIFE, PARAMETER_LIMIT, TICKET_LIFE, Asked, Grant, Provider
from gatehouse.cli.demo.people import Person, named
from gatehouse.registry.errors import Problem

_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")


def single(pairs: Iterable[tuple[str, object]]) -> dict[str, str]:
    """Parameters by name. Given twice or too long is an error (RFC 6749 §3.1)."""
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found:
            raise Problem(400, "invalid_request", f"The parameter {name[:50]} is given twice.")
        if not isinstance(value, str) or len(value) > PARAMETER_LIMIT:
            raise Problem(400, "invalid_request", f"The parameter {name[:50]} is too long.")
        found[name] = value
    return found


async def authorize(idp: Provider, request: Request) -> Response:
    """GET: check the request and show the people. POST: somebody was chosen."""
    try:
        if request.method == "POST":
            async with request.form(max_fields=10) as form:
                return _chosen(idp, single(form.multi_items()))
        return _asked(idp, single(request.query_params.multi_items()))
    except Problem as problem:
        # before the redirect address is known to be good, the answer must stay here
        return idp_pages.refused(idp.title, problem.message, base=idp.base)


def _asked(idp: Provider, parameters: dict[str, str]) -> Response:
    if parameters.get("client_id") != idp.client_id:
        raise Problem(400, "invalid_client", "The program that sent you here is not known to this provider.")
    redirect_uri = parameters.get("redirect_uri", "")
    if redirect_uri not in idp.redirect_uris:
        raise Problem(400, "invalid_request", "The address to return to is not one of those registered.")
    state = parameters.get("state", "")
    try:
        _check(parameters)
        asked = Asked(
            redirect_uri=redirect_uri,
            scopes=tuple(s for s in dict.fromkeys(parameters["scope"].split()) if s in idp.scopes),
            state=state,
            nonce=parameters.get("nonce", ""),
            challenge=parameters["code_challenge"],
        )
        person = _hinted(idp, parameters)
    except Problem as problem:
        return _send_back(
            idp, redirect_uri, state, {"error": problem.code, "error_description": problem.message}
        )
    if person is not None:
        return _grant(idp, asked, person)
    ticket = idp.tickets.put(asked, TICKET_LIFE)
    parts = urlsplit(redirect_uri)
    return idp_pages.sign_in(
        idp.title,
        idp.client_id,
        idp.people,
        ticket,
        base=idp.base,
        action=idp.base + idp.paths.authorize,
        back=f"{parts.scheme}://{parts.netloc}",
    )


def _check(parameters: dict[str, str]) -> None:
    for name in ("request", "request_uri"):
        if name in parameters:
            raise Problem(400, f"{name}_not_supported", f"The parameter {name} is not supported.")
    if parameters.get("response_type") != "code":
        raise Problem(400, "unsupported_response_type", "The response_type must be code.")
    if parameters.get("response_mode", "query") != "query":
        raise Problem(400, "invalid_request", "The response_mode must be query.")
    if "openid" not in parameters.get("scope", "").split():
        raise Problem(400, "invalid_scope", "The scope must hold openid.")
    if not _CHALLENGE.fullmatch(parameters.get("code_challenge", "")):
        raise Problem(400, "invalid_request", "A code_challenge is needed (RFC 7636).")
    if parameters.get("code_challenge_method") != "S256":
        raise Problem(400, "invalid_request", "The code_challenge_method must be S256.")


def _hinted(idp: Provider, parameters: dict[str, str]) -> Person | None:
    """The person named by `login_hint`, where the demo allows to sign in by that alone."""
    hinted = named(idp.people, parameters.get("login_hint", "")) if idp.allow_login_hint else None
    if hinted is None and "none" in parameters.get("prompt", "").split():
        raise Problem(400, "login_required", "There is no session here; somebody must be chosen.")
    return hinted


def _chosen(idp: Provider, form: dict[str, str]) -> Response:
    asked = idp.tickets.take(form.get("ticket", ""))
    if asked is None:
        raise Problem(400, "invalid_request", "This page is too old or was used before. Please start again.")
    person = named(idp.people, form.get("username", ""))
    if person is None:
        raise Problem(400, "invalid_request", "There is nobody of that name here. Please start again.")
    return _grant(idp, asked, person)


def _grant(idp: Provider, asked: Asked, person: Person) -> Response:
    grant = Grant(idp.draw(), person, asked, idp.clock.now())
    code = idp.codes.put(grant, CODE_LIFE)
    return _send_back(idp, asked.redirect_uri, asked.state, {"code": code})


def _send_back(idp: Provider, redirect_uri: str, state: str, answer: dict[str, object]) -> Response:
    """The answer through the browser; `iss` is RFC 9207."""
    parameters = idp.tweaks.redirect({**answer, **({"state": state} if state else {}), "iss": idp.issuer})
    joint = "&" if urlsplit(redirect_uri).query else "?"
    return RedirectResponse(
        f"{redirect_uri}{joint}{urlencode(parameters)}",
        303,
        {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"},
    )
