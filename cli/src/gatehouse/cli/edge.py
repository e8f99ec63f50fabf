"""The edge: where errors get their wire shape, and what every response carries."""

import secrets
from typing import Any

import structlog
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gatehouse.auth.pages import texts
from gatehouse.auth.pages.render import Pages, Refused
from gatehouse.registry.errors import Problem
from gatehouse.tokenmanager.holding import NONCE_HEADER, challenges

log = structlog.get_logger()


async def problem(request: Request, error: Exception) -> Response:
    """A Problem as JSON; its private detail goes to the log."""
    if not isinstance(error, Problem):
        raise AssertionError("registered for Problem")
    error_id = secrets.token_hex(4)
    log.info(
        "refused",
        error_id=error_id,
        status=error.status,
        code=error.code,
        method=request.method,
        path=request.url.path,
        why=error.message,
        detail=error.detail,
    )
    headers = {"Cache-Control": "no-store"}
    if error.status in (429, 503):
        headers["Retry-After"] = str(error.facts.get("retry_after", 5))
    if "gatehouse.nonce" in request.scope:
        headers[NONCE_HEADER] = request.scope["gatehouse.nonce"]
    response = _shown(request, error, error_id, headers)
    if error.status == 401:
        metadata = getattr(request.app.state, "resource_metadata", "")
        for line in challenges(error.code, request.headers.get("authorization", ""), metadata):
            response.headers.append("WWW-Authenticate", line)
    return response


def _shown(request: Request, error: Problem, error_id: str, headers: dict[str, str]) -> Response:
    """A page for a browser, with the id that finds the rest in the log; JSON for everybody else."""
    pages: Pages | None = getattr(request.app.state, "pages", None)
    if pages is None or "text/html" not in request.headers.get("accept", ""):
        return JSONResponse(error.body(), error.status, headers)
    texts.choose(request.headers.get("accept-language", ""))
    shown = Refused("This did not work", error.message, error.hint, error_id=error_id)
    page: Response = pages.refused(shown, error.status)
    page.headers.update(headers)
    return page


async def invalid(request: Request, error: Exception) -> Response:
    """A body or query that FastAPI could not read, naming the fields and never their values."""
    if not isinstance(error, RequestValidationError):
        raise AssertionError("registered for RequestValidationError")
    wrong = [f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in error.errors()[:10]]
    return await problem(
        request, Problem(422, "invalid_request", "The request cannot be read: " + "; ".join(wrong) + ".")
    )


async def http_error(request: Request, error: Exception) -> Response:
    """What the router itself refuses: unknown paths and methods."""
    if not isinstance(error, HTTPException):
        raise AssertionError("registered for HTTPException")
    if error.status_code == 404:
        found = Problem(
            404, "not_found", f"There is nothing at {request.url.path[:200]}.", hint="The start page is /."
        )
    elif error.status_code == 405:
        found = Problem(405, "method_not_allowed", f"{request.method} is not possible here.")
    else:
        found = Problem(error.status_code, "http_error", str(error.detail))
    response = await problem(request, found)
    for name, value in (error.headers or {}).items():
        response.headers[name] = value
    if error.status_code == 405:
        response.headers["Allow"] = ", ".join(_methods(request))
    return response


def _methods(request: Request) -> list[str]:
    """What is possible at this path (RFC 9110 §10.2.1); the router itself tells of the first route only."""
    routes = [one for one in request.app.routes if isinstance(one, Route)]
    path = next((one.path for one in routes if one.matches(request.scope)[0] is not Match.NONE), "")
    return sorted({method for one in routes if one.path == path for method in one.methods or ()})


async def unexpected(request: Request, error: Exception) -> Response:
    """A defect of ours: the caller gets an id, the log the reason."""
    error_id = secrets.token_hex(4)
    log.error("unexpected", error_id=error_id, method=request.method, path=request.url.path, exc_info=error)
    found = Problem(
        500,
        "server_error",
        "Something went wrong on our side; it is in our log.",
        hint=f"Tell the operator this number: {error_id}",
    )
    return _shown(request, found, error_id, {"Cache-Control": "no-store"})


HANDLERS: dict[Any, Any] = {
    Problem: problem,
    RequestValidationError: invalid,
    HTTPException: http_error,
    Exception: unexpected,
}


class Front:
    """The outermost application: sends `/demo/...` to the demo providers, and asks for https to stay https."""

    def __init__(self, app: ASGIApp, demo: ASGIApp | None, https: bool) -> None:
        self._app = app
        self._demo = demo
        self._https = https

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if self._demo is not None and scope["type"] == "http" and scope["path"].startswith("/demo/"):
            await self._demo(scope, receive, send)
        elif self._https:
            await self._app(scope, receive, _with_hsts(send))
        else:
            await self._app(scope, receive, send)


def _with_hsts(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [
                *message.get("headers", ()),
                (b"strict-transport-security", b"max-age=31536000"),
            ]
        await send(message)

    return sent
