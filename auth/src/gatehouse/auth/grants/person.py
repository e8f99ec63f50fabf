"""What every grant for a person ends with: tokens for one group, if the person still may act for it."""

from collections.abc import Sequence
from typing import Any

from authlib.oauth2.rfc6749.errors import InvalidGrantError

from gatehouse.auth import pending, sessions
from gatehouse.auth.clients import Client
from gatehouse.auth.pending import Pending
from gatehouse.auth.scopes import Asked, parse
from gatehouse.auth.server import Context, Request, sayable
from gatehouse.auth.targets import InvalidTargetError
from gatehouse.auth.terms import Terms, terms
from gatehouse.registry import audit, directory
from gatehouse.registry.database import Tx
from gatehouse.tokenmanager import refresh
from gatehouse.tokenmanager.certificates import Presented
from gatehouse.tokenmanager.issue import spelled
from gatehouse.tokenmanager.refresh import Turned
from gatehouse.tokenmanager.verify import confirmation, token_type


def entitled(tx: Tx, context: Context, user_id: str, group: str) -> None:
    """Raise invalid_grant when the person is suspended, or the group is gone or no longer theirs."""
    standing = directory.standing(tx, user_id, group)
    if standing.refusal:
        raise InvalidGrantError(sayable(standing.refusal))
    if group not in context.groups.by_name:
        raise InvalidGrantError(f"The group {group} no longer exists. Log in again with another group.")


def redeem(request: Request, context: Context, row: Pending, used: str) -> dict[str, Any]:
    """The token response for an approved request; the conditional UPDATE lets one caller win, others hear `used`."""
    if row.kind == "code" and not sessions.hold(request.tx, row.session):
        raise InvalidGrantError("The person logged out in the browser meanwhile. Log in again.")
    entitled(request.tx, context, row.user_id, row.group_name)
    audience(context, request.client, row.asks.audience, request.targets)  # before anything is used up
    family = refresh.new_id()
    if not pending.redeem(request.tx, row.id, family):
        raise InvalidGrantError(used)
    return begin(request, context, row, family)


def begin(
    request: Request, context: Context, row: Pending, family: str, certificate: Presented | None = None
) -> dict[str, Any]:
    """The token response that begins a family; nothing of it outlives the `certificate` that it came from."""
    client: Client = request.client
    asked = parse(row.scope)
    if not isinstance(asked, Asked):
        raise TypeError("only scopes that parse are stored")
    wanted = row.asks
    given = terms(client, asked, wanted, context.lifetimes)
    if certificate is not None:
        given = given.until(certificate.not_after - context.clock.now())
    turned = refresh.begin(
        request.tx,
        context.seal,
        family,
        refresh.Terms(
            user_id=row.user_id,
            username=row.username,
            client_id=client.client_id,
            group=row.group_name,
            scope=asked.granted(row.group_name),
            audience=" ".join(given.audience),
            access_lifetime=given.access,
            # a client that authenticates is bound by that already (RFC 9449 §5)
            binding=request.binding if client.public else "",
            session=row.session,
            auth_time=row.auth_time,
            kind=_kind(row, given),
        ),
        given.login or given.access,
        request.address,
    )
    audit.record(
        request.tx,
        "login.completed",
        actor=row.username,
        subject=row.user_id,
        client=client.client_id,
        group=row.group_name,
        grant=turned.family.id,
        address=request.address,
        **({"certificate": certificate.subject} if certificate else {}),
    )
    answer = tokens(context, client, turned, request.binding, request.targets, refreshable=bool(given.login))
    if given.capped:
        answer["lifetime_notice"] = given.capped
    if "openid" in given.openid:
        answer["id_token"] = _id_token(request.tx, context, client, turned, given, wanted.nonce, answer)
    return answer


def tokens(
    context: Context,
    client: Client,
    turned: Turned,
    binding: str,
    targets: Sequence[str],
    *,
    refreshable: bool = True,
) -> dict[str, Any]:
    """The token response (RFC 6749 §5.1) for a family: access token, and the refresh token that follows.

    `binding` is what the caller proved to hold: the access token is for its holder only. `targets` are those that the
    request names, see `audience`.
    """
    family = turned.family
    left = family.expires_at - context.clock.now()
    claims: dict[str, object] = {
        "kind": "person",
        "preferred_username": family.username,
        "group": family.group,
        "grant": family.id,
    }
    if family.auth_time:
        claims["auth_time"] = family.auth_time
    claims |= confirmation(binding)
    minted = context.mint.access_token(
        client.alg,
        min(family.access_lifetime, left),
        subject=family.user_id,
        client_id=client.client_id,
        scope=family.scope,
        audience=audience(context, client, family.audience.split(), targets),
        claims=claims,
    )
    answer: dict[str, Any] = {
        "access_token": minted.token,
        "token_type": token_type(binding),
        "expires_in": minted.lifetime,
        "scope": family.scope,
    }
    if refreshable:
        answer["refresh_token"] = turned.token
    return answer


def audience(
    context: Context, client: Client, granted: Sequence[str], targets: Sequence[str]
) -> str | list[str]:
    """Whom a token is for: those that the request names, unsaid those that the login named, if none our own API.

    Raises invalid_target when it names more (RFC 8707 §2.2, RFC 9068 §3). A resource that is named alone gets a token
    that opens nothing else, here neither: it could act as the person otherwise.
    """
    own = context.mint.audience
    # what the client was registered for then, and still is
    known = [own, *(one for one in granted if one != own and one in client.audiences)]
    if not set(known).issuperset(targets):
        raise InvalidTargetError(
            "This login was not granted for that resource. Name it when the login begins."
        )
    named = targets or granted
    kept = [one for one in known if one in named] or [own]
    return spelled(kept)


def _kind(row: Pending, given: Terms) -> str:
    """What ends a grant, as the row of its family has it."""
    return "offline" if row.kind == "code" and "offline_access" in given.openid else row.kind


def _id_token(
    tx: Tx,
    context: Context,
    client: Client,
    turned: Turned,
    given: Terms,
    nonce: str,
    answer: dict[str, Any],
) -> str:
    """The ID token (OpenID Connect Core §2): who logged in, when, for whom."""
    family = turned.family
    said: dict[str, object] = {"preferred_username": family.username, "group": family.group}
    said |= {"auth_time": family.auth_time} if family.auth_time else {}
    said |= {"nonce": nonce} if nonce else {}
    said |= {"sid": family.session} if family.session else {}
    said |= directory.profile(tx, family.user_id, given.openid)
    return context.mint.id_token(
        client.alg,
        context.lifetimes.id_token,
        subject=family.user_id,
        client_id=client.client_id,
        access_token=answer["access_token"],
        claims=said,
    )
