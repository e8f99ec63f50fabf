"""Who stands at the gate, as far as the token and the registry say."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["person", "pilot", "job", "service", "compute"]


@dataclass(frozen=True, slots=True)
class Principal:
    """A verified bearer: `subject` is the owner, `actor` who acts for the owner (RFC 8693 `act`).

    `binding` says who alone may use the token: `jkt:` and the thumbprint of a key (RFC 9449 §6.1), `x5t:` and that of a
    certificate (RFC 8705 §3.1), or nothing: whoever bears it. `lineage` are the tokens that it was derived from, and
    `through` the clients that these were issued to.
    """

    kind: Kind
    subject: str
    username: str
    group: str
    vo: str
    properties: frozenset[str]
    client_id: str
    token_id: str
    grant: str
    actor: str
    job: int | None
    claim: str
    scope: str
    audience: tuple[str, ...]
    issued_at: int
    expires_at: int
    acts: tuple[str, ...] = ()
    lineage: tuple[str, ...] = ()
    through: tuple[str, ...] = ()
    binding: str = ""

    @property
    def label(self) -> str:
        """How the record names this bearer."""
        who = self.username or self.subject
        return f"{self.actor} for {who}" if self.actor else who
