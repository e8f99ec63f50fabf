"""Tokens for a person who shows a certificate or proxy in the TLS handshake (extension grant, RFC 6749 §4.5)."""

from authlib.oauth2.rfc6749.errors import InvalidGrantError, InvalidScopeError

from gatehouse.auth import codes
from gatehouse.auth.certificates import Known, one_group, recognise, why_not
from gatehouse.auth.clients import CERTIFICATE
from gatehouse.auth.grants.extension import ExtensionGrant
from gatehouse.auth.grants.person import begin, entitled
from gatehouse.auth.pending import immediate
from gatehouse.auth.scopes import Asked, parse
from gatehouse.auth.server import sayable
from gatehouse.tokenmanager import refresh


class CertificateGrant(ExtensionGrant):  # type: ignore[misc]
    """The holder of the key is the person; no browser is needed."""

    GRANT_TYPE = CERTIFICATE

    def validate_token_request(self) -> None:
        """A certificate of somebody known. Raises invalid_grant, with the reason."""
        known = recognise(self.request.tx, self.request.shown)
        if isinstance(known, str):
            raise InvalidGrantError(sayable(known))
        self.known: Known = known

    def create_token_response(self) -> tuple[int, dict[str, object], list[tuple[str, str]]]:
        """Tokens for one group, as every other login gives them."""
        request, context, known = self.request, self.server.context, self.known
        scope = request.form.get("scope", "")
        asked = parse(scope)
        if not isinstance(asked, Asked):
            raise InvalidScopeError(sayable(asked.reason))
        if asked.proxy:
            raise InvalidScopeError(codes.NO_PROXY)
        group = one_group(known, asked.group)
        if group not in {one.group for one in known.groups}:
            raise InvalidScopeError(sayable(why_not(known, group or "")))
        entitled(request.tx, context, known.person.id, group)
        row = immediate(
            client_id=request.client.client_id,
            scope=scope,
            audience=request.targets,
            user_id=known.person.id,
            username=known.person.username,
            group=group,
            auth_time=context.clock.now(),
        )
        answer = begin(request, context, row, refresh.new_id(), known.shown)
        return 200, answer, self.TOKEN_RESPONSE_HEADER
