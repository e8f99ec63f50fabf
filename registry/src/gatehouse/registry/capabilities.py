"""WLCG capability scopes (WLCG Common JWT Profiles 1.3, §2.2.1): what a token may do by itself."""

import re
from collections.abc import Iterable, Iterator

from gatehouse.registry.entitlements import MAX_BYTES, MAX_VALUES, Capability, Refused, decode, has_control

_STORAGE = re.compile(r"(storage\.(?:read|create|modify|stage|poll))(?::(.*))?", re.DOTALL)
_COMPUTE = frozenset({"compute.read", "compute.create", "compute.modify", "compute.cancel"})


def parse_scope(word: str) -> Capability | Refused | None:
    """One word of a scope string: a capability, a malformed storage scope, or None for any other word."""
    if word in _COMPUTE:
        return Capability(word)
    storage = _STORAGE.fullmatch(word)
    if storage is None:
        return None
    name, path = storage.groups()
    if path is None or not is_normalised(path):
        return Refused(word[:MAX_BYTES], "malformed_storage_scope")
    return Capability(name, path=path)


def parse_scopes(claim: object) -> tuple[Capability, ...] | Refused:
    """The capabilities of a `scope` claim (string, or array of strings), duplicates dropped.

    One malformed storage scope refuses the whole claim, as the profile refuses the whole token.
    """
    found: dict[Capability, None] = {}
    for count, word in enumerate(_words(claim)):
        if count >= MAX_VALUES:
            return Refused(word[:MAX_BYTES], "too_many_values")
        capability = parse_scope(word)
        if isinstance(capability, Refused):
            return capability
        if capability is not None:
            found[capability] = None
    return tuple(found)


def _words(claim: object) -> Iterator[str]:
    texts: Iterable[object] = claim if isinstance(claim, list) else [claim]
    for text in texts:
        if isinstance(text, str):
            # Space alone separates (RFC 6749 §3.3): other white space stays inside a word and spoils it.
            yield from filter(None, text.split(" "))


def is_normalised(path: str) -> bool:
    """Absolute, ASCII, no empty, `.` or `..` component, also not when decoded; one trailing slash may be.

    >>> [is_normalised(path) for path in ("/a/b", "/a/", "/", "a", "/a//b", "/a/%2e%2e/b")]
    [True, True, True, False, False, False]
    """
    if len(path) > MAX_BYTES or not path.isascii() or not path.startswith("/"):
        return False
    components = path[1:].split("/")
    if components[-1] == "":
        components.pop()
    return all(_plain(decode(component)) for component in components)


def _plain(name: str | None) -> bool:
    return name is not None and name not in ("", ".", "..") and "/" not in name and not has_control(name)


def covers(parent: Capability, child: Capability) -> bool:
    """Whether who holds `parent` may be given `child`: same right, and a path inside, cut at component borders.

    >>> area = Capability("storage.read", path="/data")
    >>> [covers(area, Capability("storage.read", path=path)) for path in ("/data", "/data/x", "/database", "/")]
    [True, True, False, False]
    """
    if child.name != parent.name and (parent.name, child.name) != ("storage.modify", "storage.create"):
        return False
    if parent.path is None or child.path is None:
        return parent.path == child.path
    outer, inner = _components(parent.path), _components(child.path)
    if inner[: len(outer)] != outer:
        return False
    # `/data/` is what lies in the directory, not the directory itself
    return len(inner) > len(outer) or not parent.path.endswith("/") or child.path.endswith("/")


def _components(path: str) -> list[str | None]:
    return [decode(component) for component in path.split("/") if component]


def covered(held: Iterable[str], word: str) -> bool:
    """Whether a scope word lies within the words held: literally, or as a capability."""
    words = list(held)
    if word in words:
        return True
    wanted = parse_scope(word)
    if not isinstance(wanted, Capability):
        return False
    return any(covers(one, wanted) for one in map(parse_scope, words) if isinstance(one, Capability))
