"""What the pages of a logged-in person show: their sessions and tokens, and the ways to end them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

_PROGRAMS = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("Chrom", "Chrome"),
    ("Safari/", "Safari"),
)
_SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "an iPhone"),
    ("iPad", "an iPad"),
    ("Windows", "Windows"),
    ("Mac OS X", "a Mac"),
    ("Linux", "Linux"),
)


@dataclass(frozen=True)
class GroupShown:
    """A group of the person, and why it is theirs."""

    name: str
    vo: str
    reason: str


@dataclass(frozen=True)
class GrantShown:
    """What a program holds; instants are epoch seconds. `here`: it came from this browser's session."""

    id: str
    client: str
    group: str
    address: str
    created_at: int
    used_at: int
    expires_at: int
    kind: str
    here: bool


@dataclass(frozen=True)
class SessionShown:
    """A browser in which the person is logged in; `here`: this one."""

    sid: str
    browser: str
    address: str
    provider: str
    since: int
    expires_at: int
    here: bool


Done = Literal["", "grant", "session"]


@dataclass(frozen=True)
class Account:
    """My sessions and tokens; `done` is what the person has just ended. Actions are relative to the page."""

    username: str
    name: str
    email: str
    provider: str
    since: int
    groups: Sequence[GroupShown]
    grants: Sequence[GrantShown]
    sessions: Sequence[SessionShown]
    csrf: str
    done: Done = ""


@dataclass(frozen=True)
class Everything:
    """Are you sure that all logins should end?"""

    username: str
    grants: int
    sessions: int
    csrf: str


@dataclass(frozen=True)
class LogoutAsked:
    """Do you want to log out? `client` is who asks; `fields` go back with the answer, `leads_to` as in Confirm."""

    username: str
    client: str
    csrf: str
    fields: Sequence[tuple[str, str]] = ()
    leads_to: Sequence[str] = ()


@dataclass(frozen=True)
class LoggedOut:
    """Nobody is logged in here. `back` is an address that the client has registered, checked before."""

    back: str = ""
    back_to: str = ""


def browser(agent: str) -> str:
    """A browser in plain words, by what it calls itself: `Firefox on Linux`; what is unknown as it is."""
    program = next((name for mark, name in _PROGRAMS if mark in agent), "")
    system = next((name for mark, name in _SYSTEMS if mark in agent), "")
    if program and system:
        return f"{program} on {system}"
    return program or re.sub(r"[\s(].*", "", agent)[:40] or "A browser that did not say its name"
