"""The guard of every route: one declaration says who may call it and how often; without it, no start.

    @allow(members("NormalUser"), "work")
    async def submit(request: Request) -> Response: ...

Routes are made by `route` (hot paths, plain Starlette) or by a FastAPI router with `route_class=GatedAPIRoute`;
both check the same declaration before anything of the body is read. The verified bearer is `principal_of(request)`.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

from fastapi.routing import APIRoute
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import Message, Receive, Scope, Send

from gatehouse.registry.errors import ConfigurationError, Problem
from gatehouse.tokenmanager.groups import Groups
from gatehouse.tokenmanager.holding import NONCE_HEADER, Holders, presented
from gatehouse.tokenmanager.limits import LIMITS, Limit, Limits, neighbourhood
from gatehouse.tokenmanager.principal import Kind, Principal
from gatehouse.tokenmanager.verify import Refused, Verifier

KIB = 1024
_MARK = "__gatehouse_rule__"
_Endpoint = TypeVar("_Endpoint", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may call a route: which kinds of bearer, with at least one of which properties; none means public.

    `limit` is the class that says how often (see `limits`).
    """

    why: str
    kinds: frozenset[Kind] = frozenset()
    any_of: tuple[str, ...] = ()
    max_body: int = 64 * KIB
    limit: str = ""

    @property
    def public(self) -> bool:
        """Whether no token is asked for."""
        return not self.kinds

    def body(self, limit: int) -> "Rule":
        """The same rule with another limit for the request body, in bytes."""
        return replace(self, max_body=limit)


def public(why: str) -> Rule:
    """Anybody may call; `why` is the reason that makes this safe."""
    return Rule(why)


def members(*any_of: str, why: str = "") -> Rule:
    """People whose group holds at least one of the properties (none named: any group)."""
    return Rule(why, frozenset({"person"}), any_of)


def pilots(why: str = "") -> Rule:
    """Pilots, with their own token."""
    return Rule(why, frozenset({"pilot"}))


def jobs(why: str = "") -> Rule:
    """The run of a job, with the credential of that job only."""
    return Rule(why, frozenset({"job"}))


def services(why: str = "") -> Rule:
    """Services and hosts, with a token of their own (client credentials)."""
    return Rule(why, frozenset({"service"}))


def either(*rules: Rule, why: str = "") -> Rule:
    """Bearers of any of these kinds; properties are asked of people only."""
    kinds = frozenset(kind for rule in rules for kind in rule.kinds)
    any_of = tuple(name for rule in rules for name in rule.any_of)
    return Rule(why, kinds, any_of, max(rule.max_body for rule in rules))


def allow(rule: Rule, limit: Limit) -> Callable[[_Endpoint], _Endpoint]:
    """Declare who may call an endpoint, and how often."""

    def mark(endpoint: _Endpoint) -> _Endpoint:
        setattr(endpoint, _MARK, replace(rule, limit=limit))
        return endpoint

    return mark


def rule_of(endpoint: object) -> Rule | None:
    """The declaration of an endpoint, if it has one."""
    return cast(Rule | None, getattr(endpoint, _MARK, None))


class Gate:
    """Decides each call from the bearer's token and what they called before, offline."""

    def __init__(self, verifier: Verifier, groups: Groups, limits: Limits, holders: Holders) -> None:
        self._verifier = verifier
        self._groups = groups
        self._limits = limits
        self._holders = holders

    def count(self, scope: Scope, rule: Rule) -> None:
        """Count a call of anybody for where it comes from. Raises Problem 429."""
        client = scope.get("client")
        self._limits.take(rule.limit, neighbourhood(client[0]) if client else "")

    def admit(self, scope: Scope, rule: Rule) -> Principal:
        """Who calls, if the rule lets them through. Raises Problem 400, 401, 403 or 429.

        With `gatehouse.proof` in the scope afterwards, nothing may be done before `claim`.
        """
        given = presented(scope)
        verdict = self._verifier.verify(given.token)
        if isinstance(verdict, Refused):
            raise _unauthenticated(verdict.reason, verdict.detail)
        if verdict.binding or given.scheme != "bearer":
            self._holders.check(
                verdict, given, scope
            )  # first: a thief must not use up the limits of the owner
        # each run of a job counts for itself: its owner may have thousands
        self._limits.take(rule.limit, verdict.claim or verdict.subject)
        if verdict.kind not in rule.kinds:
            raise self._wrong_kind(verdict, rule)
        if rule.any_of and verdict.kind == "person" and verdict.properties.isdisjoint(rule.any_of):
            raise self._missing(verdict, rule)
        return verdict

    async def claim(self, scope: Scope) -> None:
        """Use up the proof that `admit` found. Raises Problem 401."""
        await self._holders.claim(scope)

    def _missing(self, principal: Principal, rule: Rule) -> Problem:
        needed = " or ".join(rule.any_of)
        having = self._groups.with_any(rule.any_of)
        near = [name for name in having if self._groups.by_name[name].vo == principal.vo]
        if near:
            hint = f"Log in with a group that has it: dirac-login {near[0]}"
        else:
            hint = f"Ask the manager of {principal.vo or 'your community'} for such a group."
        return Problem(
            403,
            "insufficient_rights",
            f"This needs the property {needed}, which the group {principal.group or '(none)'} does not have.",
            hint=hint,
            facts={"missing": list(rule.any_of), "group": principal.group, "groups_with_it": near or having},
        )

    def _wrong_kind(self, principal: Principal, rule: Rule) -> Problem:
        wanted = " or ".join(sorted(rule.kinds))
        return Problem(
            403,
            "insufficient_rights",
            f"This is for a {wanted} token, and yours is the token of a {principal.kind}.",
            hint="People use the token that dirac-login saved; pilots and jobs use their own.",
            facts={"missing": [f"token of kind {wanted}"], "groups_with_it": []},
        )


