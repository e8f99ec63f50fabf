"""What a provider said: the documents of one login or of one bearer token, and single values as evidence."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Flow = Literal["login", "bearer"]
Claims = Mapping[str, object]

NOTHING: Claims = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Evidence:
    """One claim value, and where it stood."""

    document: str
    claim: str
    value: str


@dataclass(frozen=True, slots=True)
class Certificate:
    """A verified client certificate: subject in slash or RFC 4514 form, FQANs of its VOMS extension."""

    subject_dn: object
    voms_fqans: tuple[object, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Documents:
    """What the provider said, each document already authenticated. None: there was no such document."""

    id_token: Claims | None = None
    userinfo: Claims | None = None
    access_token: Claims | None = None
    introspection: Claims | None = None
    x509: Certificate | None = None

    @classmethod
    def of(cls, data: Mapping[str, object]) -> "Documents":
        """From `{"id_token": {...}, ...}`; a document that is not an object counts as an empty one."""
        x509 = _document(data.get("x509"))
        fqans = (x509 or NOTHING).get("voms_fqans")
        return cls(
            id_token=_document(data.get("id_token")),
            userinfo=_document(data.get("userinfo")),
            access_token=_document(data.get("access_token")),
            introspection=_document(data.get("introspection")),
            x509=None
            if x509 is None
            else Certificate(x509.get("subject_dn"), tuple(fqans) if isinstance(fqans, list) else ()),
        )

    def main(self, flow: Flow) -> Claims | None:
        """The document that is the login (ID token) or the bearer token itself."""
        if flow == "login":
            return self.id_token
        return self.introspection if self.access_token is None else self.access_token

    def present(self) -> Iterator[tuple[str, Claims]]:
        """The token documents that are there, in the order in which group claims are looked for (R04)."""
        for name in ("userinfo", "introspection", "id_token", "access_token"):
            claims = getattr(self, name)
            if claims is not None:
                yield name, claims


def _document(value: object) -> Claims | None:
    # A document of the wrong type must fail the checks that follow, not vanish from them.
    return value if value is None or isinstance(value, dict) else NOTHING
