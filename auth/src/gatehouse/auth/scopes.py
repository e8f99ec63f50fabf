"""The scopes of Gatehouse: DIRAC's parametric ones beside those of OpenID Connect.

DIRAC's programs join scopes by a literal plus sign, so both the plus and the space separate.
"""

import re
from dataclasses import dataclass

MAX_SCOPE = 1024
# what each lets the client do, in the words of the consent page
OPENID = {
    "openid": "Know that it is you.",
    "profile": "See your name and user name.",
    "email": "See your e-mail address.",
    "offline_access": "Stay logged in when you log out of this browser.",
}
SUPPORTED = (*OPENID, "g:", "proxy", "lifetime:")

_TOKEN = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")  # RFC 6749 §3.3
_GROUP = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_SECONDS = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a scope string asks for."""

    group: str = ""
    proxy: bool = False
    lifetime: int | None = None
    openid: tuple[str, ...] = ()

    def granted(self, group: str) -> str:
        """The scope of the token once the group is known."""
        return " ".join([*self.openid, f"g:{group}"])


@dataclass(frozen=True, slots=True)
class BadScope:
    """Why a scope string cannot be understood."""

    reason: str


def lifetime_of(text: str) -> tuple[str, int | None]:
    """A scope string without its `lifetime:` word, and what that word asked for, in seconds."""
    words = text[:MAX_SCOPE].replace("+", " ").split()
    asked = [word.removeprefix("lifetime:") for word in words if word.startswith("lifetime:")]
    seconds = min((int(one) for one in asked if _SECONDS.fullmatch(one) and int(one)), default=None)
    return " ".join(word for word in words if not word.startswith("lifetime:")), seconds


def parse(text: str) -> Asked | BadScope:
    """Read a scope string; an empty one asks to choose the group in the browser."""
    if len(text) > MAX_SCOPE:
        return BadScope(f"The scope is longer than {MAX_SCOPE} characters.")
    group, proxy, lifetime = "", False, None
    openid: list[str] = []
    for part in text.replace("+", " ").split():
        kind, colon, value = part.partition(":")
        if not _TOKEN.fullmatch(part):
            return BadScope("The scope has characters that RFC 6749 does not allow.")
        if part in OPENID:
            openid.append(part)
        elif part == "proxy":
            proxy = True
        elif colon and kind == "g":
            if group not in ("", value):
                return BadScope(f"Ask for one group: the scope names {group} and {value}.")
            if not _GROUP.fullmatch(value):
                return BadScope("The group after g: must be a name such as training_user.")
            group = value
        elif colon and kind == "lifetime":
            if not _SECONDS.fullmatch(value) or int(value) == 0:
                return BadScope("The lifetime must be a positive number of seconds, as in lifetime:3600.")
            lifetime = int(value)
        else:
            return BadScope(f"The scope {part[:64]} is unknown. Known are: {', '.join(SUPPORTED)}.")
    return Asked(group, proxy, lifetime, tuple(dict.fromkeys(openid)))