def _unauthenticated(reason: str, detail: str) -> Problem:
    return Problem(401, "invalid_token", reason, hint="Log in again: dirac-login <group>", detail=detail)


def principal_of(request: Request) -> Principal:
    """The verified bearer of a gated request."""
    return cast(Principal, request.scope["gatehouse.principal"])


class GatedRoute(Route):
    """A plain Starlette route behind the gate: for hot paths and pages."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check the declaration, then go on."""
        receive = _pass(self.endpoint, scope, receive)
        if "gatehouse.proof" in scope:
            send = await _claimed(scope, send)
        await super().handle(scope, receive, send)

    async def answer(self, scope: Scope, receive: Receive) -> Response:
        """The same without the framework around it: errors are the caller's to shape."""
        receive = _pass(self.endpoint, scope, receive)
        if "gatehouse.proof" in scope:
            await scope["app"].state.gate.claim(scope)
        response: Response = await self.endpoint(Request(scope, receive))
        if "gatehouse.nonce" in scope:
            response.headers[NONCE_HEADER] = scope["gatehouse.nonce"]
        return response


class GatedAPIRoute(APIRoute):
    """A FastAPI route behind the gate."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check the declaration, then go on."""
        receive = _pass(self.endpoint, scope, receive)
        if "gatehouse.proof" in scope:
            send = await _claimed(scope, send)
        await super().handle(scope, receive, send)


def route(
    path: str, endpoint: Callable[[Request], Awaitable[Response]], *, methods: Sequence[str] = ("GET",)
) -> GatedRoute:
    """A gated plain route."""
    return GatedRoute(path, endpoint, methods=list(methods), include_in_schema=False)


def _pass(endpoint: object, scope: Scope, receive: Receive) -> Receive:
    rule = rule_of(endpoint)
    if rule is None:
        raise ConfigurationError(f"the route {scope.get('path')} declares no rule")
    headers = Headers(scope=scope)
    gate: Gate = scope["app"].state.gate
    if rule.public:
        gate.count(scope, rule)
    else:
        scope["gatehouse.principal"] = gate.admit(scope, rule)
    length = headers.get("content-length")
    if length is not None and (not length.isdecimal() or len(length) > 18 or int(length) > rule.max_body):
        raise _too_large(rule.max_body)
    return _bounded(receive, rule.max_body)


async def _claimed(scope: Scope, send: Send) -> Send:
    """Use up the proof of a request; the answer then brings the next nonce, when it is time for one."""
    await scope["app"].state.gate.claim(scope)

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start" and "gatehouse.nonce" in scope:
            MutableHeaders(scope=message)[NONCE_HEADER] = scope["gatehouse.nonce"]
        await send(message)

    return sent


def _bounded(receive: Receive, limit: int) -> Receive:
    """Count what comes in: a body without a length is bounded too."""
    taken = 0

    async def counted() -> Message:
        nonlocal taken
        message = await receive()
        if message["type"] == "http.request":
            taken += len(message.get("body", b""))
            if taken > limit:
                raise _too_large(limit)
        return message

    return counted


def _too_large(limit: int) -> Problem:
    return Problem(
        413,
        "too_large",
        f"The request body may have {limit:,} bytes at most.",
        hint="Send less at once, or put large files on a storage element.",
        facts={"limit": limit},
    )


def check(routes: Iterable[BaseRoute]) -> None:
    """Refuse to start when a route would not be guarded or counted. Raises ConfigurationError."""
    for found in routes:
        if isinstance(found, Mount):
            if not found.routes:
                raise ConfigurationError(f"{found!r} holds no routes, so nothing in it is behind the gate.")
            check(found.routes)
            continue
        if not isinstance(found, GatedRoute | GatedAPIRoute):
            raise ConfigurationError(
                f"{found!r} is not behind the gate: make it with gate.route or GatedAPIRoute."
            )
        rule, name = rule_of(found.endpoint), f"{sorted(found.methods or ())} {found.path}"
        if rule is None:
            raise ConfigurationError(f"{name} declares no rule: add @allow(...) to {found.endpoint!r}.")
        if rule.limit not in LIMITS:
            raise ConfigurationError(
                f"{name} is in no class of limits ({rule.limit!r}): the classes are {', '.join(sorted(LIMITS))}."
            )
