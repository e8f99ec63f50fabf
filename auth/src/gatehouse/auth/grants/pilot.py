"""A pilot redeems its one-time secret for its own token (extension grant, RFC 6749 §4.5)."""

from authlib.oauth2.rfc6749.errors import InvalidGrantError, InvalidRequestError

from gatehouse.auth.clients import PILOT_SECRET
from gatehouse.auth.grants.extension import ExtensionGrant
from gatehouse.registry import audit
from gatehouse.tokenmanager import pilot_secrets
from gatehouse.tokenmanager.verify import confirmation, token_type


class PilotGrant(ExtensionGrant):  # type: ignore[misc]
    """One secret, one pilot token."""

    GRANT_TYPE = PILOT_SECRET

    def validate_token_request(self) -> None:
        """The presence of the secret."""
        if not self.request.form.get("pilot_secret"):
            raise InvalidRequestError("Missing 'pilot_secret' in request.")

    def create_token_response(self) -> tuple[int, dict[str, object], list[tuple[str, str]]]:
        """Redeem; the conditional UPDATE lets one caller win."""
        request, context = self.request, self.server.context
        redeemed = pilot_secrets.redeem(request.tx, context.seal, request.form["pilot_secret"])
        if isinstance(redeemed, str):
            raise InvalidGrantError(redeemed)
        subject = f"pilot:{redeemed.pilot_id}"
        minted = context.mint.access_token(
            request.client.alg,
            context.lifetimes.pilot_token,
            subject=subject,
            client_id=request.client.client_id,
            scope="pilot",
            claims={"kind": "pilot", "group": redeemed.group, **confirmation(request.binding)},
        )
        audit.record(
            request.tx,
            "pilot.redeemed",
            actor=subject,
            subject=subject,
            token=minted.token_id,
            address=request.address,
        )
        answer = {
            "access_token": minted.token,
            "token_type": token_type(request.binding),
            "expires_in": minted.lifetime,
            "scope": "pilot",
        }
        return 200, answer, self.TOKEN_RESPONSE_HEADER
