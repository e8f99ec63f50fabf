"""What grants begin with for which authlib has no class of its own (RFC 6749 §4.5)."""

from typing import TYPE_CHECKING, Any

from authlib.oauth2.rfc6749 import BaseGrant, TokenEndpointMixin

ExtensionGrant: Any = object
if not TYPE_CHECKING:  # authlib has no type information

    class ExtensionGrant(BaseGrant, TokenEndpointMixin):
        """A grant of the token endpoint; the client was authenticated before it is asked."""
