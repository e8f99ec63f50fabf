"""What every grant for a person ends with: tokens for one group, if the person still may act for it."""

from authlib.oauth2.rfc6749.errors import InvalidGrantError

from gatehouse.auth.clients import Client
from gatehouse.auth.server import Context, sayable
from gatehouse.registry import directory
from gatehouse.registry.database import Tx
from gatehouse.tokenmanager.refresh import Turned


def entitled(tx: Tx, context: Context, user_id: str, group: str) -> None:
    """Raise invalid_grant when the person is suspended, or the group is gone or no longer theirs."""
    standing = directory.standing(tx, user_id, group)
    if standing.refusal:
        raise InvalidGrantError(sayable(standing.refusal))
    if group not in context.groups.by_name:
        raise InvalidGrantError(f"The group {group} no longer exists. Log in again with another group.")


def tokens(context: Context, client: Client, turned: Turned) -> dict[str, object]:
    """The token response (RFC 6749 §5.1) for a family: access token, and the refresh token that follows."""
    family = turned.family
    left = family.expires_at - context.clock.now()
    minted = context.mint.access_token(
        client.alg,
        min(context.lifetimes.access_token, left),
        subject=family.user_id,
        client_id=client.client_id,
        scope=family.scope,
        claims={
            "kind": "person",
            "preferred_username": family.username,
            "group": family.group,
            "grant": family.id,
        },
    )
    return {
        "access_token": minted.token,
        "token_type": "Bearer",
        "expires_in": minted.lifetime,
        "refresh_token": turned.token,
        "scope": family.scope,
    }
