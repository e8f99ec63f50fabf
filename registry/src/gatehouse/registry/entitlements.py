"""Grammars of upstream memberships: AARC entitlements (AARC-G069, G027) and WLCG group strings.

Every parser takes any text and answers with a value: what the text says, or `Refused` with a reason code.
Nothing here raises, and nothing here knows which local group a membership opens.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

MAX_BYTES = 1024  # of one value; the longest that real providers send is below 300
MAX_VALUES = 2000  # of one document; what comes after is not read

_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_WLCG_GROUP = re.compile(r"(?:/[A-Za-z0-9][A-Za-z0-9_.-]*)+")
_MEMBER = "member"


@dataclass(frozen=True, slots=True)
class Membership:
    """Being in a group (`path`, from the VO downwards), perhaps with a role; `member` is no role."""

    path: tuple[str, ...]
    role: str | None = None

    def json(self) -> dict[str, object]:
        """`{"path": [...], "role": name or null}`."""
        return {"path": list(self.path), "role": self.role}


@dataclass(frozen=True, slots=True)
class Capability:
    """A right stated by itself: a WLCG scope (`storage.*` has a path) or an AARC resource (has actions)."""

    name: str
    path: str | None = None
    actions: tuple[str, ...] | None = None

    @property
    def from_scope(self) -> bool:
        """True for WLCG capability scopes; resource entitlements do not decide how a token authorises."""
        return self.actions is None

    def json(self) -> dict[str, object]:
        """`{"name", "path"?, "actions"?}`."""
        shown: dict[str, object] = {"name": self.name}
        if self.path is not None:
            shown["path"] = self.path
        if self.actions is not None:
            shown["actions"] = list(self.actions)
        return shown


@dataclass(frozen=True, slots=True)
class Refused:
    """A value that says nothing to us, and the code why (sentences: `reasons.sentence`)."""

    value: str
    reason: str

    def json(self) -> dict[str, object]:
        """`{"value", "reason"}`."""
        return {"value": self.value, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class Profile:
    """What one issuer may assert: its URN namespaces, and the authorities it may name (None: any)."""

    namespaces: tuple[str, ...]
    authorities: tuple[str, ...] | None = ()
    authority_optional: bool = False


def membership(path: Iterable[str], role: str | None = None) -> Membership:
    """A membership in its one spelling: the role `member` is the same as none."""
    return Membership(tuple(path), None if role == _MEMBER else role)


def parse_entitlement(value: str, profile: Profile) -> Membership | Capability | Refused:
    """Read `<namespace>:group:...` or `<namespace>:res:...`, with or without `#authority`.

    Split first, decode after: a percent-encoded colon or `role=` stays part of a name.
    """
    if len(value) > MAX_BYTES:
        return Refused(value[:MAX_BYTES], "too_long")
    if not value.isascii():
        return Refused(value, "not_ascii")
    body, mark, authority = value.partition("#")
    if "#" in authority:
        return Refused(value, "multiple_authority")
    kind, rest = _after_namespace(body, profile.namespaces)
    if kind not in ("group", "res"):
        return Refused(value, kind)
    reason = _authority_reason(authority if mark else None, profile)
    if reason:
        return Refused(value, reason)
    found = _group(rest.split(":")) if kind == "group" else _resource(rest.split(":"))
    return Refused(value, found) if isinstance(found, str) else found


def _after_namespace(body: str, namespaces: tuple[str, ...]) -> tuple[str, str]:
    # By comparison with the issuer's list, never by searching ":group:", which may be a VO's name.
    reason = "namespace_not_allowed"
    for namespace in filter(None, namespaces):
        head, rest = body[: len(namespace)], body[len(namespace) :]
        if head.lower() != namespace.lower() or not (rest == "" or rest.startswith(":")):
            continue
        for kind in ("group", "res"):
            if rest.startswith(f":{kind}:"):
                return kind, rest[len(kind) + 2 :]
        reason = "unsupported_type"
    return reason, ""


def _authority_reason(authority: str | None, profile: Profile) -> str:
    if authority is None:
        return "" if profile.authority_optional else "authority_missing"
    if profile.authorities is not None and authority not in profile.authorities:
        return "authority_not_allowed"
    return ""


def _group(components: list[str]) -> Membership | str:
    roles = [component for component in components if component.startswith("role=")]
    reason = _shape_reason(components, roles)
    names = reason or decode_all([component.removeprefix("role=") for component in components])
    if isinstance(names, str):
        return names
    return membership(names[:-1], names[-1]) if roles else membership(names)


def _shape_reason(components: list[str], roles: list[str]) -> str:
    if "" in components or components == roles[:1]:  # a role of no group is a group without a name
        return "empty_component"
    if len(roles) > 1:
        return "multiple_roles"
    if roles and components[-1] != roles[0]:
        return "role_not_last"
    return "empty_role" if roles == ["role="] else ""


def _resource(components: list[str]) -> Capability | str:
    if "" in components:
        return "empty_component"
    # The first component is always a name; an `act` after it opens the actions, which end the value.
    at = components.index("act", 1) if "act" in components[1:-1] else len(components)
    if len(components) > at + 2:
        return "resource_syntax"
    actions = components[at + 1].split(",") if at < len(components) else []
    if "" in actions:
        return "empty_component"
    words = decode_all(components[:at] + actions)
    if isinstance(words, str):
        return words
    # A decoded colon is written back as %3A: two different resources must not get one name.
    names = (word.replace("%", "%25").replace(":", "%3A") for word in words[:at])
    return Capability(":".join(("res", *names)), actions=tuple(words[at:]))


def decode(component: str) -> str | None:
    """Percent-decode once as UTF-8; None when malformed. `+` is a plus."""
    if _BAD_PERCENT.search(component):
        return None
    try:
        return unquote_to_bytes(component).decode("utf-8")
    except UnicodeError:
        return None


def decode_all(components: list[str]) -> list[str] | str:
    """Decode each component; a reason code when one is malformed or holds a control character."""
    decoded = [text for text in map(decode, components) if text is not None]
    if len(decoded) != len(components):
        return "bad_percent_encoding"
    return "control_character" if any(map(has_control, decoded)) else decoded


def has_control(text: str) -> bool:
    """Whether the text holds a C0 or C1 control character or DEL."""
    return _CONTROL.search(text) is not None


def parse_wlcg_group(value: str, vos: Iterable[str]) -> Membership | Refused:
    """Read `/vo/sub/...` (WLCG profile §3.1); the first component must be one of the issuer's VOs."""
    if len(value) > MAX_BYTES:
        return Refused(value[:MAX_BYTES], "too_long")
    if not _WLCG_GROUP.fullmatch(value):
        return Refused(value, "group_syntax")
    path = tuple(value[1:].split("/"))
    return membership(path) if path[0] in vos else Refused(value, "vo_not_bound_to_issuer")


def parse_slashless_group(value: str, vos: Iterable[str]) -> Membership | Refused:
    """Read `vo/sub/...` as IAM's `groups` and Keycloak-like `roles` have it: no slash in front."""
    found = parse_wlcg_group(f"/{value}", vos)
    return Refused(value[:MAX_BYTES], found.reason) if isinstance(found, Refused) else found
