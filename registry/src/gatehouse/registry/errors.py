"""The one internal error, shaped for the wire (JSON, OAuth, page) only at the edge."""

from collections.abc import Mapping
from types import MappingProxyType

_NO_FACTS: Mapping[str, object] = MappingProxyType({})


class Problem(Exception):
    """Something that ends a request: what, why, and what to do next.

    `message` and `hint` are shown to the caller, `facts` are machine-readable and shown too;
    `detail` goes to the log alone. None of them may carry a secret.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        hint: str = "",
        detail: str = "",
        facts: Mapping[str, object] = _NO_FACTS,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.hint = hint
        self.detail = detail
        self.facts = facts

    def body(self) -> dict[str, object]:
        """The JSON object that clients see (RFC 6749 §5.2 names, extended by hint and facts)."""
        shown: dict[str, object] = {"error": self.code, "error_description": self.message}
        if self.hint:
            shown["hint"] = self.hint
        return {**shown, **self.facts}


class ConfigurationError(Exception):
    """The operator's settings cannot be used; the message says which, why, and what to change."""
