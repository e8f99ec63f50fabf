"""The compute elements of the settings, made."""

from pathlib import Path

from gatehouse.registry.clock import Clock
from gatehouse.registry.settings import Settings
from gatehouse.tokenmanager.keys import KeyRing
from gatehouse.wms.elements import ComputeElement
from gatehouse.wms.elements.credential import checker
from gatehouse.wms.elements.local import LocalElement, audience


def make(
    settings: Settings, ring: KeyRing, clock: Clock, *, ca: Path | None = None
) -> dict[str, ComputeElement]:
    """Elements by name; `ca` is the certificate authority that pilots need for our own URL, if any."""
    made: dict[str, ComputeElement] = {}
    for element in settings.elements:
        check = checker(ring, settings.server.base_url, element.vos, audience(element.name), clock)
        made[element.name] = LocalElement(element, check, clock, ca=ca)
    return made
