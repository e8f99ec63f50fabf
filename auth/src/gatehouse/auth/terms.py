"""What a login gives to a client: computed once, shown on the consent page, and enforced when tokens are made."""

from dataclasses import dataclass, replace

from gatehouse.auth.clients import Client
from gatehouse.auth.pending import Wanted
from gatehouse.auth.scopes import OPENID, Asked
from gatehouse.registry.properties import PROPERTIES
from gatehouse.registry.settings import Lifetimes
from gatehouse.tokenmanager.groups import GroupFacts


@dataclass(frozen=True, slots=True)
class Terms:
    """Lifetimes in seconds; `login` is how long the client may refresh, 0 if it may not at all."""

    openid: tuple[str, ...]
    access: int
    asked: int | None
    login: int
    audience: tuple[str, ...]

    @property
    def capped(self) -> str:
        """A sentence for the client when it gets less time than it asked for."""
        if self.asked is None or self.asked <= self.access:
            return ""
        return f"You asked for {self.asked} s; an access token lives {self.access} s at most."

    def until(self, seconds: int) -> "Terms":
        """The same, but nothing lives longer than this."""
        return replace(self, access=min(self.access, seconds), login=min(self.login, seconds))

    @property
    def shortened(self) -> str:
        """The same for the person who is asked."""
        if not self.capped or self.asked is None:
            return ""
        return (
            f"It asked for access tokens of {spoken(self.asked)}; each lives {spoken(self.access)} at most."
        )

    def sentences(self, group: GroupFacts | None) -> list[str]:
        """The rights in plain words, for the person who is asked."""
        said = [OPENID[name] for name in self.openid]
        if group:
            said.append(f"Act as a member of the group {group.name} of {group.vo}.")
            said += [PROPERTIES[name].sentence for name in sorted(group.properties) if name in PROPERTIES]
        else:
            said.append("Act as a member of one of your groups, which you choose here.")
        said += [f"Use what it may at {where}." for where in self.audience]
        if self.login:
            said.append(f"Do so for {spoken(self.login)}, unless you or it log out before.")
        else:
            said.append(f"Do so for {spoken(self.access)}.")
        return said


def can_refresh(client: Client) -> bool:
    """Whether a client can be given a refresh token."""
    return "refresh_token" in client.grant_types


def terms(client: Client, asked: Asked, wanted: Wanted, lifetimes: Lifetimes) -> Terms:
    """What a client gets for what it asked: no more than at that time, if it was registered anew meanwhile."""
    access = lifetimes.access_token if asked.lifetime is None else asked.lifetime
    return Terms(
        openid=asked.openid,
        access=min(access, lifetimes.access_token_max),
        asked=asked.lifetime,
        login=lifetimes.refresh_token if wanted.lasting and can_refresh(client) else 0,
        audience=wanted.audience,
    )


def administrative(group: GroupFacts | None) -> bool:
    """Whether a group holds a right over others, so that a device code is too weak a way to get it."""
    return group is not None and any(
        name in PROPERTIES and PROPERTIES[name].administrative for name in group.properties
    )


def spoken(seconds: int) -> str:
    """A time span in words: `30 days`, `2 hours`."""
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            count = round(seconds / length)
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return f"{seconds} seconds"
