"""What a demo provider is and remembers: its settings, its key, and bounded shelves of short-lived things."""

import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from gatehouse.cli.demo.idp_tweaks import Tweaks
from gatehouse.cli.demo.people import Person, Shape
from gatehouse.registry.clock import Clock

T = TypeVar("T")

CODE_LIFE = 60
TICKET_LIFE = 600
REFRESH_LIFE = 30 * 86400
PLACES = 10_000
PARAMETER_LIMIT = 2048


@dataclass(frozen=True)
class Paths:
    """Where a shape has its endpoints, below the issuer."""

    authorize: str
    token: str
    userinfo: str
    jwks: str
    introspect: str


_KEYCLOAK = "/protocol/openid-connect"
PATHS: dict[Shape, Paths] = {
    "checkin": Paths(
        f"{_KEYCLOAK}/auth",
        f"{_KEYCLOAK}/token",
        f"{_KEYCLOAK}/userinfo",
        f"{_KEYCLOAK}/certs",
        f"{_KEYCLOAK}/token/introspect",
    ),
    "iam": Paths("/authorize", "/token", "/userinfo", "/jwk", "/introspect"),
}
TITLES: dict[Shape, str] = {"checkin": "Demo Check-in", "iam": "Demo IAM"}
SCOPES: dict[Shape, tuple[str, ...]] = {
    "checkin": (
        *("openid", "profile", "email", "offline_access"),
        *("voperson_id", "aarc", "entitlements", "eduperson_entitlement"),
    ),
    "iam": ("openid", "profile", "email", "offline_access", "wlcg", "wlcg.groups"),
}


@dataclass(frozen=True)
class Asked:
    """An authorization request that passed every check."""

    redirect_uri: str
    scopes: tuple[str, ...]
    state: str
    nonce: str
    challenge: str


@dataclass(frozen=True)
class Grant:
    """What a person has granted; tokens are made from it. `id` is also the session's name (`sid`)."""

    id: str
    person: Person
    asked: Asked
    auth_time: int


class Shelf(Generic[T]):
    """Handles to things with an end; when it is full the oldest thing falls off."""

    def __init__(self, clock: Clock, draw: Callable[[], str], places: int = PLACES) -> None:
        self._clock, self._draw, self._places = clock, draw, places
        self._things: OrderedDict[str, tuple[int, T]] = OrderedDict()

    def put(self, thing: T, life: int, handle: str = "") -> str:
        """Keep the thing for `life` seconds; answers its handle."""
        handle = handle or self._draw()
        while len(self._things) >= self._places:
            self._things.popitem(last=False)
        self._things[handle] = (self._clock.now() + life, thing)
        return handle

    def look(self, handle: str) -> T | None:
        """The thing, which stays."""
        end, thing = self._things.get(handle, (0, None))
        return thing if end > self._clock.now() else None

    def take(self, handle: str) -> T | None:
        """The thing, which is then gone."""
        thing = self.look(handle)
        self._things.pop(handle, None)
        return thing

    def drop(self, unwanted: Callable[[T], bool]) -> None:
        """Throw away what is not wanted any more."""
        for handle in [handle for handle, (_, thing) in self._things.items() if unwanted(thing)]:
            del self._things[handle]


def draw() -> str:
    """A handle that nobody guesses: 32 random bytes."""
    return secrets.token_urlsafe(32)


@dataclass
class Provider:
    """One demo provider. `base` is the issuer without the trailing slash that the shape `iam` has."""

    issuer: str
    shape: Shape
    people: Sequence[Person]
    client_id: str
    client_secret: str = field(repr=False)
    redirect_uris: Sequence[str]
    clock: Clock
    key: RSAPrivateKey = field(repr=False)
    kid: str
    allow_login_hint: bool
    tweaks: Tweaks
    draw: Callable[[], str] = draw

    def __post_init__(self) -> None:
        self.base = self.issuer.rstrip("/")
        self.title = TITLES[self.shape]
        self.paths = PATHS[self.shape]
        self.scopes = SCOPES[self.shape]
        self.tickets: Shelf[Asked] = Shelf(self.clock, self.draw)
        self.codes: Shelf[Grant] = Shelf(self.clock, self.draw)
        self.refresh: Shelf[Grant] = Shelf(self.clock, self.draw)
        # codes and rotated refresh tokens that were used: to see them again ends the grant
        self.spent: Shelf[Grant] = Shelf(self.clock, self.draw)
