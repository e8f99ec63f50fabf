"""Compute elements: what the factory asks of whatever runs pilots (local processes; later ARC, HTCondor, Slurm)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pydantic import SecretStr

from gatehouse.wms.states import PilotStatus


@dataclass(frozen=True, slots=True)
class PilotSpec:
    """A pilot to be started; times in seconds. The secret's type does not print."""

    pilot_id: str
    vo: str
    secret: SecretStr
    url: str
    site: str
    ce: str
    tags: tuple[str, ...]
    cpu_time: int
    heartbeat: int


class ElementError(Exception):
    """The element did not do it; the message is for the operator and holds no secret."""


class ComputeElement(Protocol):
    """One element. A compute token is for this element and this call only."""

    @property
    def audience(self) -> str:
        """What the `aud` of a compute token must be."""
        ...

    async def submit(self, spec: PilotSpec, compute_token: str) -> str:
        """Start a pilot; returns the element's reference (at most 255 characters). Raises ElementError."""
        ...

    async def statuses(self, references: Sequence[str], compute_token: str) -> Mapping[str, PilotStatus]:
        """What became of pilots; one that the element never heard of is Deleted. Raises ElementError."""
        ...

    async def kill(self, references: Sequence[str], compute_token: str) -> None:
        """Stop pilots; those that are gone are no error. Raises ElementError."""
        ...
