"""The device code grant (RFC 8628 §3.4, §3.5)."""

from typing import TYPE_CHECKING, Any

from authlib.oauth2.rfc6749.errors import AccessDeniedError, InvalidGrantError
from authlib.oauth2.rfc8628 import AuthorizationPendingError, DeviceCodeGrant, ExpiredTokenError

from gatehouse.auth import devices
from gatehouse.auth.grants.person import entitled, tokens
from gatehouse.auth.scopes import Asked, parse
from gatehouse.auth.server import sayable
from gatehouse.registry import audit
from gatehouse.tokenmanager import refresh

_Base: Any = object if TYPE_CHECKING else DeviceCodeGrant


class DeviceGrant(_Base):  # type: ignore[misc]
    """Polling with a device code: pending until decided in the browser, then tokens exactly once."""

    def query_device_credential(self, device_code: str) -> "devices.Credential":
        """The device request of a code. Raises invalid_grant for an unknown one (RFC 6749 §5.2)."""
        row = devices.by_device_code(self.request.tx, self.server.context.seal, device_code)
        if row is None or row.client_id != self.request.client.client_id:
            raise InvalidGrantError(
                "The device code is not one of this client's here. Start the login again."
            )
        return devices.Credential(row, self.server.context.clock.now())

    def validate_device_credential(self, credential: "devices.Credential") -> str:
        """The user's id, once approved; otherwise raises what RFC 8628 §3.5 has for it."""
        row = credential.row
        if row.status == "redeemed":
            raise InvalidGrantError("This device code was used before. Start the login again.")
        if row.status == "denied":
            raise AccessDeniedError(sayable(row.reason) or "The login was refused in the browser.")
        if credential.is_expired():
            raise ExpiredTokenError("The code has expired. Start the login again.")
        if row.status == "approved":
            return row.user_id
        # never slow_down: DIRAC's client takes it for the end of the login
        raise AuthorizationPendingError("Nobody has finished this login in the browser yet.")

    def create_token_response(self) -> tuple[int, dict[str, object], list[tuple[str, str]]]:
        """Redeem the code; the conditional UPDATE lets one caller win."""
        request, context = self.request, self.server.context
        row = request.credential.row
        entitled(request.tx, context, row.user_id, row.group_name)
        if not devices.redeem(request.tx, row.id):
            raise InvalidGrantError("This device code was used before. Start the login again.")
        asked = parse(row.scope)
        scope = (asked if isinstance(asked, Asked) else Asked()).granted(row.group_name)
        turned = refresh.begin(
            request.tx,
            context.seal,
            user_id=row.user_id,
            username=row.username,
            client_id=request.client.client_id,
            group=row.group_name,
            scope=scope,
            lifetime=context.lifetimes.refresh_token,
        )
        audit.record(
            request.tx,
            "login.completed",
            actor=row.username,
            subject=row.user_id,
            client=request.client.client_id,
            group=row.group_name,
            grant=turned.family.id,
            address=request.address,
        )
        return 200, tokens(context, request.client, turned), self.TOKEN_RESPONSE_HEADER
