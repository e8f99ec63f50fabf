"""The device code grant (RFC 8628 §3.4, §3.5)."""

from typing import TYPE_CHECKING, Any

from authlib.oauth2.rfc6749.errors import AccessDeniedError, InvalidGrantError
from authlib.oauth2.rfc8628 import AuthorizationPendingError, DeviceCodeGrant, ExpiredTokenError

from gatehouse.auth import devices
from gatehouse.auth.grants.person import redeem
from gatehouse.auth.server import sayable

_Base: Any = object if TYPE_CHECKING else DeviceCodeGrant
USED = "This device code was used before. Start the login again."


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
            raise InvalidGrantError(USED)
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
        answer = redeem(self.request, self.server.context, self.request.credential.row, USED)
        return 200, answer, self.TOKEN_RESPONSE_HEADER
